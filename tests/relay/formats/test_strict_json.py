"""Strict JSON: what is taken is exactly what is written again, and everything else is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.errors import ErrorKind, RelayError
from relay.formats import strict_json


def refusal(body: bytes) -> str:
    with pytest.raises(RelayError) as caught:
        strict_json.parse(body)
    assert caught.value.kind is ErrorKind.BAD_JSON
    assert len(caught.value.text) < 400
    caught.value.body().decode()
    return caught.value.text


# The shapes of the usual conformance corpora, written anew: each is the value of one field.
GOOD = """
0|-0|1|-1|123456789012345678901234567890|1.5|-1.5|1e5|1E5|1e+5|1e-5|0.0|-0.0|0e1|1E-400|100e-2
""|"a"|"\\u0000"|"\\u00e9"|"\\uD83D\\uDE00"|"\\ud83d\\ude00"|"\\/"|"\\b\\f\\n\\r\\t"|"\\\\"|"\\""|"\\\\\\""|"é"|"😀"|"\u2028"|"\x7f"
"\\u005c\\u0022"|"[{]}"|"a\\\\\\\\"|"NaN"|"\ufeff"|"\\uFFFE"|"\\ufdd0"
true|false|null|[]|{}|[[]]|[{}]|{"":0}|{"a":{"a":{"a":1}}}|[1,2,3]|[ 1 , 2 ]|{ "a" : 1 }|[null,1,"1",{}]|\t[\r]\t
{"a":1,"b":1}|{"a":{"b":1},"b":{"a":1}}|[{"a":1},{"a":1}]|{"A":1,"a":1}|{"\u00e9":1,"e\u0301":2}
"""
BAD = """
01|-01|+1|.5|-.5|1.|1.e1|1e|1e+|0x10|1_000|\uff11|1 000|--1|-|1e1.5|0e|Infinity|-Infinity|NaN|-NaN|nan|inf
1e999|-1e999|1E400|true1|True|TRUE|tru|nul|None|undefined|'a'|a|"\\x41"|"\\a"|"\\u12"|"\\u 123"|"\\u+123"|"\\u0x1"|"\\U0041"
"\\|"a|"\t"|"\n"|"\x00"|"\x1f"|"a"b"|[|]|[1|[1,|[1,]|[,1]|[1 2]|[1;2]|[1:2]|{|{]|[}|{"a"|{"a":|{"a":1,}|{,"a":1}
{"a" 1}|{a:1}|{1:1}|{null:1}|{"a":1 "b":2}|{"a"::1}|{"a":1}}|[]]|[1],|1,|/*c*/1|1//c|#c|[1]x|\\u0031|\x0c1|\xa01|\u20281
"""


@pytest.mark.parametrize("text", [case for line in GOOD.strip("\n").split("\n") for case in line.split("|")])
def test_what_the_grammar_allows_is_taken(text: str) -> None:
    assert strict_json.parse(f'{{"v":{text}}}'.encode()) == json.loads(f'{{"v":{text}}}')


@pytest.mark.parametrize("text", [case for line in BAD.strip("\n").split("\n") for case in line.split("|")])
def test_what_the_grammar_forbids_is_refused(text: str) -> None:
    refusal(f'{{"v":{text}}}'.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"\r\n\t ",
        b"\0",
        b"null",
        b"[]",
        b'"a"',
        b"1",
        b"true",
        b"[{}]",
        b"{",
        b"}",
        b"{}{}",
        b"{} {}",
        b"{},",
        b"{}\0",
        b"\0{}",
        b"\x0b{}",
        b"{'a':1}",
        b"{}\x0c",
        b"\xc2\xa0{}",
        b"data: {}",
        b"{}\n//",
        b"[" * 100,
    ],
)
def test_a_body_that_is_not_one_object_is_refused(body: bytes) -> None:
    refusal(body)


def test_white_space_around_the_object_is_fine() -> None:
    assert strict_json.parse(b' \t\r\n{"a":1}\r\n\t ') == {"a": 1}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"a":1}'.encode("utf-16"), "byte 0 "),
        ('{"a":1}'.encode("utf-16-le"), "column 2"),
        ('{"a":1}'.encode("utf-32"), "byte 0 "),
        (b'{"a":"\xff"}', "byte 6 "),
        (b'{"a":"\xc0\xaf"}', "byte 6 "),
        (b'{"a":"\xed\xa0\x80"}', "byte 6 "),
        (b'{"a":"\xf4\x90\x80\x80"}', "byte 6 "),
        (b'{"a":"\xe2\x82', "byte 6 "),
        (b'{"a":1,\n  "b":}', "line 2, column 7"),
    ],
)
def test_other_encodings_and_broken_utf8_are_refused_with_the_place(body: bytes, place: str) -> None:
    assert place in refusal(body)


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"a","model":"b"}',
        '{"model":"a","model":"a"}',
        '{"model":"a","mod\\u0065l":"b"}',
        '{"x":{"model":1,"model":2}}',
        '{"x":[{"y":{"model":1,"z":0,"model":2}}]}',
        '{"model":{"a":1},"model":null}',
    ],
)
def test_a_key_twice_in_one_object_is_refused_by_name(body: str) -> None:
    assert '"model"' in refusal(body.encode())


def test_an_empty_key_twice_is_refused_by_name() -> None:
    assert '""' in refusal(b'{"":1,"":2}')


def test_a_long_key_twice_is_not_quoted_at_length() -> None:
    refusal(b'{"%s":1,"%s":2}' % (b"k" * 100_000, b"k" * 100_000))


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("levels", [1000, 5000, 10**6])
def test_deep_nesting_is_refused_and_never_crashes(opening: bytes, levels: int) -> None:
    refusal(b'{"v":' + opening * levels)


def test_nesting_is_bounded_at_the_same_depth_on_every_python() -> None:
    def nested(levels: int) -> bytes:
        return b'{"v":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    assert strict_json.parse(nested(strict_json.MOST_DEPTH))
    assert "nested deeper than 100 levels" in refusal(nested(strict_json.MOST_DEPTH + 1))


def test_brackets_and_commas_in_text_do_not_count() -> None:
    text = '[{"\\",[' * 200_000
    assert strict_json.parse(json.dumps({"v": text}).encode()) == {"v": text}


@pytest.mark.parametrize(
    ("unit", "most", "word"),
    [
        (b"[],", strict_json.MOST_CONTAINERS, "objects and lists"),
        (b"{},", strict_json.MOST_CONTAINERS, "objects and lists"),
        (b'"",', strict_json.MOST_STRINGS, "strings"),
        (b"0,", strict_json.MOST_VALUES, "values"),
        (b"0.5,", strict_json.MOST_OTHERS, "neither whole numbers nor text"),
        (b"1E5,", strict_json.MOST_OTHERS, "neither whole numbers nor text"),
        (b"true,", strict_json.MOST_OTHERS, "neither whole numbers nor text"),
    ],
)
def test_bodies_that_swell_when_parsed_are_refused_before_that(unit: bytes, most: int, word: str) -> None:
    assert word in refusal(b'{"v":[' + unit * (most + 1) + unit[:-1] + b"]}")
    assert strict_json.parse(b'{"v":[' + unit * (most - 3) + unit[:-1] + b"]}")


def test_the_longest_list_of_tokens_that_openai_takes_passes() -> None:
    tokens = strict_json.parse(b'{"input":[' + b"100257," * 299_999 + b"1]}")["input"]
    assert isinstance(tokens, list)
    assert len(tokens) == 300_000


@pytest.mark.parametrize("digits", ["1" * 101, "-" + "1" * 5000, "0." + "1" * 200, "1" * 10**6])
def test_long_numbers_are_refused(digits: str) -> None:
    assert "digits" in refusal(f'{{"v":{digits}}}'.encode())


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ('{"a":"\\ud800"}', "a holds"),
        ('{"a":"\\udc00\\ud800"}', "a holds"),
        ('{"a":"\\uD83Dx"}', "a holds"),
        ('{"a":[1,{"b":"x\\udfffy"}]}', "a[1].b holds"),
        ('{"a\\ud800":1}', "a key in the object holds"),
        ('{"x":{"\\ud800":1}}', "a key in x holds"),
        ('{"\\ud800":{"\\ud800":1}}', "a key in the object holds"),
    ],
)
def test_half_a_surrogate_pair_is_refused_with_its_path(body: str, place: str) -> None:
    assert place in refusal(body.encode())


def test_a_path_made_of_long_names_is_cut() -> None:
    refusal(b'{"%s":["\\ud800"]}' % (b"k" * 1_000_000))


@pytest.mark.parametrize(
    "value", [{"v": float("nan")}, {"v": float("inf")}, {"v": "\ud800"}, {"\ud800": 1}, {"v": [{"\udfff": ["\udfff"]}]}]
)
def test_what_json_cannot_carry_is_not_written(value: dict[str, Any]) -> None:
    with pytest.raises(RelayError) as caught:
        strict_json.serialise(value)
    assert caught.value.kind is ErrorKind.BAD_JSON


def test_what_is_nested_beyond_the_writers_reach_is_not_written() -> None:
    value: dict[str, Any] = {}
    for _ in range(200_000):
        value = {"v": value}
    with pytest.raises(RelayError):
        strict_json.serialise(value)
    while value:  # taken apart from the outside, so that freeing it does not recurse
        value = value["v"]


def test_text_is_written_as_utf8_and_compact() -> None:
    assert strict_json.serialise({"é": ["😀", 1, 1.5, True, None]}) == '{"é":["😀",1,1.5,true,null]}'.encode()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**99), 10**99)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda below: st.lists(below) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), below),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), json_values), st.booleans())
def test_every_object_survives_both_ways(value: dict[str, Any], escaped: bool) -> None:
    parsed = strict_json.parse(json.dumps(value, ensure_ascii=escaped).encode())
    assert parsed == value
    assert strict_json.parse(strict_json.serialise(parsed)) == value


@given(st.binary() | st.text(st.sampled_from('{}[]":,\\ud80c0fe123.-+truefalsn \n')).map(lambda text: text.encode()))
def test_any_bytes_are_taken_or_refused_and_nothing_else(body: bytes) -> None:
    try:
        value = strict_json.parse(b'{"v":' + body + b"}")
    except RelayError:
        return
    assert strict_json.parse(strict_json.serialise(value)) == value


numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,60})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@given(st.lists(numbers, min_size=1))
def test_numbers_are_written_as_they_came(texts: list[str]) -> None:
    body = f'{{"v":[{",".join(texts)}],"text":"{"".join(texts)}"}}'.encode()
    assert strict_json.serialise(strict_json.parse(body)) == body


@pytest.mark.parametrize("text", ["1e15", "-0", "1e2", "0.1234567890123456789012345", "1E-400", "1" * 60, "100.00"])
def test_no_digit_of_a_number_is_lost_or_added(text: str) -> None:
    assert strict_json.serialise(strict_json.parse(f'{{"v":{text}}}'.encode())) == f'{{"v":{text}}}'.encode()


def test_a_whole_number_is_an_int_and_all_others_say_what_they_are() -> None:
    value = strict_json.parse(b'{"a":7,"b":7.0,"c":-0,"d":%s,"e":1e2}' % (b"9" * 30))
    assert type(value["a"]) is int
    kept: list[Any] = [value[name] for name in "bcde"]
    assert all(isinstance(number, strict_json.Number) for number in kept)
    assert kept == [7.0, 0, 10**30 - 1, 100.0]
    assert [number.whole for number in kept] == [None, 0, 10**30 - 1, None]
    assert hash(kept[0]) == hash(7.0)
    assert kept[0] != "7.0"
    assert repr(kept[3]) == "Number('1e2')"


def test_text_that_looks_like_a_kept_number_stays_text() -> None:
    body = b'{"a":"1e15","b":["-0",-0,"x\\"-0"],"1.50":1.50}'
    assert strict_json.serialise(strict_json.parse(body)) == body
    refusal(b'{"a":1.5,"b":"\\ud800\\ud8011.5\\ud801\\ud800"}')


@pytest.mark.parametrize("digits", [b"1" * 100, b"1" * 40])
def test_many_long_numbers_are_refused_before_they_are_read(digits: bytes) -> None:
    assert "more than 18 digits" in refusal(b'{"v":[' + b",".join([digits] * (5_900_000 // len(digits))) + b"]}")


def test_every_cut_of_a_body_is_refused() -> None:
    body = '{"model":"m","messages":[{"role":"user","content":"é\\n\\ud83d\\ude00"}],"n":1.5e3,"stream":true}'.encode()
    for end in range(len(body)):
        refusal(body[:end])
