"""What one step of a task did: the router's classification or an agent's work."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from app.models.domain.task import Citation

AgentRole = Literal["router", "executor"]


class TokenUsage(BaseModel):
    """Tokens as the provider reported them; all zero where no model was asked."""

    model_config = ConfigDict(frozen=True)

    prompt: int = 0
    completion: int = 0
    total: int = 0

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            prompt=self.prompt + other.prompt,
            completion=self.completion + other.completion,
            total=self.total + other.total,
        )


def run_id_of(task_id: str, role: AgentRole, agent_name: str) -> str:
    """``{task_id}:router`` or ``{task_id}:{agent_name}``: one id per task and step."""
    return f"{task_id}:{'router' if role == 'router' else agent_name}"


class AgentRun(BaseModel):
    """One document of ``agent_runs``; ``_id`` equals ``run_id``.

    ``run_id`` comes from :func:`run_id_of`: a step has one record however many attempts its task
    took, and a later attempt reuses it instead of paying again. ``summary``, ``code_language`` and
    ``citations`` are an executor's, and are what it takes to rebuild its result.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    run_id: str
    task_id: str
    session_id: str | None = None
    agent_name: str
    agent_role: AgentRole
    input: str
    output: str
    summary: str | None = None
    code_language: str | None = None
    citations: tuple[Citation, ...] = ()
    model: str
    tools_used: tuple[str, ...] = ()
    started_at: datetime
    finished_at: datetime
    duration_ms: int
    token_usage: TokenUsage = TokenUsage()
    attempt: int = 1
    schema_version: Literal[1] = 1
