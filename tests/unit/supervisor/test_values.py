"""What the supervisor says and writes, as values."""

import io
import signal
from pathlib import Path

import pytest

from app.core.addresses import local_url
from app.core.config import READY_FILE_VARIABLE, Settings
from app.supervisor.banner import banner
from app.supervisor.children import describe_exit
from app.supervisor.up import application_specs
from app.supervisor.watcher import watch

REDIS_URL = "redis://:hidden-password@127.0.0.1:16000/0"


def settings(**values: object) -> Settings:
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]


def show(configured: Settings, api_url: str = "http://127.0.0.1:8000") -> str:
    return banner(configured, api_url=api_url, redis_url=REDIS_URL, seconds=1.23)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-signal.SIGKILL, "signal SIGKILL"),
        (-60, "signal 60"),
    ],
)
def test_an_exit_is_described_by_code_or_signal(code: int, text: str) -> None:
    assert describe_exit(code) == text


def test_the_watcher_kills_who_is_listed_when_its_input_ends() -> None:
    assert watch(io.BytesIO(b"+10\n+11\n-10\n+12\n")) == {11, 12}


def test_the_watcher_kills_nobody_after_a_regular_end() -> None:
    assert watch(io.BytesIO(b"+10\ndone\n")) == set()


def test_the_banner_says_where_it_listens_and_what_to_try() -> None:
    text = show(settings())

    for part in ("ready (1.2 s)", "http://127.0.0.1:8000/docs", "SQLite", "Valkey", "offline",
                 "submit", "--follow", "curl -N"):  # fmt: skip
        assert part in text
    assert "--url" not in text
    assert "X-API-Key" not in text


def test_the_banner_shows_no_password() -> None:
    text = show(
        settings(
            mongo_uri="mongodb://user:mongo-password@db/",
            redis_url=REDIS_URL,
            celery_broker_url="amqp://user:broker-password@mq/",
            openai_api_key="sk-secret",
            api_keys='["key-of-a-client"]',
        )
    )

    for secret in ("mongo-password", "hidden-password", "broker-password", "sk-secret", "key-of"):
        assert secret not in text
    assert "MongoDB" in text
    assert "$ORCHESTRATOR_API_KEY" in text


def test_the_banner_names_the_url_where_submit_would_not_find_it() -> None:
    assert "--url http://127.0.0.1:9000" in show(settings(port=9000), "http://127.0.0.1:9000")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("example.org", "http://example.org:80"),
    ],
)
def test_a_wildcard_address_is_reached_over_loopback(host: str, url: str) -> None:
    assert local_url(host, 80) == url


def test_api_and_workers_are_told_where_everything_is() -> None:
    specs = application_specs(
        settings(data_dir=Path("/data"), port=8123, workers=2, worker_concurrency=3), REDIS_URL
    )

    assert [spec.name for spec in specs] == ["api", "worker-1", "worker-2"]
    for spec in specs:
        assert spec.environment["REDIS_URL"] == REDIS_URL
        assert spec.environment["DATA_DIR"] == "/data"
        assert spec.environment["PORT"] == "8123"
        assert spec.environment["WORKER_CONCURRENCY"] == "3"
        assert not any("password" in part for part in spec.command)
    assert READY_FILE_VARIABLE not in specs[0].environment
    assert specs[1].environment[READY_FILE_VARIABLE] != specs[2].environment[READY_FILE_VARIABLE]
