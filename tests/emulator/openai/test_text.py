"""Values made up for a JSON schema, and when a tool is called."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.openai.door import form_fields
from emulator.openai.text import example, reply_to

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
OTHER = {"type": "function", "function": {"name": "g"}}
ASKED = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "example"),
        ({"type": "string", "minLength": 9}, "examplexx"),
        ({"type": ["null", "string"]}, None),
        ({"type": "integer", "minimum": 5}, 5),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 7}, 7),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, 1),
        ({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"const": 1}}}, {"a": 1}),
        ({"$ref": "#/nowhere"}, "example"),
        ({}, "example"),
    ],
)
def test_a_value_for_a_schema(schema: dict[str, Any], value: Any) -> None:
    assert example(schema, schema) == value


def test_a_schema_that_contains_itself_has_an_end() -> None:
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}}}
    assert example(schema, schema)["child"]["child"]


@pytest.mark.parametrize(
    ("body", "tool"),
    [
        ({"messages": ASKED}, None),
        ({"messages": ASKED, "tools": [TOOL, OTHER]}, "f"),
        ({"messages": ASKED, "tools": [TOOL, OTHER], "tool_choice": {"function": {"name": "g"}}}, "g"),
        ({"messages": ASKED, "tools": [TOOL], "tool_choice": "none"}, None),
        ({"messages": [*ASKED, {"role": "tool", "content": "x"}], "tools": [TOOL]}, None),
        ({"input": "hi", "tools": [{"type": "function", "name": "f"}]}, "f"),
        ({"input": [{"type": "function_call_output"}], "tools": [{"type": "function", "name": "f"}]}, None),
        ({"input": "hi", "tools": [{"type": "web_search"}]}, None),
    ],
)
def test_a_tool_is_called_until_its_output_has_come(body: dict[str, Any], tool: str | None) -> None:
    reply = reply_to(body)
    assert (reply.tool if reply else None) == tool


def test_the_fields_of_a_form() -> None:
    content = (
        b'--x\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--x--\r\n'
    )
    assert form_fields("multipart/form-data; boundary=x", content) == {"stream": "true"}
