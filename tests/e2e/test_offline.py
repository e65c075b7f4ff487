"""Without a model and without any set-up: tasks go in, are routed, and come out labelled."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.support.sse import statuses, watch
from tests.support.system import RunningSystem, store_of
from tests.support.tasks_over_http import client_of, count_tasks, get_task, post_task
from tests.support.waiting import until


@pytest.fixture
async def client(offline_system: RunningSystem, api_key: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the offline system."""
    async with client_of(offline_system.url, api_key) as client:
        yield client


@pytest.mark.parametrize(
    ("text", "agent"),
    [
        ("Python ile bir dosyayı okuyup yazan kod yaz", "CodeAgent"),
        ("Write a blog article about the history of the bicycle", "ContentAgent"),
    ],
)
async def test_a_task_is_routed_and_comes_out_labelled_offline(
    client: httpx2.AsyncClient, text: str, agent: str
) -> None:
    task_id = await post_task(client, text)
    events = await watch(client, task_id)
    task = await get_task(client, task_id)

    assert statuses(events) == ["queued", "processing", "completed"]
    assert [event.json["agent_name"] for event in events if event.event == "step"] == [agent] * 2
    streamed = "".join(event.json["text"] for event in events if event.event == "token")
    assert (task["status"], task["selected_agent"]) == ("completed", agent)
    assert task["result"]["model"] == "offline"
    assert task["result"]["raw_output"] == streamed
    assert "made without a model" in streamed
    assert [(run["agent_role"], run["agent_name"], run["model"]) for run in task["agent_runs"]] == [
        ("router", "PeerAgent", "offline"),
        ("executor", agent, "offline"),
    ]
    assert task["cost"]["total_tokens"] == 0


async def test_readiness_says_that_no_model_stands_behind_it(client: httpx2.AsyncClient) -> None:
    ready = await client.get("/health/ready")
    health = await client.get("/health")

    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    assert ready.json()["model"] == {
        "mode": "offline",
        "router": "offline",
        "content": "offline",
        "code": "offline",
    }
    assert health.text == "ok | mongo=up | redis=up | env=test"


async def test_a_task_that_is_for_no_agent_fails_without_a_second_attempt(
    client: httpx2.AsyncClient,
) -> None:
    task_id = await post_task(client, "hello")
    events = await watch(client, task_id)
    task = await get_task(client, task_id)

    assert statuses(events) == ["queued", "processing", "failed"]
    assert task["error"]["type"] == "UnknownTaskTypeError"
    assert task["attempt"] == 1


async def test_two_hundred_tasks_of_sixteen_clients_are_each_done_once(
    offline_system: RunningSystem, client: httpx2.AsyncClient, api_key: str
) -> None:
    completed_before = await count_tasks(client, "completed")
    numbers = iter(range(200))
    task_ids: list[str] = []

    async def keep_posting() -> None:
        async with client_of(offline_system.url, api_key) as own_client:
            for number in numbers:
                text = f"Python ile {number} numaralı dosyayı okuyan kod yaz"
                task_ids.append(await post_task(own_client, text))

    async def all_are_completed() -> bool:
        return await count_tasks(client, "completed") - completed_before == 200

    await asyncio.gather(*(keep_posting() for _ in range(16)))
    await until(all_are_completed, within=40)

    assert len(set(task_ids)) == 200
    async with store_of(offline_system.data_dir) as store:
        for task_id in task_ids:
            task = await store.tasks.load(task_id)
            assert task is not None
            assert [event.status for event in task.events] == ["queued", "processing", "completed"]
            runs = await store.agent_runs.list_for_task(task_id)
            assert [run.agent_role for run in runs] == ["router", "executor"]
            messages = await store.messages.list_for_task(task_id)
            assert [message.role for message in messages] == ["user", "assistant"]
    told = Counter(line["task_id"] for line in offline_system.lines("task_completed"))
    assert {told[task_id] for task_id in task_ids} == {1}
