"""API and worker as production runs them: two plain commands, and servers given by URL."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from pymongo import AsyncMongoClient

from tests.support.sse import statuses, watch
from tests.support.system import environment_of, running_process
from tests.support.tasks_over_http import client_of, get_task, post_task
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_until

KEY = "key-in-a-query"


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A broker that is nobody else's."""
    server = ValkeyServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "mongodb"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[dict[str, str]]:
    """The variables that choose the store; a database of its own is dropped afterwards."""
    if request.param == "sqlite":
        yield {}
        return
    uri = os.environ.get("TEST_MONGO_URI")
    if uri is None:
        pytest.skip("TEST_MONGO_URI is not set; scripts/mongo_for_tests.sh can start a server")
    name = f"test-{uuid4().hex[:12]}"
    yield {"MONGO_URI": uri, "MONGO_DB_NAME": name}
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(uri)
    await client.drop_database(name)
    await client.close()


async def test_uvicorn_and_celery_do_a_task(
    valkey: ValkeyServer, store: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    environment = environment_of(
        tmp_path / "data", REDIS_URL=valkey.url, API_KEYS=f'["{KEY}"]', **store
    )
    api_log, worker_log = tmp_path / "api.log", tmp_path / "worker.log"
    api = [sys.executable, "-P", "-m", "uvicorn", "app.main:app", "--port", str(port)]
    worker = [sys.executable, "-P", "-m", "celery", "-A", "app.worker.celery_app", "worker"]
    with (
        running_process(api, environment, api_log),
        running_process([*worker, "-Q", "agent_tasks"], environment, worker_log),
    ):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: is_ready(url), within=30)
        async with client_of(url) as client:
            client.headers["X-API-Key"] = KEY
            task_id = await post_task(client, "Write a blog article about the sea")
            del client.headers["X-API-Key"]
            events = await watch(client, task_id, params={"X-API-Key": KEY})
            client.headers["X-API-Key"] = KEY
            task = await get_task(client, task_id)
            engine = (await client.get("/health/ready")).json()["store"]["engine"]

    assert statuses(events) == ["queued", "processing", "completed"]
    assert (task["status"], task["selected_agent"]) == ("completed", "ContentAgent")
    assert engine == ("mongodb" if store else "sqlite")
    assert KEY not in api_log.read_text() + worker_log.read_text()


def is_ready(url: str) -> bool:
    """Whether the API can do its work."""
    try:
        return httpx2.get(f"{url}/health/ready", timeout=2, trust_env=False).is_success
    except httpx2.TransportError:
        return False
