"""Tasks as a client of the API sees them."""

from typing import Any

import httpx2

from app.models.domain.task import TaskStatus
from tests.support.waiting import until


def client_of(url: str, key: str | None = None) -> httpx2.AsyncClient:
    """A client of the API at ``url``; use it as a context manager."""
    return httpx2.AsyncClient(
        base_url=url,
        headers={"X-API-Key": key} if key else {},
        timeout=20,
        trust_env=False,
    )


async def post_task(client: httpx2.AsyncClient, text: str, **fields: str) -> str:
    """Submit a task, which has to be accepted; gives its id."""
    response = await client.post("/v1/agent/execute", json={"task": text, **fields})
    assert response.status_code == 200, response.text
    return str(response.json()["task_id"])


async def get_task(client: httpx2.AsyncClient, task_id: str) -> Any:
    """The task as it is now."""
    response = await client.get(f"/v1/tasks/{task_id}")
    assert response.status_code == 200, response.text
    return response.json()


async def task_at_end(client: httpx2.AsyncClient, task_id: str, *, within: float = 20.0) -> Any:
    """The task once its status is final."""

    async def has_ended() -> bool:
        return TaskStatus((await get_task(client, task_id))["status"]).is_final

    await until(has_ended, within=within)
    return await get_task(client, task_id)


async def count_tasks(client: httpx2.AsyncClient, status: str | None = None) -> int:
    """How many tasks the caller has, of that status or at all."""
    parameters: dict[str, str | int] = {"page_size": 1}
    if status is not None:
        parameters["status"] = status
    response = await client.get("/v1/tasks", params=parameters)
    assert response.status_code == 200, response.text
    return int(response.headers["X-Total-Count"])


async def wait_for_status(
    client: httpx2.AsyncClient, task_id: str, status: str, *, within: float = 20.0
) -> None:
    """Wait until the task is there."""

    async def is_there() -> bool:
        return bool((await get_task(client, task_id))["status"] == status)

    await until(is_there, within=within)
