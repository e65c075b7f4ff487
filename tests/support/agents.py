"""Agents that behave as a test needs."""

import asyncio
from collections.abc import Sequence

from app.agents.spec import AgentOutput, AgentTask, EventSink


class AnsweringAgent:
    """Says what it is given to say, piece by piece; counts how often it was asked."""

    def __init__(self, *pieces: str) -> None:
        self.calls = 0
        self._pieces: Sequence[str] = pieces or ("done",)

    async def run(self, task: AgentTask, events: EventSink) -> AgentOutput:
        """Answer."""
        self.calls += 1
        for piece in self._pieces:
            await events.token(piece)
        content = "".join(self._pieces)
        return AgentOutput(content=content, summary=content[:80], model="test-model")


class FailingAgent:
    """Raises the given errors, one a call, and then answers."""

    def __init__(self, *errors: BaseException) -> None:
        self.calls = 0
        self._errors = list(errors)

    async def run(self, task: AgentTask, events: EventSink) -> AgentOutput:
        """Fail, or answer when the errors are used up."""
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return AgentOutput(content="done", summary="done", model="test-model")


class WaitingAgent:
    """Begins, and goes on when it is allowed to."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.may_finish = asyncio.Event()
        self.was_cancelled = False

    async def run(self, task: AgentTask, events: EventSink) -> AgentOutput:
        """Wait."""
        self.started.set()
        try:
            await self.may_finish.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return AgentOutput(content="done", summary="done", model="test-model")
