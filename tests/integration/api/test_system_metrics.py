"""``GET /v1/system/metrics``: the figures of a known set of tasks."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI, Request

from app.api.deps import ApiParts, get_parts
from app.core.config import Settings
from app.db.repositories import Repositories
from app.main import create_app
from app.models.domain.task import TaskStatus
from app.services.execution import execute
from tests.integration.conftest import make_settings
from tests.support.errors import error_of
from tests.support.execution import InProcessWorker
from tests.support.tasks import stored_task
from tests.support.valkey import ValkeyServer, free_port

ENDPOINT = "/v1/system/metrics"
MIDNIGHT = datetime(2026, 3, 14, tzinfo=UTC)
NOW = MIDNIGHT + timedelta(hours=12)


async def at_noon(request: Request) -> ApiParts:
    """The API's parts on a day whose beginning does not come in the middle of a test."""
    return replace(await get_parts(request), clock=lambda: NOW)


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    app = create_app(settings)
    app.dependency_overrides[get_parts] = at_noon
    return app


async def test_without_tasks_there_are_no_latencies(client: httpx2.AsyncClient) -> None:
    response = await client.get(ENDPOINT)
    assert response.status_code == 200
    assert response.json() == {
        "queue": {"pending_tasks": 0},
        "today": {"total_tasks": 0, "tasks_per_agent": {"ContentAgent": 0, "CodeAgent": 0}},
        "latency_ms": {"avg": None, "p95": None},
        "api_health": {
            "status": "healthy",
            "dependencies": {"mongo": "up", "redis": "up", "llm_provider": "offline"},
        },
        "api_version": "v1",
    }


async def test_the_figures_are_those_of_todays_tasks_of_all_owners(
    client: httpx2.AsyncClient, repositories: Repositories
) -> None:
    # Twenty done today, in 100, 200 ... 2000 ms: on average 1050, and 19 of 20 within 1900.
    tasks = [
        stored_task(
            created_at=MIDNIGHT + timedelta(minutes=number),
            status=TaskStatus.COMPLETED,
            agent_name="CodeAgent" if number % 4 else "ContentAgent",
            took=timedelta(milliseconds=100 * number),
            owner_id=f"key_{number % 3}",
        )
        for number in range(1, 21)
    ]
    tasks += [stored_task(created_at=NOW) for _ in range(3)]
    tasks += [stored_task(created_at=NOW, status=TaskStatus.PROCESSING) for _ in range(2)]
    tasks.append(stored_task(created_at=NOW, status=TaskStatus.FAILED, took=timedelta(seconds=99)))
    yesterday = MIDNIGHT - timedelta(seconds=10)
    # Done yesterday; begun yesterday and done today; waiting since yesterday.
    done_yesterday = stored_task(
        created_at=yesterday,
        status=TaskStatus.COMPLETED,
        agent_name="CodeAgent",
        took=timedelta(seconds=5),
    )
    tasks += [done_yesterday, stored_task(created_at=yesterday)]
    for task in tasks:
        await repositories.tasks.insert(task)

    metrics = (await client.get(ENDPOINT)).json()
    assert metrics["queue"] == {"pending_tasks": 4}
    assert metrics["today"] == {
        "total_tasks": 26,
        "tasks_per_agent": {"ContentAgent": 5, "CodeAgent": 15},
    }
    assert metrics["latency_ms"] == {"avg": 1050, "p95": 1900}


async def test_latencies_are_those_of_the_latest_two_hundred(
    client: httpx2.AsyncClient, repositories: Repositories
) -> None:
    for number in range(210):
        # The ten oldest were slow.
        took = timedelta(milliseconds=100 if number >= 10 else 60_000)
        task = stored_task(
            created_at=MIDNIGHT + timedelta(minutes=number),
            status=TaskStatus.COMPLETED,
            agent_name="CodeAgent",
            took=took,
        )
        await repositories.tasks.insert(task)
    metrics = (await client.get(ENDPOINT)).json()
    assert metrics["latency_ms"] == {"avg": 100, "p95": 100}
    assert metrics["today"]["total_tasks"] == 210


class TestOnTheRealClock:
    @pytest.fixture
    def app(self, settings: Settings) -> FastAPI:
        return create_app(settings)

    async def test_a_task_that_is_done_is_counted(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        request = {"task": "Write a blog article about tea", "agent": "content"}
        accepted = (await client.post("/v1/agent/execute", json=request)).json()
        waiting = (await client.get(ENDPOINT)).json()
        await execute(accepted["task_id"], worker.execution)
        done = (await client.get(ENDPOINT)).json()

        assert waiting["queue"]["pending_tasks"] == 1
        assert waiting["today"]["tasks_per_agent"]["ContentAgent"] == 0
        assert done["queue"]["pending_tasks"] == 0
        assert done["today"]["tasks_per_agent"]["ContentAgent"] == 1
        assert done["latency_ms"]["avg"] == done["latency_ms"]["p95"] >= 0


class TestDependencies:
    async def dependencies(self, client: httpx2.AsyncClient, status: str) -> dict[str, str]:
        response = await client.get(ENDPOINT)
        assert response.status_code == 200
        health = response.json()["api_health"]
        assert health["status"] == status
        found: dict[str, str] = health["dependencies"]
        return found

    class TestWithoutRedis:
        @pytest.fixture
        def settings(self, tmp_path: Path, own_valkey: ValkeyServer) -> Settings:
            return make_settings(tmp_path, own_valkey.url)

        async def test_the_system_is_degraded_and_its_figures_are_still_told(
            self, client: httpx2.AsyncClient, own_valkey: ValkeyServer
        ) -> None:
            own_valkey.kill()
            found = await TestDependencies().dependencies(client, "degraded")
            assert found == {"mongo": "up", "redis": "down", "llm_provider": "offline"}

    class TestWithoutTheModel:
        @pytest.fixture
        def settings(self, tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
            return make_settings(
                tmp_path,
                shared_valkey.url,
                openai_base_url=f"http://127.0.0.1:{free_port()}/v1",
                llm_max_retries=0,
            )

        async def test_the_system_is_degraded(self, client: httpx2.AsyncClient) -> None:
            found = await TestDependencies().dependencies(client, "degraded")
            assert found == {"mongo": "up", "redis": "up", "llm_provider": "down"}

    class TestWithoutTheStore:
        @pytest.fixture
        def settings(self, tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
            return make_settings(
                tmp_path,
                shared_valkey.url,
                mongo_uri=f"mongodb://127.0.0.1:{free_port()}",
                store_timeout_seconds=0.3,
            )

        async def test_there_are_no_figures(self, client: httpx2.AsyncClient) -> None:
            error_of(await client.get(ENDPOINT), 503, "STORE_UNAVAILABLE")
