"""multipart/form-data: one reading of it, and written anew so that there is only that one."""

from __future__ import annotations

import email
import email.policy
import itertools

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from relay.errors import ErrorKind, RelayError
from relay.formats import multipart
from relay.formats.multipart import Part

TYPE = "multipart/form-data; boundary=b"
MODEL = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
FILE = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n'
    b"\x00\xff\r\n--\r\n\r\n--B\r\n"
)
END = b"--b--\r\n"
PARTS = [
    Part(name="model", value=b"whisper-1"),
    Part(name="file", value=b"\x00\xff\r\n--\r\n\r\n--B", filename=b"a.mp3", content_type=b"audio/mpeg"),
]


def part(head: str, value: str = "x") -> bytes:
    return f"--b\r\n{head}\r\n\r\n{value}\r\n".encode()


def named(name: str, value: str = "x") -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"', value)


def kind_of(body: bytes, content_type: str = TYPE) -> ErrorKind | None:
    try:
        multipart.text_fields(multipart.parse(body, content_type))
    except RelayError as error:
        return error.kind
    return None


def test_fields_and_files_are_read() -> None:
    assert multipart.parse(MODEL + FILE + END, TYPE) == PARTS
    assert multipart.text_fields(PARTS) == {"model": "whisper-1", "file": ""}


@pytest.mark.parametrize("end", [b"--b--", b"--b--\r\n", b"--b--\r\n\r\n"])
def test_the_last_line_break_may_be_missing_or_double(end: bytes) -> None:
    assert multipart.parse(MODEL + end, TYPE) == PARTS[:1]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data;boundary=b",
        'multipart/form-data; boundary="b"',
        "Multipart/Form-Data; Boundary=b",
        " multipart/form-data ; boundary=b ",
    ],
)
def test_the_content_type_may_be_spelt_in_several_ways(content_type: str) -> None:
    assert multipart.parse(MODEL + END, content_type) == PARTS[:1]


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary="b',
        'multipart/form-data; boundary=b"',
        "multipart/form-data; boundary=b; boundary=c",
        "multipart/form-data; boundary=b, multipart/form-data; boundary=c",
        "multipart/form-data; boundary*=utf-8''b",
        "multipart/form-data; boundary=" + "b" * 71,
        "multipart/form-data; boundary=b\r\nx: y",
        "multipart/form-data; boundary=b\x00",
        "multipart/form-data; boundary=é",
        "multipart/mixed; boundary=b",
        "application/x-www-form-urlencoded",
        "application/json",
        "multipart/form-data; " + "boundary=" * 10_000,
    ],
)
def test_another_content_type_is_refused(content_type: str) -> None:
    assert kind_of(MODEL + END, content_type) is ErrorKind.UNSUPPORTED_MEDIA


