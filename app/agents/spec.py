"""What an agent is: everything its author writes and everything it is given.

An agent lives in one module that ends in a ``SPEC``; ``app.agents.registry`` lists it in one line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from app.core.config import Settings
from app.llm.client import LLMClient
from app.llm.tools.web_search import WebSearch
from app.models.domain.agent_run import AgentRole, AgentRun, TokenUsage
from app.models.domain.task import Citation


@dataclass(frozen=True)
class AgentTask:
    """The part of a task that agents see."""

    task_id: str
    session_id: str | None
    text: str
    attempt: int = 1
    requested_agent: str | None = None


@dataclass(frozen=True)
class AgentOutput:
    """What an agent made.

    ``content`` is Markdown, ``summary`` one line of it; ``model`` is the one that answered, or
    ``"offline"``; ``citations`` holds only sources that a tool returned.
    """

    content: str
    summary: str
    model: str
    citations: tuple[Citation, ...] = ()
    code_language: str | None = None
    usage: TokenUsage = field(default_factory=TokenUsage)
    tools_used: tuple[str, ...] = ()


class EventSink(Protocol):
    """Tells whoever watches the task what is going on. Never fails the work."""

    async def token(self, text: str) -> None:
        """The next piece of the answer."""
        ...

    async def step(self, name: str, data: Mapping[str, object]) -> None:
        """Something happened: ``task_classified``, ``agent_started``, ``search_completed`` ..."""
        ...


class StepLog(Protocol):
    """The recorded steps of one task, across its attempts."""

    async def find(self, role: AgentRole, agent_name: str) -> AgentRun | None:
        """The step's record, if this or an earlier attempt finished it."""
        ...

    async def add(self, run: AgentRun) -> AgentRun:
        """Record a finished step and return what is recorded.

        That is another run than ``run`` if another attempt recorded the step first: its outcome
        counts then.
        """
        ...


class Agent(Protocol):
    """Does one kind of task."""

    async def run(self, task: AgentTask, events: EventSink) -> AgentOutput:
        """Do the task; raise an ``AppError`` where it cannot be done."""
        ...


@dataclass(frozen=True)
class AgentDependencies:
    """What agents may use; made once per process. ``search`` is ``None`` where not configured."""

    settings: Settings
    llm: LLMClient
    search: WebSearch | None


@dataclass(frozen=True)
class AgentSpec:
    """Declares an agent.

    Args:
        name: As shown in results, e.g. ``ContentAgent``.
        type: As written in requests and filters, e.g. ``content``.
        description: One or two sentences for the router's prompt and the catalogue.
        examples: Tasks it is made for, in the languages it will meet; the router learns from them.
        build: Makes the agent, once per worker process.
    """

    name: str
    type: str
    description: str
    examples: tuple[str, ...]
    build: Callable[[AgentDependencies], Agent]
