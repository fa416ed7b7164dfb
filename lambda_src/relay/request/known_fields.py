"""What the relay knows of OpenAI's request bodies, as far as their cost goes: names that bring nothing but their text. Pure.

Lists of what is known and not of what is dear: what is in none of them is not bounded, and is refused where a budget needs
a bound. Read from openai-python 3.54.0 on 27 November 2026, and held against the types of the pinned release by
tests/relay/request/test_known_fields.py.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GENERATION = """
model metadata parallel_tool_calls prompt_cache_key prompt_cache_options prompt_cache_retention
safety_identifier service_tier store stream stream_options temperature tool_choice tools top_logprobs top_p user
"""
CHAT = _names(
    _GENERATION
    + """
    messages audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens
    modalities n prediction presence_penalty reasoning_effort response_format seed stop verbosity
    """
)
RESPONSES = _names(
    _GENERATION
    + """
    background client_metadata conversation include input instructions max_output_tokens max_tool_calls
    previous_response_id reasoning text truncation
    """
)
INPUT_TOKENS = _names(
    """
    conversation input instructions model parallel_tool_calls personality previous_response_id reasoning text tool_choice
    tools truncation
    """
)
COMPACTION = _names(
    """
    input instructions model parallel_tool_calls previous_response_id prompt_cache_key prompt_cache_options
    prompt_cache_retention reasoning service_tier text tools
    """
)
EMBEDDINGS = _names("input model dimensions encoding_format user")
MODERATIONS = _names("input model")
IMAGES = _names(
    """
    prompt background model moderation n output_compression output_format partial_images quality response_format
    safety_identifier size stream style user
    """
)
IMAGE_EDITS = _names(
    """
    prompt background image images input_fidelity markup mask model moderation n output_compression output_format
    partial_images quality response_format safety_identifier size stream user
    """
)
SPEECH = _names("input model voice instructions response_format speed stream_format")
TRANSCRIPTIONS = _names(
    """
    file model chunking_strategy include keywords known_speaker_names known_speaker_references language languages
    prompt response_format stream temperature timestamp_granularities
    """
)

TEXT_FIELDS = _names(
    """
    action actions allowed_callers allowed_tools annotations approval_request_id approve arguments async audio bytes
    call_id caller caller_id categories code command commands content context created_by custom defer_loading definition
    description detail diff effort encrypted_content end_index env error execution exit_code filters fingerprint format
    function function_call generate_summary grammar id include_obfuscation include_usage index input_schema
    input json_schema keys logprob logprobs logs max_output_length message mode moderation_details moderation_stage name
    namespace operation prewarm outcome output output_format output_schema outputs param parameters path pattern
    pending_safety_checks acknowledged_safety_checks phase prompt_cache_breakpoint quality queries query reason
    reasoning refusal results revised_prompt role schema score scroll_x scroll_y server_label size sources start_index
    status stderr stdout strict summary svg_usage syntax text timeout_ms title token tool_call_id tool_calls tools
    top_logprobs ttl type user verbosity voice working_directory x y background button attributes environment skills
    internal_chat_message_metadata_passthrough
    readOnlyHint destructiveHint idempotentHint openWorldHint
    """
)
"""Fields of objects below the top level."""

TEXT_TYPES = _names(
    """
    message reasoning summary_text reasoning_text text input_text output_text refusal content
    function function_call function_call_output custom custom_tool_call custom_tool_call_output direct program program_output
    local_shell local_shell_call exec local_shell_call_output shell_call shell_call_output timeout exit local
    apply_patch apply_patch_call create_file delete_file update_file apply_patch_call_output
    namespace tool_search shell additional_tools tool_search_call tool_search_output allowed_tools configuration_update
    json_schema json_object grammar server_vad
    mcp_list_tools mcp_approval_request mcp_approval_response mcp_call mcp_protocol_error mcp_tool_execution_error http_error
    web_search_call search open_page find_in_page url file_search_call code_interpreter_call logs
    computer_call click double_click drag keypress move screenshot scroll type wait computer_call_output
    url_citation file_citation container_file_citation file_path
    """
)
"""Types of objects that bring nothing but their text; of tools only those that run at the caller's."""

# Fields that bring something in other objects, and are text in objects of these types.
_PLACES = _names("url file_id container_id filename")
TEXT_IN = {
    **dict.fromkeys(
        ("url_citation", "file_citation", "container_file_citation", "file_path", "url", "open_page", "find_in_page"),
        _PLACES,
    ),
    "program_output": _names("result"),
    "code_interpreter_call": _names("container_id"),
}

PICTURE_FIELDS = _names("image images mask markup")
"""Fields of a body or a form that hold pictures which say nothing else of themselves."""

PICTURES = _names("image_url input_image computer_screenshot image")
FILES = _names("file input_file")
STORED_ITEMS = _names("item_reference compaction")
"""Items that OpenAI completes with what it has stored, or has compressed: they may fill the context."""

COMPACTS = "compaction_trigger"
"""The type of an item that holds nothing and has the context compacted, in a pass of its own."""

FILE_FIELDS = _names("file file_data file_id file_ids file_url filename")
"""Fields that bring a file, whose size nothing bounds but the model's context."""

CLIENT_SIDE_TOOLS = _names("function custom local_shell apply_patch namespace")
"""Tools that run at the caller's. OpenAI bills others by the call and feeds what they find back as input."""
