"""``POST /v1/agent/execute``: what is answered is durable, and nothing else is."""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx2
import pytest

from app.core.config import Settings
from app.db.repositories import Repositories
from app.db.repositories.tasks import TaskFilter
from app.messaging.queue import QUEUE_NAME
from app.models.domain.task import Task, TaskStatus
from app.services.execution import execute
from tests.integration.conftest import make_settings
from tests.support.api_server import running_api
from tests.support.errors import error_of
from tests.support.execution import InProcessWorker
from tests.support.store_file import count_documents, locked
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import until

ENDPOINT = "/v1/agent/execute"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
QUICK_SECONDS = 1.5
"""Less than Redis is given to answer."""


async def stored(repositories: Repositories, response: httpx2.Response) -> Task:
    """The task that a response is about, as the store has it."""
    assert response.status_code == 200, response.text
    task = await repositories.tasks.load(response.json()["task_id"])
    assert task is not None
    return task


async def test_the_answer_has_exactly_the_fields_of_the_contract(
    client: httpx2.AsyncClient,
) -> None:
    response = await client.post(
        ENDPOINT, json={"task": "Python ile bir dosyayı okuyup yazan kod yaz"}
    )
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == [
        "task_id",
        "session_id",
        "status",
        "queued_at",
        "message",
        "api_version",
    ]
    assert UUID(body["task_id"]).version == 4
    assert UUID(body["session_id"]).version == 4
    assert TIMESTAMP.fullmatch(body["queued_at"])
    assert (body["status"], body["message"], body["api_version"]) == (
        "queued",
        "Task accepted and queued.",
        "v1",
    )


async def test_a_task_is_in_the_store_when_it_is_answered(
    client: httpx2.AsyncClient, repositories: Repositories
) -> None:
    response = await client.post(
        ENDPOINT, json={"task": "write a poem"}, headers={"User-Agent": "u" * 1000}
    )
    task = await stored(repositories, response)
    assert task.status is TaskStatus.QUEUED
    assert task.input_text == "write a poem"
    assert task.session_id == response.json()["session_id"]
    assert [event.status for event in task.events] == [TaskStatus.QUEUED]
    assert task.metadata.ip == "127.0.0.1"
    assert task.metadata.user_agent == "u" * 256
    assert (task.owner_id, task.requested_agent, task.attempt) == (None, None, 0)


async def test_its_id_is_handed_to_the_broker_and_that_is_noted(
    client: httpx2.AsyncClient, worker: InProcessWorker
) -> None:
    response = await client.post(ENDPOINT, json={"task": "write a poem"})
    task = await stored(worker.repositories, response)

    assert task.dispatched_at == task.queued_at
    queue = f"{worker.settings.redis_global_keyprefix}{QUEUE_NAME}"

    async def is_in_the_queue() -> bool:
        return bool(await worker.redis.llen(queue) == 1)

    await until(is_in_the_queue)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 32_768, id="exactly 32 KiB"),
        pytest.param("ş" * 16_384, id="exactly 32 KiB of two-byte characters"),
        pytest.param("  çok satırlı\n\tgörev 🚲 \u202e\x7f ", id="whitespace and odd characters"),
        pytest.param('{"$where": "1"}', id="looks like a query"),
    ],
)
async def test_the_text_is_kept_as_it_was_sent(
    client: httpx2.AsyncClient, repositories: Repositories, text: str
) -> None:
    response = await client.post(ENDPOINT, json={"task": text})
    assert (await stored(repositories, response)).input_text == text
    detail = await client.get(f"/v1/tasks/{response.json()['task_id']}")
    assert detail.json()["input_text"] == text


async def test_without_a_session_each_task_gets_one_of_its_own(
    client: httpx2.AsyncClient, repositories: Repositories
) -> None:
    first, second = [
        await stored(repositories, await client.post(ENDPOINT, json={"task": "write a poem"}))
        for _ in range(2)
    ]
    assert first.session_id != second.session_id
    for task in (first, second):
        session = await repositories.sessions.find(task.session_id, owner_id=None)
        assert session is not None
        assert session.last_task_id == task.task_id


@pytest.mark.parametrize("session_id", ["df4595b5-34c8-4a05-9e07-c2835c7f20ea", "a", "x.y_z:1-2"])
async def test_a_session_that_is_named_is_created_once_and_then_reused(
    client: httpx2.AsyncClient, repositories: Repositories, session_id: str
) -> None:
    request = {"task": "write a poem", "session_id": session_id}
    first = await stored(repositories, await client.post(ENDPOINT, json=request))
    created = await repositories.sessions.find(session_id, owner_id=None)
    second = await stored(repositories, await client.post(ENDPOINT, json=request))
    reused = await repositories.sessions.find(session_id, owner_id=None)

    assert first.session_id == second.session_id == session_id
    assert created is not None
    assert reused is not None
    assert reused.created_at == created.created_at
    assert reused.last_task_id == second.task_id


async def test_one_session_used_for_the_first_time_by_many_at_once(
    client: httpx2.AsyncClient, repositories: Repositories
) -> None:
    request = {"task": "write a poem", "session_id": "shared"}
    responses = await asyncio.gather(*(client.post(ENDPOINT, json=request) for _ in range(20)))
    ids = {(await stored(repositories, response)).task_id for response in responses}
    assert len(ids) == 20
    listed = await repositories.tasks.count(TaskFilter(owner_id=None, session_id="shared"))
    assert listed == 20