BROKEN = {
    "empty": b"",
    "only the end": END,
    "no end": MODEL,
    "no final hyphens": MODEL + b"--b\r\n",
    "one final hyphen": MODEL + b"--b-\r\n",
    "another boundary": MODEL.replace(b"--b", b"--c") + b"--c--\r\n",
    "boundary in another case": MODEL + b"--B--\r\n",
    "a second message": MODEL + END + MODEL + END,
    "a longer boundary": MODEL + b"--bb\r\n" + END,
    "bare line feeds": MODEL.replace(b"\r\n", b"\n") + b"--b--\n",
    "bare line feeds in a head": MODEL.replace(b'"\r\n\r\n', b'"\n\n') + END,
    "carriage returns": MODEL.replace(b"\r\n", b"\r") + b"--b--\r",
    "no blank line": b'--b\r\nContent-Disposition: form-data; name="model"\r\nwhisper-1\r\n' + END,
    "no head": b"--b\r\n\r\nx\r\n" + END,
    "no name": part("Content-Disposition: form-data") + END,
    "empty name": named("") + END,
    "nested": part('Content-Type: multipart/mixed; boundary="c"\r\nContent-Disposition: form-data; name="a"', "--c--")
    + part("X: y")
    + END,
    "attachment": part('Content-Disposition: attachment; name="model"') + END,
    "name in another charset": part("Content-Disposition: form-data; name*=utf-8''model") + END,
    "two names": part('Content-Disposition: form-data; name="a"; name="model"') + END,
    "two dispositions": part('Content-Disposition: form-data; name="a"\r\ncontent-disposition: form-data; name="b"')
    + END,
    "escaped quote": part('Content-Disposition: form-data; name="mod\\"el"') + END,
    "backslash": part('Content-Disposition: form-data; name="file"; filename="a\\"') + END,
    "two file names": part('Content-Disposition: form-data; name="file"; filename="a"; filename="b"') + END,
    "name and name*": part("Content-Disposition: form-data; name=\"a\"; name*=utf-8''model") + END,
    "an unclosed quote": part('Content-Disposition: form-data; name="model') + END,
    "filename* in no charset": part("Content-Disposition: form-data; name=\"file\"; filename*=utf-8''%ff") + END,
    "filename* with a line break": part("Content-Disposition: form-data; name=\"file\"; filename*=utf-8''a%0d%0ab")
    + END,
    "text in an unknown charset": part(
        'Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=utf-7'
    )
    + END,
    "a field behind the end": MODEL + END + named("prompt"),
    "NUL in a file name": part('Content-Disposition: form-data; name="file"; filename="a\0"') + END,
    "control byte in a file name": part('Content-Disposition: form-data; name="file"; filename="a\x1b"') + END,
    "NUL in a name": named("mod\0el") + END,
    "blank in a name": named("model ") + END,
    "full-width name": named("\uff4dodel") + END,
    "percent in a name": named("mod%65l") + END,
    "long name": named("m" * 257) + END,
    "blank before the colon": part('Content-Disposition : form-data; name="model"') + END,
    "no colon": part('Content-Disposition: form-data; name="model"\r\nx') + END,
    "encoded": part('Content-Disposition: form-data; name="model"\r\nContent-Transfer-Encoding: base64') + END,
    "content type of its own": part('Content-Disposition: form-data; name="a"\r\nContent-Type: a/b; boundary=/"(')
    + END,
    "long head": part('Content-Disposition: form-data; name="model"\r\nX: ' + "x" * 9000) + END,
    "many heads": part("\r\n".join(f"x{n}:" for n in range(100_000))) + END,
    "twice": MODEL + MODEL + END,
    "twice, once as a file": MODEL + FILE.replace(b'"file"', b'"model"') + END,
    "twice as a file": FILE + FILE + END,
    "field and list": MODEL + named("model[]") + END,
    "list and field": named("model[0]") + MODEL + END,
    "not UTF-8": MODEL.replace(b"whisper", b"whisper\xff") + END,
    "too many parts": b"".join(named(f"f{n}") for n in range(65)) + END,
    "far too many parts": named("f") * 50_000 + END,
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_a_form_that_two_readers_could_read_differently_is_refused(body: bytes) -> None:
    assert kind_of(body) is ErrorKind.BAD_REQUEST


def test_every_cut_of_a_form_is_refused_up_to_its_end() -> None:
    body = MODEL + FILE + END
    kinds = [kind_of(body[:end]) for end in range(len(body))]
    assert kinds == [ErrorKind.BAD_REQUEST] * (len(body) - 2) + [None] * 2


# As clients write what they write differently: the header's parameters, what stands around the parts, and a part's headers.
TYPES = {
    "curl, httpx": "multipart/form-data; boundary=b",
    "Java, .NET": 'multipart/form-data; boundary="b"',
    "Spring before 5.2.9": "multipart/form-data;charset=UTF-8;boundary=b",
    "JMeter": "multipart/form-data; boundary=b; charset=US-ASCII",
    "upper case": "MULTIPART/FORM-DATA; BOUNDARY=b;",
}
AROUND = {
    "nothing": (b"", b"", b"\r\n"),
    "preamble": (b"This is a multi-part message in MIME format.\r\n", b"", b"\r\n"),
    "an empty line before": (b"\r\n", b"", b""),
    "transport padding": (b"", b" \t", b" \r\n"),
    "epilogue": (b"", b"", b"\r\nepilogue\r\n"),
}
TEXT_HEADS = {
    "curl": b'Content-Disposition: form-data; name="model"',
    ".NET": b"Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=model",
    "OkHttp": b'Content-Disposition: form-data; name="model"\r\nContent-Length: 9',
    "Apache HttpClient": b'content-disposition: form-data; name="model"\r\nContent-Type: text/plain; charset=ISO-8859-1\r\n'
    b"Content-Transfer-Encoding: 8bit",
    "folded": b'Content-Disposition: form-data;\r\n name="model"',
    "no blanks": b'CONTENT-DISPOSITION:form-data;name="model";',
}
FILE_HEADS: dict[str, tuple[bytes, bytes]] = {
    "curl": (b'name="file"; filename="a.wav"', b"a.wav"),
    ".NET": (b"name=file; filename=a.wav; filename*=utf-8''a.wav", b"a.wav"),
    "only filename*": (b"name=\"file\"; filename*=UTF-8''%c3%a4.wav", "ä.wav".encode()),
    "filename* in Latin-1": (b"name=\"file\"; filename*=ISO-8859-1'de'%e4.wav", "ä.wav".encode()),
    "both, differing": (b'name="file"; filename="_.wav"; filename*=utf-8\'\'%F0%9F%98%80.wav', "😀.wav".encode()),
    "Go, curl: escaped quote": (b'name="file"; filename="a\\"b.wav"', b'a"b.wav'),
    "Go: escaped backslash": (b'name="file"; filename="a\\\\b.wav"', b"b.wav"),
    "browsers: %22": (b'name="file"; filename="a%22b.wav"', b"a%22b.wav"),
    "Windows path": (b'name="file"; filename="C:\\audio\\a.wav"', b"a.wav"),
    "name after filename": (b'filename="a.wav"; name="file"', b"a.wav"),
    "blanks, not quoted": (b"name = file ; filename = my song.wav", b"my song.wav"),
    "semicolon in quotes": (b'name="file"; filename="a; name=x.wav"', b"a; name=x.wav"),
    "a parameter of its own": (b'name="file"; filename="a.wav"; size="5"', b"a.wav"),
    "long": (b'name="file"; filename="' + b"a" * 1000 + b'.wav"', b"a" * 1000 + b".wav"),
    "empty": (b'name="file"; filename=""', b""),
}
SOUND = b"\x00\xff\r\n--\r\n\r\n--B\r\n\n"
FORMS = list(itertools.product(TYPES.values(), AROUND.values(), TEXT_HEADS.values(), FILE_HEADS.values()))


def read_anew(body: bytes, content_type: str) -> dict[str, list[tuple[bytes, str | None]]]:
    """What Python's own parser finds in a form: values and file names by field."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    found: dict[str, list[tuple[bytes, str | None]]] = {}
    for each in email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts():
        name = str(each.get_param("name", header="content-disposition"))
        payload = each.get_payload(decode=True)
        assert isinstance(payload, bytes)
        found.setdefault(name, []).append((payload, each.get_filename()))
    return found


def test_forms_as_clients_write_them_are_read_and_written_strictly() -> None:
    assert len(FORMS) > 2_000
    for content_type, (before, padding, after), text, (file, filename) in FORMS:
        line = b"--b" + padding + b"\r\n"
        body = before + line + text + b"\r\n\r\nwhisper-1\r\n" + line
        body += (
            b"Content-Type: audio/wav\r\nContent-Disposition: form-data; "
            + file
            + b"\r\n\r\n"
            + SOUND
            + b"\r\n--b--"
            + after
        )
        parts = multipart.parse(body, content_type)
        assert parts == [
            Part(name="model", value=b"whisper-1"),
            Part(name="file", value=SOUND, filename=filename, content_type=b"audio/wav"),
        ]
        written = multipart.serialise(parts, {"model": "whisper-1", "file": ""})
        assert multipart.text_fields(multipart.parse(*written)) == {"model": "whisper-1", "file": ""}


@pytest.mark.parametrize("file", FILE_HEADS)
def test_a_second_reader_finds_one_model_and_the_file(file: str) -> None:
    head, filename = FILE_HEADS[file]
    body = MODEL + b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\nsound\r\n" + END
    parts = multipart.parse(body, TYPE)
    found = read_anew(*multipart.serialise(parts, {"model": "whisper-1", "file": ""}))
    assert found["model"] == [(b"whisper-1", None)]
    ((sound, name),) = found["file"]
    assert sound == b"sound"
    assert name == filename.decode().replace('"', "%22")


@pytest.mark.parametrize(
    ("charset", "value"),
    [("utf-8", "ä".encode()), ("UTF8", "ä".encode()), ('"utf-8"', "ä".encode()), ("ISO-8859-1", b"\xe4")],
)
def test_a_text_is_read_in_its_charset_and_written_in_utf8(charset: str, value: bytes) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\nContent-Type: text/plain; charset='
    body += charset.encode() + b"\r\n\r\n" + value + b"\r\n" + END
    parts = multipart.parse(body, TYPE)
    assert multipart.text_fields(parts) == {"prompt": "ä"}
    assert read_anew(*multipart.serialise(parts, {"prompt": "ä"}))["prompt"] == [("ä".encode(), None)]


def test_lists_and_objects_pass_untouched() -> None:
    body = MODEL + named("include[]", "a") + named("include[]", "b") + named("chunking_strategy[type]", "c") + END
    parts = multipart.parse(body, TYPE)
    assert multipart.text_fields(parts) == {"model": "whisper-1"}
    written, content_type = multipart.serialise(parts, {"model": "whisper-1"})
    assert multipart.parse(written, content_type) == parts


@pytest.mark.parametrize(
    "media", ["audio/webm;codecs=opus", 'audio/ogg; codecs="opus"', "text/plain; charset=UTF-8", "a/b"]
)
def test_the_content_types_that_browsers_write_are_taken(media: str) -> None:
    body = part(f'Content-Disposition: form-data; name="file"; filename="blob"\r\nContent-Type: {media}') + END
    written = (multipart.parse(body, TYPE)[0].content_type or b"").decode()
    assert written.replace(" ", "") == media.replace(" ", "").replace('"', "")


def test_file_names_beyond_ascii_are_taken() -> None:
    body = part('Content-Disposition: form-data; name="file"; filename="Straße 😀.mp3"') + END
    assert multipart.parse(body, TYPE)[0].filename == "Straße 😀.mp3".encode()


def test_what_is_written_says_what_was_decided_and_nothing_else() -> None:
    body, content_type = multipart.serialise(PARTS, {"model": "tiny", "file": "", "stream": "true"})
    assert multipart.parse(body, content_type) == [Part(name="model", value=b"tiny"), PARTS[1]]
    assert b"whisper" not in body
    assert b"stream" not in body


def test_heads_that_are_not_known_are_not_passed_on() -> None:
    parts = multipart.parse(
        part('Content-Disposition: form-data; name="model"\r\nX-Evil: 1\r\nContent-Length: 1') + END, TYPE
    )
    assert b"vil" not in multipart.serialise(parts, {"model": "m"})[0]


def test_the_boundary_follows_from_the_content() -> None:
    assert multipart.serialise(PARTS, {"model": "a"}) == multipart.serialise(PARTS, {"model": "a"})
    assert multipart.serialise(PARTS, {"model": "a"})[1] != multipart.serialise(PARTS, {"model": "b"})[1]


def test_what_httpx_writes_is_read() -> None:
    request = httpx.Request(
        "POST",
        "http://x",
        data={"model": "whisper-1", "include[]": ["a", "b"]},
        files={"file": ('ä".mp3', b"\r\n\0")},
    )
    parts = multipart.parse(request.read(), request.headers["content-type"])
    assert multipart.text_fields(parts) == {"model": "whisper-1", "file": ""}
    assert [each.value for each in parts] == [b"whisper-1", b"a", b"b", b"\r\n\0"]


names = st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True)
parts_of_forms = st.builds(
    Part,
    name=names,
    value=st.binary() | st.sampled_from([b"--b", b"\r\n--b", b"\r\n--b--\r\n", b"\r\n\r\n", b"--relay-"]),
    filename=st.none() | st.just(b"a.mp3"),
    content_type=st.none() | st.just(b"audio/mpeg"),
)


@given(st.lists(parts_of_forms, min_size=1, max_size=5))
def test_a_second_reader_finds_the_same_parts(parts: list[Part]) -> None:
    body, content_type = multipart.serialise(parts, {each.name: each.value.decode("latin-1") for each in parts})
    assert [each.name for each in multipart.parse(body, content_type)] == [each.name for each in parts]
    message = email.message_from_bytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body, policy=email.policy.HTTP
    )
    read = [each.get_param("name", header="content-disposition") for each in message.iter_parts()]
    assert read == [each.name for each in parts]


@given(st.binary(max_size=200) | st.lists(st.sampled_from([MODEL, FILE, END, b"\r\n", b"--b", b"--"])).map(b"".join))
def test_any_bytes_are_taken_or_refused_and_nothing_else(body: bytes) -> None:
    if kind_of(body) is None:
        parts = multipart.parse(body, TYPE)
        written, content_type = multipart.serialise(parts, multipart.text_fields(parts))
        assert multipart.parse(written, content_type) == parts
