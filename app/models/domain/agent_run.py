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


class AgentRun(BaseModel):
    """One document of ``agent_runs``; ``_id`` equals ``run_id``.

    ``run_id`` is ``{task_id}:router`` or ``{task_id}:{agent_name}``: a step has one record however
    many attempts its task took, and a later attempt reuses it instead of paying again. The fields
    after ``output`` that only executors fill are what it takes to rebuild their result.
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
