"""Each value that openai-python's types know is accepted, or refused with the setting that would allow it."""

from __future__ import annotations

from collections import Counter

from relay.errors import ErrorKind
from relay.request import endpoints
from relay.request.policy import RequestPolicy

from tests.support.sdk_outcomes import outcomes, sent

# Refused in every environment, with the reason that the refusal gives.
NEVER = {
    ("/v1/responses", "background"): "background responses are not allowed",
    ("/v1/images/edits", "svg[model]"): "a form cannot say it; send it in a body of JSON",
}


def test_a_refusal_names_the_setting_that_would_allow_it() -> None:
    refused = {(each.endpoint.path, each.what): each.refused for each in outcomes() if each.refused}
    assert refused.keys() == NEVER.keys()
    assert all(NEVER[place] in text for place, text in refused.items())


def test_most_values_need_no_setting() -> None:
    counted = Counter((each.endpoint.path, not each.settings) for each in outcomes())
    assert len(outcomes()) > 4_000
    for path in {path for path, _ in counted} - {
        "/v1/responses",
        "/v1/responses/input_tokens",
        "/v1/responses/compact",
    }:
        assert counted[path, True] > 10 * counted[path, False], path
    # Responses have tools of many types, each with many fields.
    assert counted["/v1/responses", True] > 800


def test_what_is_refused_in_a_form_is_accepted_as_json() -> None:
    edits = next(endpoint for endpoint in endpoints.TABLE if endpoint.path == "/v1/images/edits")
    fields = {
        "model": "m",
        "prompt": "x",
        "images": [{"image_url": "https://example.com/a.png"}],
        "svg": {"model": "m"},
    }
    assert sent(edits.changed(body="json"), fields, RequestPolicy())[0] is None


def test_the_values_are_those_that_the_types_know() -> None:
    """Of the generator: a value that no type knows is refused, so an empty list of values would be noticed above."""
    speech = next(endpoint for endpoint in endpoints.TABLE if endpoint.path == "/v1/audio/speech")
    said = [each.fields for each in outcomes() if each.endpoint is speech]
    assert {fields.get("response_format") for fields in said} >= {None, "mp3", "opus", "aac", "flac", "wav", "pcm"}
    refusal, _ = sent(speech, {"model": "m", "input": "x", "voice": "alloy", "stream_format": "no"}, RequestPolicy())
    assert refusal
    assert refusal.kind is ErrorKind.BAD_REQUEST


def test_a_free_text_is_never_taken_for_a_type() -> None:
    """The generator writes "x" wherever any text may stand, also as the name of an error."""
    assert [each.fields for each in outcomes() if "'x'" in each.unbounded] == []
