"""API keys: who is let in, and that a key shows up nowhere."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from app.core.config import Settings
from tests.integration.conftest import make_settings
from tests.support.errors import error_of
from tests.support.store_file import count_documents
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_until

KEY, OTHER_KEY = "key-one-4711", "key-two-0815"
WRONG_KEY = "key-wrong-1234"
TASK = "00000000-0000-4000-8000-000000000000"
PROTECTED = [
    ("POST", "/v1/agent/execute"),
    ("GET", "/v1/tasks"),
    ("GET", f"/v1/tasks/{TASK}"),
    ("GET", f"/v1/tasks/{TASK}/events"),
    ("GET", "/v1/system/metrics"),
]
OPEN = ["/health", "/health/live", "/health/ready", "/metrics", "/openapi.json"]


@pytest.fixture
def settings(tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
    return make_settings(tmp_path, shared_valkey.url, api_keys=[KEY, OTHER_KEY])


def unauthorised(response: httpx2.Response, message: str) -> None:
    """The contract's body: this code, this message, and the request's id."""
    error = error_of(response, 401, "HTTP_ERROR")
    assert error["message"] == message
    assert "details" not in error
    assert response.headers["www-authenticate"]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_without_a_key_or_with_a_wrong_one_nobody_is_let_in(
    client: httpx2.AsyncClient, settings: Settings, method: str, path: str
) -> None:
    body = {"task": "write a poem"} if method == "POST" else None
    unauthorised(await client.request(method, path, json=body), "Missing API key.")
    for key, message in {
        "": "Missing API key.",
        WRONG_KEY: "Invalid API key.",
        KEY[:-1]: "Invalid API key.",
        KEY + "x": "Invalid API key.",
        KEY.upper(): "Invalid API key.",
        f"{KEY},{OTHER_KEY}": "Invalid API key.",
    }.items():
        refused = await client.request(method, path, json=body, headers={"X-API-Key": key})
        unauthorised(refused, message)
    assert count_documents(settings.sqlite_path) == {}


@pytest.mark.parametrize("key", [KEY, OTHER_KEY])
async def test_every_configured_key_is_let_in(client: httpx2.AsyncClient, key: str) -> None:
    headers = {"X-API-Key": key}
    accepted = await client.post(
        "/v1/agent/execute", json={"task": "write a poem"}, headers=headers
    )
    assert accepted.status_code == 200
    for path in ("/v1/tasks", accepted.headers["location"], "/v1/system/metrics"):
        assert (await client.get(path, headers=headers)).status_code == 200


async def test_the_query_form_counts_on_the_event_stream_only(client: httpx2.AsyncClient) -> None:
    for method, path in PROTECTED:
        response = await client.request(
            method,
            path,
            json={"task": "write a poem"} if method == "POST" else None,
            params={"X-API-Key": KEY},
        )
        if path.endswith("/events"):
            error_of(response, 404, "TASK_NOT_FOUND")
        else:
            unauthorised(response, "Missing API key.")


async def test_on_the_event_stream_a_header_goes_before_the_query(
    client: httpx2.AsyncClient,
) -> None:
    path = f"/v1/tasks/{TASK}/events"
    refused = await client.get(path, params={"X-API-Key": KEY}, headers={"X-API-Key": WRONG_KEY})
    unauthorised(refused, "Invalid API key.")
    unauthorised(await client.get(path, params={"X-API-Key": WRONG_KEY}), "Invalid API key.")
    unauthorised(await client.get(path, params={"X-API-Key": ""}), "Missing API key.")


async def test_probes_and_documents_need_no_key(client: httpx2.AsyncClient) -> None:
    for path in OPEN:
        assert (await client.get(path)).status_code == 200


async def test_the_key_is_in_no_document(client: httpx2.AsyncClient) -> None:
    for path in OPEN:
        text = (await client.get(path, headers={"X-API-Key": KEY})).text
        assert KEY not in text
        assert OTHER_KEY not in text


class TestWithoutKeys:
    """``API_KEYS`` is empty."""

    @pytest.fixture
    def settings(self, tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
        return make_settings(tmp_path, shared_valkey.url)

    async def test_everybody_is_let_in_and_a_key_makes_no_difference(
        self, client: httpx2.AsyncClient
    ) -> None:
        accepted = await client.post(
            "/v1/agent/execute", json={"task": "write a poem"}, headers={"X-API-Key": "any"}
        )
        assert (await client.get(accepted.headers["location"])).status_code == 200


COMMAND_LINES = {
    "uvicorn": [sys.executable, "-m", "uvicorn", "app.main:app", "--port"],
    "orchestrator": [sys.executable, "-m", "app.cli", "api", "--port"],
}


@contextmanager
def api_process(
    command_line: list[str], folder: Path, redis_url: str, output: Path
) -> Iterator[str]:
    """The API as a process of its own, as talkative as it can be; gives its URL."""
    port = free_port()
    environment = {
        **os.environ,
        "API_KEYS": f'["{KEY}"]',
        "DATA_DIR": str(folder),
        "REDIS_URL": redis_url,
        "LOG_LEVEL": "DEBUG",
    }
    with output.open("wb") as written:
        process = subprocess.Popen(
            [*command_line, str(port)],
            cwd=folder,
            env=environment,
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: process.poll() is not None or is_alive(url), within=20)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=15)


def is_alive(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/live").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize("command_line", COMMAND_LINES.values(), ids=COMMAND_LINES)
def test_a_key_is_in_no_line_that_a_process_writes(
    tmp_path: Path, shared_valkey: ValkeyServer, command_line: list[str]
) -> None:
    output = tmp_path / "output"
    with (
        api_process(command_line, tmp_path, shared_valkey.url, output) as url,
        httpx2.Client(base_url=url) as client,
    ):
        for key, status in ((KEY, 404), (WRONG_KEY, 401)):
            events = f"/v1/tasks/{TASK}/events"
            for name in ("X-API-Key", "X%2DAPI%2DKey"):
                seen = client.get(f"{events}?{name}={key}", headers={"X-Request-Id": "the-probe"})
                assert seen.status_code == status
            for method, path in PROTECTED:
                client.request(method, path, headers={"X-API-Key": key})
                client.request(method, path, params={"X-API-Key": key})
            client.get("/nowhere", params={"X-API-Key": key})
            client.post("/v1/agent/execute/", params={"X-API-Key": key})
    written = output.read_text()
    assert "the-probe" in written
    assert KEY not in written
    assert WRONG_KEY not in written
