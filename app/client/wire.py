"""What the API says, as far as the command line reads it; fields it does not know are kept out."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from app.core.errors import AppError

TaskStatus = Literal["queued", "processing", "completed", "failed", "cancelled"]
FINAL_STATUSES: frozenset[TaskStatus] = frozenset({"completed", "failed", "cancelled"})


class ClientError(AppError):
    """The API refused, could not be reached or is not ours. The message is one line."""

    code = "CLIENT_ERROR"


class ApiUnavailableError(ClientError):
    """The API does not answer, or says that it cannot at the moment."""

    code = "API_UNAVAILABLE"
    retryable = True


class TaskRequest(BaseModel):
    """Body of ``POST /v1/agent/execute``; what is None is not sent."""

    model_config = ConfigDict(frozen=True)

    task: str
    session_id: str | None = None
    agent: str | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Document(_Answer):
    """An answer that can be printed as it came."""

    raw: str = ""
    """The JSON it was read from."""


class Acceptance(Document):
    """Answer of ``POST /v1/agent/execute``."""

    task_id: str
    session_id: str
    status: TaskStatus


class TaskResult(_Answer):
    """What a completed task brought."""

    summary: str | None = None
    raw_output: str = ""
    model: str | None = None


class TaskFailure(_Answer):
    """Why a task failed."""

    type: str
    message: str


class Task(Document):
    """Answer of ``GET /v1/tasks/{task_id}``."""

    task_id: str
    status: TaskStatus
    selected_agent: str | None = None
    result: TaskResult | None = None
    error: TaskFailure | None = None


class StatusChange(_Answer):
    """Data of an unnamed event."""

    status: TaskStatus


class Token(_Answer):
    """Data of a ``token`` event: the next piece of the answer."""

    text: str


class Step(_Answer):
    """Data of a ``step`` event: the task has come to a named point."""

    name: str
    agent_name: str | None = None


TaskEvent = StatusChange | Token | Step


class Problem(_Answer):
    """What is inside every error answer."""

    code: str
    message: str
    request_id: str | None = None


class ProblemAnswer(_Answer):
    """Body of every error answer."""

    error: Problem
