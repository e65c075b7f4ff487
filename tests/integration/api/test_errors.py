"""Whatever goes wrong, the answer has the one shape and carries the request's id."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI, Request

from app.api.deps import ApiParts, get_parts
from app.core.config import Settings
from app.main import create_app
from tests.integration.conftest import make_settings
from tests.support.errors import error_of
from tests.support.log_lines import LogLines
from tests.support.store_file import count_documents, locked
from tests.support.valkey import ValkeyServer

KEY = {"X-API-Key": "a-key"}
TASK = str(uuid4())
ERRORS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "no key": ("GET", "/v1/tasks", {}, 401, "HTTP_ERROR"),
    "wrong key": ("GET", "/v1/tasks", {"headers": {"X-API-Key": "x"}}, 401, "HTTP_ERROR"),
    "no such task": ("GET", f"/v1/tasks/{TASK}", {"headers": KEY}, 404, "TASK_NOT_FOUND"),
    "no such stream": ("GET", f"/v1/tasks/{TASK}/events", {"headers": KEY}, 404, "TASK_NOT_FOUND"),
    "no such path": ("GET", "/v2/tasks", {"headers": KEY}, 404, "NOT_FOUND"),
    "no such path at all": ("GET", "/%ff/..%2f", {}, 404, "NOT_FOUND"),
    "no such method": ("DELETE", f"/v1/tasks/{TASK}", {}, 405, "METHOD_NOT_ALLOWED"),
    "reading where one writes": ("GET", "/v1/agent/execute", {}, 405, "METHOD_NOT_ALLOWED"),
    "body too large": (
        "POST",
        "/v1/agent/execute",
        {"headers": KEY, "content": b" " * 300_000},
        413,
        "REQUEST_TOO_LARGE",
    ),
    "bad field": (
        "POST",
        "/v1/agent/execute",
        {"headers": KEY, "json": {"task": ""}},
        422,
        "VALIDATION_ERROR",
    ),
    "bad value": (
        "POST",
        "/v1/agent/execute",
        {"headers": KEY, "json": {"task": "x", "agent": "nobody"}},
        422,
        "VALIDATION_ERROR",
    ),
    "bad parameter": ("GET", "/v1/tasks?page=0", {"headers": KEY}, 422, "VALIDATION_ERROR"),
}


@pytest.fixture
def settings(tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
    return make_settings(tmp_path, shared_valkey.url, api_keys=["a-key"], store_timeout_seconds=0.3)


@pytest.mark.parametrize(
    ("method", "path", "request_", "status", "code"), ERRORS.values(), ids=ERRORS
)
async def test_every_error_has_the_one_shape_and_its_requests_id(
    client: httpx2.AsyncClient,
    method: str,
    path: str,
    request_: dict[str, Any],
    status: int,
    code: str,
) -> None:
    error = error_of(await client.request(method, path, **request_), status, code)
    assert str(UUID(error["request_id"])) == error["request_id"]

    headers = {**request_.get("headers", {}), "X-Request-Id": "of-the-client"}
    response = await client.request(method, path, **{**request_, "headers": headers})
    assert error_of(response, status, code)["request_id"] == "of-the-client"


async def test_a_method_that_is_not_allowed_says_which_are(client: httpx2.AsyncClient) -> None:
    response = await client.put("/v1/agent/execute")
    error_of(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "POST"


async def test_a_store_that_does_not_answer_is_a_503(
    client: httpx2.AsyncClient, settings: Settings
) -> None:
    with locked(settings.sqlite_path):
        refused = await client.post(
            "/v1/agent/execute",
            json={"task": "write a poem"},
            headers={**KEY, "X-Request-Id": "of-the-client"},
        )
    error = error_of(refused, 503, "STORE_UNAVAILABLE")
    assert error["request_id"] == "of-the-client"


class BrokenClockError(Exception):
    """A fault that nobody expects."""


def broken_clock() -> datetime:
    """A part that fails when it is used."""
    raise BrokenClockError("s3cret detail")


async def with_broken_clock(request: Request) -> ApiParts:
    """The API's parts, one of them broken."""
    return replace(await get_parts(request), clock=broken_clock)


class TestAFaultOfOurs:
    @pytest.fixture
    def app(self, settings: Settings) -> FastAPI:
        app = create_app(settings)
        app.dependency_overrides[get_parts] = with_broken_clock
        return app

    async def test_the_client_learns_the_id_and_the_log_has_the_rest(
        self,
        client: httpx2.AsyncClient,
        settings: Settings,
        log: LogLines,
    ) -> None:
        response = await client.post(
            "/v1/agent/execute",
            json={"task": "write a poem"},
            headers={**KEY, "X-Request-Id": "of-the-client"},
        )
        error = error_of(response, 500, "INTERNAL_ERROR")
        assert error["request_id"] == "of-the-client"
        assert "s3cret" not in response.text
        assert "Error" not in error["message"]

        [crashed] = log.lines(request_id="of-the-client", event="request_crashed")
        assert "BrokenClockError: s3cret detail" in crashed["exception"]
        assert count_documents(settings.sqlite_path) == {}

    async def test_the_next_request_is_none_the_worse(self, client: httpx2.AsyncClient) -> None:
        for _ in range(3):
            crashed = await client.post(
                "/v1/agent/execute", json={"task": "write a poem"}, headers=KEY
            )
            error_of(crashed, 500, "INTERNAL_ERROR")
            assert (await client.get("/v1/tasks", headers=KEY)).status_code == 200


HOSTILE_IDS = (
    b"",
    b"a b",
    b"a" * 129,
    b"<script>alert(1)</script>",
    b'","level":"critical',
    b"a;b",
    b"a/b",
    b"a\tb",
    b"\xff\xfe",
    "kimlik-ş".encode(),
    b"$(id)",
    b"%0d%0aSet-Cookie:%20a=b",
)


@pytest.mark.parametrize("path", ["/health", "/v1/tasks", "/nowhere"])
async def test_a_hostile_request_id_is_replaced(client: httpx2.AsyncClient, path: str) -> None:
    for hostile in HOSTILE_IDS:
        response = await client.get(path, headers=[(b"X-Request-Id", hostile)])
        given = response.headers["x-request-id"]
        assert str(UUID(given)) == given
        if response.status_code >= 400:
            assert response.json()["error"]["request_id"] == given


async def test_requests_that_bring_no_id_get_different_ones(client: httpx2.AsyncClient) -> None:
    given = {(await client.get("/health")).headers["x-request-id"] for _ in range(5)}
    assert len(given) == 5
