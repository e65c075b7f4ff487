"""``GET /v1/tasks`` and ``GET /v1/tasks/{id}``."""

import asyncio
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.api.deps import owner_id_of
from app.core.clock import utc_now
from app.core.config import Settings
from app.db.repositories import Repositories
from app.models.domain.task import Task, TaskStatus
from app.services.execution import execute
from tests.integration.conftest import make_settings
from tests.support.agents import FailingAgent
from tests.support.errors import error_of
from tests.support.execution import InProcessWorker
from tests.support.tasks import stored_task
from tests.support.valkey import ValkeyServer

LIST = "/v1/tasks"
LINK = re.compile(r'<([^>]*)>; rel="([a-z]+)"')
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


async def store(repositories: Repositories, tasks: Iterable[Task]) -> list[str]:
    """Insert the tasks; gives their ids as a listing has to order them."""
    tasks = list(tasks)
    await asyncio.gather(*(repositories.tasks.insert(task) for task in tasks))
    newest_first = sorted(tasks, key=lambda task: (task.created_at, task.task_id), reverse=True)
    return [task.task_id for task in newest_first]


def ids(response: httpx2.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [task["task_id"] for task in response.json()]


def links(response: httpx2.Response) -> dict[str, str]:
    return {relation: target for target, relation in LINK.findall(response.headers["link"])}


def spread_out(count: int, **fields: Any) -> list[Task]:
    """Tasks created at different moments, some of them at the same."""
    now = utc_now()
    return [
        stored_task(created_at=now - timedelta(milliseconds=number // 3), **fields)
        for number in range(count)
    ]


class TestListing:
    async def test_a_line_has_the_fields_of_the_contract(
        self, client: httpx2.AsyncClient, repositories: Repositories
    ) -> None:
        done = stored_task(
            status=TaskStatus.COMPLETED, agent_name="CodeAgent", took=timedelta(seconds=5)
        )
        await store(repositories, [done])
        [line] = (await client.get(LIST)).json()
        assert line["task_id"] == done.task_id
        assert (line["agent_type"], line["selected_agent"]) == ("code", "CodeAgent")
        assert (line["status"], line["summary"]) == ("completed", "A summary")
        assert TIMESTAMP.fullmatch(line["created_at"])
        assert TIMESTAMP.fullmatch(line["completed_at"])

    async def test_a_task_that_has_not_ended_has_nulls(
        self, client: httpx2.AsyncClient, repositories: Repositories
    ) -> None:
        await store(repositories, [stored_task()])
        [line] = (await client.get(LIST)).json()
        assert {name for name, value in line.items() if value is None} == {
            "agent_type",
            "selected_agent",
            "completed_at",
            "summary",
        }

    async def test_without_tasks_it_is_empty(self, client: httpx2.AsyncClient) -> None:
        response = await client.get(LIST)
        assert (response.status_code, response.json()) == (200, [])
        assert response.headers["x-total-count"] == "0"
        assert set(links(response)) == {"first", "last"}

    async def test_newest_come_first_and_twenty_on_a_page(
        self, client: httpx2.AsyncClient, repositories: Repositories
    ) -> None:
        expected = await store(repositories, spread_out(25))
        response = await client.get(LIST)
        assert ids(response) == expected[:20]
        assert response.headers["x-total-count"] == "25"
        assert ids(await client.get(LIST, params={"page": 2})) == expected[20:]

    async def test_a_page_may_have_from_one_to_a_hundred_tasks(
        self, client: httpx2.AsyncClient, repositories: Repositories
    ) -> None:
        expected = await store(repositories, spread_out(101))
        assert ids(await client.get(LIST, params={"page_size": 100})) == expected[:100]
        assert ids(await client.get(LIST, params={"page_size": 1})) == expected[:1]
        assert ids(await client.get(LIST, params={"page_size": 1, "page": 101})) == expected[100:]

    async def test_each_filter_chooses_and_together_they_narrow_down(
        self, client: httpx2.AsyncClient, repositories: Repositories
    ) -> None:
        tasks = [
            stored_task(status=status, agent_name=agent, session_id=session)
            for status in TaskStatus
            for agent in ("ContentAgent", "CodeAgent", None)
            for session in ("one", "two")
        ]
        expected = await store(repositories, tasks)
        by_id = {task.task_id: task for task in tasks}

        async def check(**chosen: str) -> None:
            wanted = [
                task_id
                for task_id in expected
                if all(getattr(by_id[task_id], name) == value for name, value in chosen.items())
            ]
            response = await client.get(LIST, params={**chosen, "page_size": "100"})
            assert ids(response) == wanted
            assert response.headers["x-total-count"] == str(len(wanted))

        for status in TaskStatus:
            await check(status=status.value)
        await check(agent_type="code")
        await check(agent_type="weather")
        await check(session_id="two")
        await check(status="completed", agent_type="content")
        await check(status="failed", agent_type="code", session_id="one")

    async def test_following_next_walks_every_task_once_in_order(
        self, client: httpx2.AsyncClient, repositories: Repositories
    ) -> None:
        expected = await store(repositories, spread_out(23, status=TaskStatus.FAILED))
        await store(repositories, spread_out(5))
        seen: list[str] = []
        target: str | None = f"{LIST}?status=failed&page_size=5"
        while target is not None:
            response = await client.get(target)
            seen += ids(response)
            target = links(response).get("next")
        assert seen == expected

    async def test_links_lead_to_the_pages_they_name(
        self, client: httpx2.AsyncClient, repositories: Repositories
    ) -> None:
        expected = await store(repositories, spread_out(11, session_id="a:b"))
        middle = await client.get(LIST, params={"session_id": "a:b", "page": 2, "page_size": 4})
        found = links(middle)
        assert set(found) == {"first", "prev", "next", "last"}
        assert ids(await client.get(found["first"])) == expected[:4]
        assert ids(await client.get(found["prev"])) == expected[:4]
        assert ids(await client.get(found["next"])) == expected[8:]
        assert ids(await client.get(found["last"])) == expected[8:]
        assert "prev" not in links(await client.get(found["first"]))
        assert "next" not in links(await client.get(found["last"]))

    async def test_a_full_last_page_has_no_next(
        self, client: httpx2.AsyncClient, repositories: Repositories
    ) -> None:
        await store(repositories, spread_out(10))
        response = await client.get(LIST, params={"page": 2, "page_size": 5})
        assert len(ids(response)) == 5
        assert "next" not in links(response)

    async def test_beyond_the_last_page_there_is_nothing_and_a_way_back(
        self, client: httpx2.AsyncClient, repositories: Repositories
    ) -> None:
        expected = await store(repositories, spread_out(6))
        response = await client.get(LIST, params={"page": 1_000_000, "page_size": 5})
        assert ids(response) == []
        assert response.headers["x-total-count"] == "6"
        assert ids(await client.get(links(response)["prev"])) == expected[5:]

    async def test_a_link_carries_what_was_asked_for_safely_quoted(
        self, client: httpx2.AsyncClient
    ) -> None:
        odd = 'x>; rel="evil", <http://evil/'
        response = await client.get(LIST, params={"agent_type": odd})
        assert set(links(response)) == {"first", "last"}
        assert "evil/" not in response.headers["link"]


class TestDetails:
    async def test_a_completed_task_shows_its_result_its_runs_and_its_cost(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        text = "Python ile bir dosyayı okuyup yazan kod yaz"
        accepted = (await client.post("/v1/agent/execute", json={"task": text})).json()
        await execute(accepted["task_id"], worker.execution)

        detail = (await client.get(f"{LIST}/{accepted['task_id']}")).json()
        assert detail["task_id"] == accepted["task_id"]
        assert detail["session_id"] == accepted["session_id"]
        assert detail["input_text"] == text
        assert detail["status"] == "completed"
        assert (detail["selected_agent"], detail["agent_type"]) == ("CodeAgent", "code")
        assert detail["peer_routing_reason"]
        assert detail["queued_at"] == accepted["queued_at"]
        moments = [
            detail[name] for name in ("created_at", "queued_at", "started_at", "completed_at")
        ]
        assert all(TIMESTAMP.fullmatch(moment) for moment in moments)
        assert moments == sorted(moments)
        assert detail["error"] is None
        assert (detail["attempt"], detail["max_attempts"]) == (1, 3)
        assert detail["api_version"] == "v1"

        result = detail["result"]
        assert result["code_language"] == "python"
        assert result["citations"] == []
        assert result["model"] == "offline"
        assert "```python" in result["raw_output"]
        assert result["summary"]

        router, executor = detail["agent_runs"]
        assert router["run_id"] == f"{accepted['task_id']}:router"
        assert (router["agent_name"], router["agent_role"]) == ("PeerAgent", "router")
        assert (executor["agent_name"], executor["agent_role"]) == ("CodeAgent", "executor")
        for run in (router, executor):
            assert set(run) >= {
                *("run_id", "task_id", "session_id", "agent_name", "agent_role", "input"),
                *("output", "model", "tools_used", "started_at", "finished_at", "duration_ms"),
                "token_usage",
            }
            assert run["model"] == "offline"
            assert run["tools_used"] == []
            assert run["token_usage"] == {"prompt": 0, "completion": 0, "total": 0}
            assert run["duration_ms"] >= 0

    async def test_a_task_that_waits_has_neither_result_nor_runs(
        self, client: httpx2.AsyncClient
    ) -> None:
        accepted = (await client.post("/v1/agent/execute", json={"task": "write a poem"})).json()
        detail = (await client.get(f"{LIST}/{accepted['task_id']}")).json()
        assert detail["status"] == "queued"
        assert detail["agent_runs"] == []
        assert detail["result"] is detail["error"] is detail["started_at"] is None

    async def test_a_failed_task_says_why_and_keeps_the_stack_to_itself(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        task = await worker.accept(agent="test")
        parts = worker.with_agent(FailingAgent(ValueError("the agent's own fault")))
        await execute(task.task_id, parts)
        stored = await worker.reload(task)
        assert stored.error is not None
        assert stored.error.stack

        response = await client.get(f"{LIST}/{task.task_id}")
        assert response.json()["status"] == "failed"
        assert response.json()["error"] == {
            "type": "ValueError",
            "code": "AGENT_ERROR",
            "message": "The agent failed unexpectedly; the log tells more under the task's id.",
        }
        assert "own fault" not in response.text

    async def test_a_task_that_no_agent_fits_says_so(
        self, client: httpx2.AsyncClient, worker: InProcessWorker
    ) -> None:
        accepted = (await client.post("/v1/agent/execute", json={"task": "hello there"})).json()
        await execute(accepted["task_id"], worker.execution)
        detail = (await client.get(f"{LIST}/{accepted['task_id']}")).json()
        assert detail["status"] == "failed"
        assert detail["error"]["type"] == "UnknownTaskTypeError"
        assert detail["error"]["code"] == "UNKNOWN_TASK_TYPE"

    async def test_an_id_is_the_same_in_any_spelling(self, client: httpx2.AsyncClient) -> None:
        accepted = (await client.post("/v1/agent/execute", json={"task": "write a poem"})).json()
        response = await client.get(f"{LIST}/{accepted['task_id'].upper()}")
        assert response.json()["task_id"] == accepted["task_id"]


class TestOwners:
    """Each key sees its own tasks, and of the others not even that they exist."""

    @pytest.fixture
    def settings(self, tmp_path: Path, shared_valkey: ValkeyServer) -> Settings:
        return make_settings(tmp_path, shared_valkey.url, api_keys=["key-a", "key-b"])

    async def test_a_listing_holds_the_callers_tasks_only(
        self, client: httpx2.AsyncClient, repositories: Repositories
    ) -> None:
        mine = await store(repositories, spread_out(3, owner_id=owner_id_of("key-a")))
        yours = await store(repositories, spread_out(2, owner_id=owner_id_of("key-b")))
        await store(repositories, spread_out(4, owner_id=None))
        for key, expected in (("key-a", mine), ("key-b", yours)):
            response = await client.get(LIST, headers={"X-API-Key": key})
            assert ids(response) == expected
            assert response.headers["x-total-count"] == str(len(expected))
            same_session = await client.get(
                LIST, headers={"X-API-Key": key}, params={"session_id": "session"}
            )
            assert ids(same_session) == expected

    @pytest.mark.parametrize("suffix", ["", "/events"])
    async def test_anothers_task_looks_exactly_like_one_that_is_not_there(
        self, client: httpx2.AsyncClient, repositories: Repositories, suffix: str
    ) -> None:
        task = stored_task(owner_id=owner_id_of("key-b"))
        await store(repositories, [task])
        headers = {"X-API-Key": "key-a", "X-Request-Id": "same"}
        anothers = await client.get(f"{LIST}/{task.task_id}{suffix}", headers=headers)
        missing_id = str(uuid4())
        missing = await client.get(f"{LIST}/{missing_id}{suffix}", headers=headers)

        error_of(anothers, 404, "TASK_NOT_FOUND")
        assert anothers.text == missing.text.replace(missing_id, task.task_id)
        assert without_date(anothers) == without_date(missing)

    async def test_a_task_from_before_there_were_keys_is_nobodys(
        self, client: httpx2.AsyncClient, repositories: Repositories
    ) -> None:
        task = stored_task(owner_id=None)
        await store(repositories, [task])
        response = await client.get(f"{LIST}/{task.task_id}", headers={"X-API-Key": "key-a"})
        error_of(response, 404, "TASK_NOT_FOUND")


def without_date(response: httpx2.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name != "date"}