@pytest.mark.parametrize("name", ["code", "CodeAgent", "CODE", "codeagent"])
async def test_the_caller_may_name_the_agent_by_type_or_name(
    client: httpx2.AsyncClient, worker: InProcessWorker, name: str
) -> None:
    response = await client.post(
        ENDPOINT, json={"task": "Write a blog article about tea", "agent": name}
    )
    task = await stored(worker.repositories, response)
    assert task.requested_agent == "code"
    await execute(task.task_id, worker.execution)
    assert (await worker.reload(task)).selected_agent == "CodeAgent"


async def test_location_leads_to_the_task(client: httpx2.AsyncClient) -> None:
    response = await client.post(ENDPOINT, json={"task": "write a poem"})
    task_id = response.json()["task_id"]
    assert response.headers["location"] == f"/v1/tasks/{task_id}"
    assert (await client.get(response.headers["location"])).json()["task_id"] == task_id


@pytest.mark.parametrize("offered", ["req-1", "a" * 128, "A.b_c:d-0"])
async def test_the_clients_request_id_is_given_back_and_kept_with_the_task(
    client: httpx2.AsyncClient, repositories: Repositories, offered: str
) -> None:
    response = await client.post(
        ENDPOINT, json={"task": "write a poem"}, headers={"X-Request-Id": offered}
    )
    assert response.headers["x-request-id"] == offered
    assert (await stored(repositories, response)).metadata.request_id == offered


async def test_without_one_a_request_gets_an_id(
    client: httpx2.AsyncClient, repositories: Repositories
) -> None:
    response = await client.post(ENDPOINT, json={"task": "write a poem"})
    request_id = response.headers["x-request-id"]
    assert str(UUID(request_id)) == request_id
    assert (await stored(repositories, response)).metadata.request_id == request_id


class TestOwners:
    """Two keys are two owners."""

    @pytest.fixture
    def settings(self, tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
        return make_settings(tmp_path, shared_valkey.url, api_keys=["key-a", "key-b"])

    async def test_a_session_of_another_key_is_not_found_and_nothing_is_stored(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        request = {"task": "write a poem", "session_id": "mine"}
        mine, yours = {"X-API-Key": "key-a"}, {"X-API-Key": "key-b"}
        assert (await client.post(ENDPOINT, json=request, headers=mine)).status_code == 200
        before = count_documents(settings.sqlite_path)

        refused = await client.post(ENDPOINT, json=request, headers=yours)
        error = error_of(refused, 404, "SESSION_NOT_FOUND")
        assert error["message"] == "Session mine was not found."
        assert count_documents(settings.sqlite_path) == before
        assert (await client.post(ENDPOINT, json=request, headers=mine)).status_code == 200

    async def test_a_task_is_kept_under_an_id_that_gives_the_key_away_to_nobody(
        self, client: httpx2.AsyncClient, repositories: Repositories
    ) -> None:
        response = await client.post(
            ENDPOINT, json={"task": "write a poem"}, headers={"X-API-Key": "key-a"}
        )
        task = await stored(repositories, response)
        assert task.owner_id is not None
        assert task.metadata.api_key_id == task.owner_id
        assert "key-a" not in task.model_dump_json()


class TestWithoutRedis:
    """The broker may be away: a task is accepted all the same, and at once."""

    @pytest.fixture
    def settings(self, tmp_path: Path, own_valkey: ValkeyServer) -> Settings:
        return make_settings(tmp_path, own_valkey.url)

    @pytest.mark.parametrize("trouble", ["killed", "paused"])
    async def test_tasks_are_accepted_quickly(
        self,
        client: httpx2.AsyncClient,
        repositories: Repositories,
        own_valkey: ValkeyServer,
        trouble: str,
    ) -> None:
        if trouble == "killed":
            own_valkey.kill()
        else:
            own_valkey.pause()
        # More than one: the dispatcher must not have to be through with the one before.
        for _ in range(3):
            started = time.monotonic()
            response = await client.post(ENDPOINT, json={"task": "write a poem"})
            assert time.monotonic() - started < QUICK_SECONDS
            assert (await stored(repositories, response)).status is TaskStatus.QUEUED


class TestWithoutTheStore:
    """What cannot be stored is not accepted."""

    @pytest.fixture
    def settings(self, tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
        return make_settings(tmp_path, shared_valkey.url, store_timeout_seconds=0.3)

    async def test_a_locked_store_is_a_503_and_nothing_is_stored(
        self, client: httpx2.AsyncClient, settings: Settings
    ) -> None:
        first = await client.post(ENDPOINT, json={"task": "write a poem"})
        assert first.status_code == 200
        before = count_documents(settings.sqlite_path)
        with locked(settings.sqlite_path):
            started = time.monotonic()
            refused = await client.post(ENDPOINT, json={"task": "write a poem"})
            assert time.monotonic() - started < QUICK_SECONDS
            error_of(refused, 503, "STORE_UNAVAILABLE")
            assert int(refused.headers["retry-after"]) > 0
        assert count_documents(settings.sqlite_path) == before
        again = await client.post(ENDPOINT, json={"task": "write a poem"})
        assert again.status_code == 200

    async def test_a_store_that_is_not_there_is_a_503(self, settings: Settings) -> None:
        with absent_mongo(settings) as url:
            async with httpx2.AsyncClient(base_url=url, timeout=15) as client:
                refused = await client.post(ENDPOINT, json={"task": "write a poem"})
        error_of(refused, 503, "STORE_UNAVAILABLE")


@contextmanager
def absent_mongo(settings: Settings) -> Iterator[str]:
    """The API over a MongoDB where nobody listens."""
    uri = f"mongodb://127.0.0.1:{free_port()}"
    with running_api(
        make_settings(
            settings.data_dir,
            settings.resolve_redis_url(),
            mongo_uri=uri,
            store_timeout_seconds=0.3,
        )
    ) as url:
        yield url
