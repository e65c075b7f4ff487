"""``GET /metrics`` in Prometheus' format."""

import re
from pathlib import Path

import httpx2
import pytest

from app.core.config import Settings
from tests.integration.conftest import make_settings
from tests.support.errors import error_of
from tests.support.prometheus import Scrape
from tests.support.valkey import ValkeyServer

REQUESTS = "api_http_requests_total"
DURATION = "api_http_request_duration_seconds"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-")


async def scrape(client: httpx2.AsyncClient) -> Scrape:
    response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return Scrape(response.text)


async def test_requests_are_counted_and_timed_by_the_routes_template(
    client: httpx2.AsyncClient,
) -> None:
    before = await scrape(client)
    accepted = await client.post("/v1/agent/execute", json={"task": "write a poem"})
    for _ in range(2):
        await client.get(accepted.headers["location"])
    await client.get("/v1/tasks/nope")
    await client.delete("/v1/tasks")
    await client.get("/health")
    after = await scrape(client)

    assert after.label_names(REQUESTS) == {"method", "endpoint", "status_code"}
    assert after.label_names(f"{DURATION}_count") == {"method", "endpoint"}

    def rise(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    execute, task = "/v1/agent/execute", "/v1/tasks/{task_id}"
    assert rise(REQUESTS, method="POST", endpoint=execute, status_code="200") == 1
    assert rise(REQUESTS, method="GET", endpoint=task, status_code="200") == 2
    assert rise(REQUESTS, method="GET", endpoint=task, status_code="422") == 1
    assert rise(REQUESTS, method="DELETE", endpoint="/v1/tasks", status_code="405") == 1
    assert rise(REQUESTS, method="GET", endpoint="/health", status_code="200") == 1
    assert rise(f"{DURATION}_count", method="GET", endpoint=task) == 3
    assert rise(f"{DURATION}_sum", method="POST", endpoint=execute) > 0
    assert rise("api_tasks_accepted_total") == 1


async def test_no_label_comes_from_a_client(client: httpx2.AsyncClient) -> None:
    accepted = await client.post("/v1/agent/execute", json={"task": "write a poem"})
    await client.get(accepted.headers["location"])
    for number in range(20):
        await client.get(f"/made-up-{number}")
        await client.post(f"/v1/made-up-{number}", content=b" " * 300_000)
    found = await scrape(client)
    assert "made-up" not in found.text
    assert not UUID.search(found.text)
    assert found.value(REQUESTS, method="GET", endpoint="unmatched", status_code="404") >= 20
    assert found.label_values(REQUESTS, "endpoint") <= {
        *("/v1/agent/execute", "/v1/tasks", "/v1/tasks/{task_id}", "/v1/tasks/{task_id}/events"),
        *("/v1/system/metrics", "/health", "/health/live", "/health/ready", "/metrics"),
        *("/openapi.json", "unmatched"),
    }


class TestSwitchedOff:
    @pytest.fixture
    def settings(self, tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
        return make_settings(tmp_path, shared_valkey.url, prometheus_enabled=False)

    async def test_the_endpoint_is_not_there(self, client: httpx2.AsyncClient) -> None:
        error_of(await client.get("/metrics"), 404, "NOT_FOUND")
        assert "/metrics" not in (await client.get("/openapi.json")).json()["paths"]
        assert (await client.get("/v1/system/metrics")).status_code == 200
