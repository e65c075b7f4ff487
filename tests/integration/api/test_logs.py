"""The log: one JSON object a line, tied together by ids, and without secrets."""

from pathlib import Path

import httpx2
import pytest

from app.core.config import Settings
from app.services.execution import execute
from tests.integration.conftest import make_settings
from tests.support.execution import InProcessWorker
from tests.support.log_lines import LogLines
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until

KEY = "key-4711"
HEADERS = {"X-API-Key": KEY, "X-Request-Id": "the-request"}


@pytest.fixture
def settings(tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
    return make_settings(
        tmp_path, shared_valkey.url, api_keys=[KEY], tavily_api_key="key-of-the-search"
    )


def handled(log: LogLines, **fields: object) -> dict[str, object]:
    """The line about a request, which is written after its answer is."""
    wait_until(lambda: bool(log.lines(event="request_handled", **fields)))
    [line] = log.lines(event="request_handled", **fields)
    return line


async def test_a_request_is_logged_with_its_id_its_route_and_its_outcome(
    client: httpx2.AsyncClient, log: LogLines
) -> None:
    await client.get("/v1/tasks", params={"status": "failed"}, headers=HEADERS)
    line = handled(log, request_id="the-request")
    assert line["level"] == "info"
    assert line["process"] == "api"
    assert (line["method"], line["path"], line["status_code"]) == ("GET", "/v1/tasks", 200)
    assert line["endpoint"] == "/v1/tasks"
    assert line["duration_ms"] > 0  # type: ignore[operator]
    assert line["timestamp"]
    assert all({"timestamp", "level", "event", "logger"} <= set(line) for line in log.lines())


async def test_every_line_about_a_task_has_its_id_and_that_of_its_request(
    client: httpx2.AsyncClient, worker: InProcessWorker, log: LogLines
) -> None:
    request = {"task": "Write a blog article about tea", "agent": "content"}
    accepted = await client.post("/v1/agent/execute", json=request, headers=HEADERS)
    task_id = accepted.json()["task_id"]
    await execute(task_id, worker.execution)
    lines = log.lines(task_id=task_id, request_id="the-request")
    assert [line["event"] for line in lines] == ["task_accepted", "task_started", "task_completed"]
    assert {line["session_id"] for line in lines} == {accepted.json()["session_id"]}


async def test_no_line_holds_a_key_or_a_query(client: httpx2.AsyncClient, log: LogLines) -> None:
    for key in (KEY, "key-that-is-wrong"):
        for path in ("/v1/tasks", "/v1/tasks/00000000-0000-4000-8000-000000000000/events", "/x"):
            await client.get(path, headers={"X-API-Key": key})
            await client.get(path, params={"X-API-Key": key, "page": "secret-page"})
    await client.get("/v1/tasks", headers=HEADERS)
    handled(log, request_id="the-request")
    [settings] = log.lines(event="settings_loaded")
    assert settings["api_keys"] == settings["tavily_api_key"] == settings["redis_url"] == "********"
    for secret in (KEY, "key-that-is-wrong", "key-of-the-search", "secret-page"):
        assert secret not in log.getvalue()


async def test_probes_do_not_fill_the_log(client: httpx2.AsyncClient, log: LogLines) -> None:
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        await client.get(path, headers={"X-Request-Id": "a-probe"})
    await client.get("/v1/tasks", headers=HEADERS)
    handled(log, request_id="the-request")
    assert log.lines(request_id="a-probe") == []


async def test_a_path_cannot_forge_a_line(client: httpx2.AsyncClient, log: LogLines) -> None:
    await client.get('/x%0A{"event":"forged"}', headers=HEADERS)
    assert handled(log, request_id="the-request")["path"] == '/x\n{"event":"forged"}'
    assert log.lines(event="forged") == []
