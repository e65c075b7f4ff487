"""Settings: their defaults, what is refused, and what is never shown."""

from pathlib import Path

import pytest

from app.core.config import EMBEDDED_REDIS_URL_FILE, MASK, load_settings
from app.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("PORT", "eighty", "PORT='eighty': input should be a valid integer"),
        ("PORT", "70000", "PORT='70000': input should be less than or equal to 65535"),
        ("ENVIRONMENT", "staging", "ENVIRONMENT='staging': input should be 'local', 'test'"),
        ("LEASE_SECONDS", "0", "LEASE_SECONDS='0': input should be greater than or equal to 1"),
        ("API_KEYS", "one,two", f"API_KEYS={MASK}: must be a JSON list of strings"),
        ("API_KEYS", '["one", ""]', "API_KEYS must not hold an empty key"),
        ("CORS_ORIGINS", "*", "CORS_ORIGINS='*': must be a JSON list of strings"),
        ("MONGO_URI", "http://u:s3cret@h", f"MONGO_URI={MASK}: must be a URL with one of"),
        ("REDIS_URL", "s3cret", f"REDIS_URL={MASK}: must be a URL with one of the schemes redis"),
        ("OPENAI_BASE_URL", "localhost:1", "OPENAI_BASE_URL='localhost:1': string should match"),
    ],
)
def test_a_bad_value_is_named_in_one_line_and_secrets_are_masked(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_several_bad_values_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("WORKERS", "0")
    with pytest.raises(ConfigurationError, match=r"PORT=.*; WORKERS="):
        load_settings()


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGO_URI", "")
    monkeypatch.setenv("API_KEYS", "")
    settings = load_settings()
    assert settings.mongo_uri is None
    assert settings.api_keys == ()


def test_lists_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEYS", '["one", "two"]')
    keys = load_settings().api_keys
    assert [key.get_secret_value() for key in keys] == ["one", "two"]


def test_the_snapshot_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "TAVILY_API_KEY"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("API_KEYS", '["canary"]')
    monkeypatch.setenv("MONGO_URI", "mongodb://user:canary@host")
    monkeypatch.setenv("REDIS_URL", "redis://:canary@host")
    settings = load_settings()
    assert "canary" not in repr(settings.sanitised())
    assert "canary" not in repr(settings)
    assert settings.sanitised()["openai_api_key"] == MASK
    assert settings.sanitised()["celery_broker_url"] is None


def test_redis_is_the_embedded_one_while_it_runs(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    assert settings.resolve_redis_url() == "redis://127.0.0.1:6379/0"
    (tmp_path / EMBEDDED_REDIS_URL_FILE).write_text("redis://:pw@127.0.0.1:7777/0\n")
    assert settings.resolve_redis_url() == "redis://:pw@127.0.0.1:7777/0"
    assert settings.resolve_broker_url() == settings.resolve_redis_url()
    assert load_settings(data_dir=tmp_path, redis_url="redis://other").resolve_redis_url() == (
        "redis://other"
    )


def test_a_socket_url_is_told_to_celery_in_its_own_words() -> None:
    settings = load_settings(redis_url="unix:///run/redis.sock")
    assert settings.resolve_broker_url() == "redis+socket:///run/redis.sock"


def test_the_system_is_offline_only_without_key_and_server() -> None:
    assert load_settings().offline
    assert not load_settings(openai_api_key="k").offline
    assert not load_settings(openai_base_url="http://127.0.0.1:1/v1").offline
