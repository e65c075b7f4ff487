"""``/v1/tasks``: what became of tasks, and what is happening to them."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request, Response
from sse_starlette import EventSourceResponse

from app.api.deps import ApiParts, AuthenticatedCaller, Parts, StreamCaller
from app.api.pagination import add_page_headers
from app.api.sse import STREAM_RESPONSE, no_events, sse_messages
from app.core.errors import InvalidRequestError, StoreUnavailableError, TaskNotFoundError
from app.db.repositories.tasks import TaskFilter
from app.models.api.requests import SessionId
from app.models.api.responses import TaskDetailResponse, TaskSummaryResponse
from app.models.domain.event import BEFORE_ALL, EventId, TaskEvent
from app.models.domain.task import TaskStatus
from app.services.streaming import task_events

router = APIRouter(prefix="/v1/tasks", tags=["tasks"])

SEND_TIMEOUT_SECONDS = 30.0
"""A reader that takes nothing for this long is cut off; it can resume."""

TaskId = Annotated[UUID, Path(description="The task's id, as given when it was accepted.")]


@router.get("", operation_id="listTasks", summary="List tasks")
async def list_tasks(
    request: Request,
    response: Response,
    parts: Parts,
    caller: AuthenticatedCaller,
    status: Annotated[TaskStatus | None, Query(description="Only these.")] = None,
    agent_type: Annotated[
        str | None, Query(max_length=64, description="Only this agent's, e.g. `code`.")
    ] = None,
    session_id: Annotated[SessionId | None, Query(description="Only this session's.")] = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 20,
) -> list[TaskSummaryResponse]:
    """The caller's tasks, newest first. `X-Total-Count` and `Link` tell about the other pages."""
    chosen = TaskFilter(
        owner_id=caller.owner_id, status=status, agent_type=agent_type, session_id=session_id
    )
    tasks = await parts.repositories.tasks.list_page(chosen, page=page, page_size=page_size)
    total = await parts.repositories.tasks.count(chosen)
    add_page_headers(response, request.url, page=page, page_size=page_size, total=total)
    return [TaskSummaryResponse.of(task) for task in tasks]


@router.get("/{task_id}", operation_id="getTask", summary="Get a task")
async def get_task(
    task_id: TaskId, parts: Parts, caller: AuthenticatedCaller
) -> TaskDetailResponse:
    """The task with its result, its error, its cost and the runs of its agents."""
    task = await parts.repositories.tasks.find(str(task_id), owner_id=caller.owner_id)
    if task is None:
        raise TaskNotFoundError(f"Task {task_id} was not found.")
    runs = await parts.repositories.agent_runs.list_for_task(task.task_id)
    return TaskDetailResponse.of(task, runs)


@router.get(
    "/{task_id}/events",
    operation_id="streamTaskEvents",
    summary="Watch a task",
    response_class=EventSourceResponse,
    responses={200: STREAM_RESPONSE, 204: {"description": "The task has ended and all was seen."}},
)
async def stream_task_events(
    task_id: TaskId,
    parts: Parts,
    caller: StreamCaller,
    last_event_id: Annotated[
        str | None, Header(description="Resume behind this event; sent by a browser by itself.")
    ] = None,
    query_last_event_id: Annotated[
        str | None, Query(alias="last_event_id", description="The same, where no header can be.")
    ] = None,
) -> Response:
    """Every event of the task once and in order, from the first or from where a client left off."""
    position = last_event_id or query_last_event_id
    after = _parse_position(position)
    try:
        task = await parts.repositories.tasks.find(str(task_id), owner_id=caller.owner_id)
    except StoreUnavailableError:
        if position is None:
            raise
        # A browser that reconnects and is answered with an error gives up for good.
        return _stream(no_events(), parts)
    if task is None:
        raise TaskNotFoundError(f"Task {task_id} was not found.")
    if task.status.is_final and after >= EventId(task.event_seq, 0):
        # The one answer after which a browser's EventSource does not connect again.
        return Response(status_code=204)
    return _stream(task_events(task.task_id, after=after, parts=parts.streaming), parts)


def _stream(events: AsyncIterator[TaskEvent], parts: ApiParts) -> EventSourceResponse:
    return EventSourceResponse(
        sse_messages(events, retry_milliseconds=parts.settings.sse_retry_milliseconds),
        ping=parts.settings.sse_ping_seconds,
        send_timeout=SEND_TIMEOUT_SECONDS,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _parse_position(text: str | None) -> EventId:
    if text is None:
        return BEFORE_ALL
    try:
        return EventId.parse(text)
    except ValueError as error:
        raise InvalidRequestError(f"last_event_id: {error}") from None
