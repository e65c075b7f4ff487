"""Probes: what they say with all parts up, without Redis, and without the store."""

import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.core.config import Settings
from app.services.health import PROBE_TIMEOUT_SECONDS
from tests.integration.conftest import make_settings
from tests.support.store_file import count_documents
from tests.support.valkey import ValkeyServer, free_port

OFFLINE = {"mode": "offline", "router": "offline", "content": "offline", "code": "offline"}


async def probe(client: httpx2.AsyncClient) -> tuple[httpx2.Response, httpx2.Response, Any]:
    """The line, the liveness and the readiness; none of them may keep its caller waiting."""
    responses = []
    for path in ("/health", "/health/live", "/health/ready"):
        started = time.monotonic()
        responses.append(await client.get(path))
        assert time.monotonic() - started < PROBE_TIMEOUT_SECONDS + 1
    line, live, ready = responses
    assert (live.status_code, live.json()) == (200, {"status": "alive"})
    assert line.headers["content-type"] == "text/plain; charset=utf-8"
    assert line.status_code == ready.status_code
    return line, ready, ready.json()


async def test_with_everything_up_it_is_ready(
    client: httpx2.AsyncClient, settings: Settings
) -> None:
    line, ready, body = await probe(client)
    assert line.text == "ok | mongo=up | redis=up | env=test"
    assert ready.status_code == 200
    assert body == {
        "status": "ready",
        "environment": "test",
        "store": {"engine": "sqlite", "status": "up"},
        "redis": {"status": "up"},
        "model": OFFLINE,
    }
    assert count_documents(settings.sqlite_path) == {}


class TestWithAModelProvider:
    @pytest.fixture
    def settings(self, tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
        # Readiness names the models and asks nothing of them: that would cost money.
        return make_settings(
            tmp_path,
            shared_valkey.url,
            openai_base_url=f"http://127.0.0.1:{free_port()}/v1",
            llm_code_model="some-coder",
        )

    async def test_readiness_names_the_models(self, client: httpx2.AsyncClient) -> None:
        _, ready, body = await probe(client)
        assert (ready.status_code, body["status"]) == (200, "ready")
        assert body["model"] == {
            "mode": "provider",
            "router": "gpt-4.1-mini",
            "content": "gpt-4.1",
            "code": "some-coder",
        }


class TestWithoutRedis:
    @pytest.fixture
    def settings(self, tmp_path: Path, own_valkey: ValkeyServer) -> Settings:
        return make_settings(tmp_path, own_valkey.url)

    async def test_it_is_degraded_and_recovers(
        self, client: httpx2.AsyncClient, own_valkey: ValkeyServer
    ) -> None:
        own_valkey.kill()
        line, ready, body = await probe(client)
        assert line.text == "degraded | mongo=up | redis=down | env=test"
        assert ready.status_code == 200
        assert body["status"] == "degraded"
        assert (body["store"]["status"], body["redis"]["status"]) == ("up", "down")

        own_valkey.start()
        line, _, body = await probe(client)
        assert line.text.startswith("ok | ")
        assert body["status"] == "ready"

    async def test_a_stalled_redis_is_down_and_does_not_hold_the_probe_up(
        self, client: httpx2.AsyncClient, own_valkey: ValkeyServer
    ) -> None:
        own_valkey.pause()
        started = time.monotonic()
        response = await client.get("/health")
        assert response.text == "degraded | mongo=up | redis=down | env=test"
        assert time.monotonic() - started < PROBE_TIMEOUT_SECONDS + 1


class TestWithoutTheStore:
    @pytest.fixture
    def settings(self, tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
        return make_settings(
            tmp_path,
            shared_valkey.url,
            mongo_uri=f"mongodb://127.0.0.1:{free_port()}",
            store_timeout_seconds=0.3,
        )

    async def test_nothing_can_be_accepted_but_the_process_lives(
        self, client: httpx2.AsyncClient
    ) -> None:
        line, ready, body = await probe(client)
        assert line.text == "unavailable | mongo=down | redis=up | env=test"
        assert ready.status_code == 503
        assert body["status"] == "unavailable"
        assert body["store"] == {"engine": "mongodb", "status": "down"}
