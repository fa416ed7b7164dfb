"""Settings: everything checked at start, and each mistake named."""

from __future__ import annotations

import pytest
from relay.settings import AwsSettings, ProcessSettings, Settings, SettingsError

GIVEN = {"OPENAI_SECRET_ARN": "openai-key"}


def read(**changes: str) -> Settings:
    return Settings.from_environ(GIVEN | changes)


def test_little_has_to_be_set() -> None:
    settings = read()
    assert settings.openai_base_url == "https://api.openai.com/v1"
    assert settings.table_name == ""
    assert settings.max_body_bytes == 6_000_000
    assert settings.heartbeat_seconds == 10


@pytest.mark.parametrize("name", list(GIVEN))
@pytest.mark.parametrize("value", ["", "  "])
def test_what_has_to_be_set_is_named_when_it_is_not(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read(**{name: value})
    with pytest.raises(SettingsError, match=name):
        Settings.from_environ({key: text for key, text in GIVEN.items() if key != name})


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("", "https://api.openai.com/v1"),
        ("https://eu.api.openai.com/v1/", "https://eu.api.openai.com/v1"),
        (" http://127.0.0.1:8080 ", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
    ],
)
def test_urls(value: str, url: str) -> None:
    assert read(OPENAI_BASE_URL=value).openai_base_url == url


@pytest.mark.parametrize(
    "value",
    [
        "api.openai.com",
        "ftp://x",
        "https://",
        "https:///v1",
        "https://user:pass@x/v1",
        "https://x/v1?a=b",
        "https://x/v1#a",
        "https://x /v1",
        "https://x\n/v1",
        "https://x\r\nhost: y",
        "https://x/\x00",
        "https://\u0445.com",
        "HTTPS://x",
        "https://x\\y",
        "http://api.openai.com/v1",
        "http://127.0.0.1.example/v1",
        "http://localhostx/v1",
    ],
)
def test_what_is_no_plain_url_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="OPENAI_BASE_URL"):
        read(OPENAI_BASE_URL=value)


@pytest.mark.parametrize("name", ["MAX_BODY_BYTES", "HEARTBEAT_SECONDS", "DEADLINE_RESERVE_SECONDS", "USAGE_DAYS"])
@pytest.mark.parametrize("value", ["x", "-1", "nan", "inf", "1e9", "1,5", "0x10", "1 2"])
def test_numbers_out_of_range_are_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read(**{name: value})


def test_zero_turns_heartbeats_off() -> None:
    assert read(HEARTBEAT_SECONDS="0").heartbeat_seconds == 0


@pytest.mark.parametrize("name", ["REQUEST_POLICY", "CALLER_POLICIES", "PRICES"])
@pytest.mark.parametrize("value", ["{", "x", '{"nonsense": 1}', "5"])
def test_structured_settings_are_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read(**{name: value})


def test_the_settle_failure_is_one_of_two_words() -> None:
    assert read(SETTLE_FAILURE="retry").settle_failure == "retry"
    with pytest.raises(SettingsError, match="SETTLE_FAILURE"):
        read(SETTLE_FAILURE="Retry")


def test_what_reports_a_wrong_setting_never_fails_itself() -> None:
    assert ProcessSettings.from_environ({}) == ProcessSettings(runtime_api="127.0.0.1:9001", log_level="INFO")
    given = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1", "AWS_LAMBDA_LOG_LEVEL": "debug"}
    assert ProcessSettings.from_environ(given) == ProcessSettings(runtime_api="127.0.0.1:1", log_level="DEBUG")


# -- AWS


@pytest.mark.parametrize(
    ("environ", "secrets_manager", "dynamodb"),
    [
        (
            {"AWS_REGION": "eu-central-1"},
            "https://secretsmanager.eu-central-1.amazonaws.com",
            "https://dynamodb.eu-central-1.amazonaws.com",
        ),
        (
            {"AWS_REGION": "cn-north-1"},
            "https://secretsmanager.cn-north-1.amazonaws.com.cn",
            "https://dynamodb.cn-north-1.amazonaws.com.cn",
        ),
        ({"AWS_REGION": "x", "AWS_ENDPOINT_URL": "http://a"}, "http://a", "http://a"),
        (
            {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://b"},
            "http://b",
            "http://a",
        ),
        (
            {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_DYNAMODB": "http://b"},
            "http://a",
            "http://b",
        ),
    ],
)
def test_endpoints_are_found_as_aws_sdks_do(environ: dict[str, str], secrets_manager: str, dynamodb: str) -> None:
    settings = AwsSettings.from_environ(environ)
    assert (settings.secrets_manager_url, settings.dynamodb_url) == (secrets_manager, dynamodb)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_DYNAMODB"])
@pytest.mark.parametrize("value", ["nonsense", "http://", "http://a:b@c", "http://a?b"])
def test_an_endpoint_that_is_no_url_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is not"):
        read(**{name: value})


def test_credentials_are_held_and_not_shown() -> None:
    settings = read(AWS_ACCESS_KEY_ID="ASIAEXAMPLE", AWS_SECRET_ACCESS_KEY="hidden", AWS_SESSION_TOKEN="hidden too")
    assert settings.aws.access_key_id == "ASIAEXAMPLE"
    assert (settings.aws.secret_access_key, settings.aws.session_token) == ("hidden", "hidden too")
    assert "hidden" not in repr(settings)


def test_an_api_needs_a_table_and_real_names() -> None:
    assert read().api is None
    api = read(API_ID="abcde12345", TABLE_NAME="limits", API_ISSUERS='{"corp": {"issuer": "https://a"}}').api
    assert api is not None
    assert (api.id, api.stage, [issuer.alias for issuer in api.issuers]) == ("abcde12345", "relay", ["corp"])
    mistakes: list[tuple[dict[str, str], str]] = [
        ({"API_ID": "abcde12345", "TABLE_NAME": ""}, "TABLE_NAME"),
        ({"API_ID": "https://x", "TABLE_NAME": "limits"}, "API_ID"),
        ({"API_ID": "a", "API_STAGE": "a b", "TABLE_NAME": "limits"}, "API_STAGE"),
        ({"API_ID": "a", "API_ISSUERS": "{", "TABLE_NAME": "limits"}, "API_ISSUERS"),
    ]
    for wrong, name in mistakes:
        with pytest.raises(SettingsError, match=name):
            read(**wrong)
