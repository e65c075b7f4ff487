"""``POST /v1/agent/execute``: a task goes in."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from app.api.deps import ApiParts, AuthenticatedCaller, Caller, Parts
from app.api.prometheus import TASKS_ACCEPTED
from app.core.errors import InvalidRequestError
from app.models.api.requests import ExecuteTaskRequest
from app.models.api.responses import ExecuteTaskResponse
from app.models.domain.task import TaskMetadata
from app.services.submission import Submission, submit

router = APIRouter(prefix="/v1/agent", tags=["tasks"])

MAX_USER_AGENT = 256


@router.post(
    "/execute",
    operation_id="executeTask",
    summary="Accept a task",
)
async def execute_task(
    body: ExecuteTaskRequest,
    request: Request,
    response: Response,
    parts: Parts,
    caller: AuthenticatedCaller,
    user_agent: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> ExecuteTaskResponse:
    """Store the task and queue it. What was answered here will end, whatever dies meanwhile."""
    submission = _to_submission(body, request, parts, caller, user_agent)
    task = await submit(
        submission,
        repositories=parts.repositories,
        dispatcher=parts.dispatcher,
        settings=parts.settings,
        clock=parts.clock,
    )
    TASKS_ACCEPTED.inc()
    response.headers["Location"] = f"/v1/tasks/{task.task_id}"
    return ExecuteTaskResponse(
        task_id=task.task_id, session_id=task.session_id, queued_at=task.queued_at
    )


def _to_submission(
    body: ExecuteTaskRequest,
    request: Request,
    parts: ApiParts,
    caller: Caller,
    user_agent: str | None,
) -> Submission:
    if len(body.task.encode()) > parts.settings.task_max_bytes:
        raise InvalidRequestError(
            f"body.task: must not be longer than {parts.settings.task_max_bytes} bytes"
        )
    spec = parts.registry.find(body.agent) if body.agent else None
    if body.agent and spec is None:
        known = ", ".join(known_spec.type for known_spec in parts.registry.specs)
        raise InvalidRequestError(f"body.agent: must be one of {known}")
    return Submission(
        text=body.task,
        session_id=body.session_id,
        agent=spec.type if spec else None,
        owner_id=caller.owner_id,
        metadata=TaskMetadata(
            ip=request.client.host if request.client else None,
            user_agent=user_agent[:MAX_USER_AGENT] if user_agent else None,
            request_id=request.state.request_id,
            api_key_id=caller.owner_id,
        ),
    )
