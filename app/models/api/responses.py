"""What clients receive."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from app.core.clock import isoformat
from app.models.domain.agent_run import AgentRole, AgentRun, TokenUsage
from app.models.domain.task import Citation, Task, TaskCost, TaskResult, TaskStatus

Timestamp = Annotated[datetime, PlainSerializer(isoformat, return_type=str)]
"""RFC 3339 in UTC with six fractional digits, e.g. ``2025-12-05T12:34:56.123000Z``."""


class ExecuteTaskResponse(BaseModel):
    """The task was accepted: it is stored and will end, whatever happens meanwhile."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "task_id": "e2f9d474-0a6b-4a3b-8df2-1e1a4f6b6c84",
                    "session_id": "df4595b5-34c8-4a05-9e07-c2835c7f20ea",
                    "status": "queued",
                    "queued_at": "2025-12-05T12:34:56.123000Z",
                    "message": "Task accepted and queued.",
                    "api_version": "v1",
                }
            ]
        }
    )

    task_id: str
    session_id: str
    status: Literal["queued"] = "queued"
    queued_at: Timestamp
    message: str = "Task accepted and queued."
    api_version: Literal["v1"] = "v1"


class TaskSummaryResponse(BaseModel):
    """One line of a listing."""

    task_id: str
    session_id: str
    agent_type: str | None
    selected_agent: str | None
    status: TaskStatus
    created_at: Timestamp
    completed_at: Timestamp | None
    summary: str | None

    @classmethod
    def of(cls, task: Task) -> "TaskSummaryResponse":
        """The summary of a stored task."""
        return cls(
            task_id=task.task_id,
            session_id=task.session_id,
            agent_type=task.agent_type,
            selected_agent=task.selected_agent,
            status=task.status,
            created_at=task.created_at,
            completed_at=task.completed_at,
            summary=task.result.summary if task.result else None,
        )


class TaskErrorResponse(BaseModel):
    """Why a task failed, or why its last attempt did."""

    type: str = Field(description="The error's class, e.g. `UnknownTaskTypeError`.")
    code: str | None = Field(description="Stable name of the error, to switch on.")
    message: str


class AgentRunResponse(BaseModel):
    """One step of a task."""

    run_id: str
    task_id: str
    session_id: str | None
    agent_name: str
    agent_role: AgentRole
    input: str
    output: str
    model: str = Field(description="The model that answered; `offline` where there was none.")
    tools_used: list[str]
    started_at: Timestamp
    finished_at: Timestamp
    duration_ms: int
    token_usage: TokenUsage
    attempt: int = Field(description="The attempt that did the step; later ones reuse it.")

    @classmethod
    def of(cls, run: AgentRun) -> "AgentRunResponse":
        """The response for a stored run."""
        return cls.model_validate(run.model_dump())


class TaskResultResponse(BaseModel):
    """What the agent made."""

    summary: str | None
    raw_output: str | None = Field(description="The whole result, as Markdown.")
    code_language: str | None
    citations: list[Citation]
    model: str | None = Field(
        description="The model that answered; `offline` where there was none."
    )

    @classmethod
    def of(cls, result: TaskResult) -> "TaskResultResponse":
        """The response for a stored result."""
        return cls.model_validate(result.model_dump())


class TaskDetailResponse(BaseModel):
    """Everything about a task that its owner may see."""

    task_id: str
    session_id: str
    input_text: str
    requested_agent: str | None
    status: TaskStatus
    selected_agent: str | None
    agent_type: str | None
    peer_routing_reason: str | None
    created_at: Timestamp
    queued_at: Timestamp
    started_at: Timestamp | None
    completed_at: Timestamp | None
    attempt: int = Field(description="How often a worker has begun the task.")
    max_attempts: int
    result: TaskResultResponse | None
    error: TaskErrorResponse | None
    cost: TaskCost
    agent_runs: list[AgentRunResponse]
    api_version: Literal["v1"] = "v1"

    @classmethod
    def of(cls, task: Task, runs: list[AgentRun]) -> "TaskDetailResponse":
        """The response for a stored task and its runs."""
        return cls(
            task_id=task.task_id,
            session_id=task.session_id,
            input_text=task.input_text,
            requested_agent=task.requested_agent,
            status=task.status,
            selected_agent=task.selected_agent,
            agent_type=task.agent_type,
            peer_routing_reason=task.peer_routing_reason,
            created_at=task.created_at,
            queued_at=task.queued_at,
            started_at=task.started_at,
            completed_at=task.completed_at,
            attempt=task.attempt,
            max_attempts=task.max_attempts,
            result=TaskResultResponse.of(task.result) if task.result else None,
            error=(
                TaskErrorResponse(
                    type=task.error.type, code=task.error.code, message=task.error.message
                )
                if task.error
                else None
            ),
            cost=task.cost,
            agent_runs=[AgentRunResponse.of(run) for run in runs],
        )


class StatusEventData(BaseModel):
    """Data of an unnamed event: the task's status changed."""

    task_id: str
    status: TaskStatus


class TokenEventData(BaseModel):
    """Data of a `token` event: the next piece of the answer as it is being made."""

    text: str


class StepEventData(BaseModel):
    """Data of a `step` event: something happened inside the task; more fields depend on `name`."""

    model_config = ConfigDict(extra="allow")

    name: str


DependencyState = Literal["up", "down", "offline"]


class QueueMetrics(BaseModel):
    """Work that waits."""

    pending_tasks: int


class TodayMetrics(BaseModel):
    """Tasks created since midnight UTC."""

    total_tasks: int
    tasks_per_agent: dict[str, int]


class LatencyMetrics(BaseModel):
    """From acceptance to completion, over the latest tasks completed today; null without any."""

    avg: int | None
    p95: int | None


class ApiHealth(BaseModel):
    """Whether the parts that the API leans on answer."""

    status: Literal["healthy", "degraded", "unhealthy"]
    dependencies: dict[str, DependencyState]


class SystemMetricsResponse(BaseModel):
    """The state of the whole system in a few figures."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "queue": {"pending_tasks": 5},
                    "today": {
                        "total_tasks": 42,
                        "tasks_per_agent": {"ContentAgent": 18, "CodeAgent": 24},
                    },
                    "latency_ms": {"avg": 2300, "p95": 5000},
                    "api_health": {
                        "status": "healthy",
                        "dependencies": {"mongo": "up", "redis": "up", "llm_provider": "up"},
                    },
                    "api_version": "v1",
                }
            ]
        }
    )

    queue: QueueMetrics
    today: TodayMetrics
    latency_ms: LatencyMetrics
    api_health: ApiHealth
    api_version: Literal["v1"] = "v1"


class LiveResponse(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class StoreReadiness(BaseModel):
    """The store; without it nothing is accepted."""

    engine: Literal["sqlite", "mongodb"]
    status: DependencyState


class RedisReadiness(BaseModel):
    """Redis; without it tasks are accepted and wait."""

    status: DependencyState


class ModelReadiness(BaseModel):
    """Who answers: a provider's models, or nobody."""

    mode: Literal["offline", "provider"]
    router: str
    content: str
    code: str


class ReadyResponse(BaseModel):
    """Whether this process can do its work."""

    status: Literal["ready", "degraded", "unavailable"]
    environment: str
    store: StoreReadiness
    redis: RedisReadiness
    model: ModelReadiness
