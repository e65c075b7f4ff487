"""The port to a language model.

Two implementations: ``openai_client`` speaks to any OpenAI-compatible server; ``offline`` answers
where none is configured, with outlines labelled as such.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

from app.models.domain.agent_run import TokenUsage

OFFLINE_MODEL = "offline"
"""The model name in every record and answer that no model had a part in."""

Schema = TypeVar("Schema", bound=BaseModel)
TokenSink = Callable[[str], Awaitable[None]]
"""Receives each piece of text as the model makes it, in order."""


@dataclass(frozen=True)
class ChatMessage:
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class ChatRequest:
    """One call. ``temperature`` is sent only if given: some models refuse it."""

    model: str
    messages: Sequence[ChatMessage]
    temperature: float | None = None


@dataclass(frozen=True)
class Completion:
    """A finished answer. ``model`` is what the server says it used."""

    text: str
    model: str
    usage: TokenUsage = field(default_factory=TokenUsage)


@dataclass(frozen=True)
class ParsedCompletion(Generic[Schema]):
    """A finished structured answer.

    ``parsed`` is ``None`` when the text is not what the schema asks for; the caller decides
    whether that is an error. ``text`` is always the answer as it came.
    """

    parsed: Schema | None
    text: str
    model: str
    usage: TokenUsage = field(default_factory=TokenUsage)


class LLMClient(Protocol):
    """Asks a model.

    ``outline`` is what the offline client answers in the model's stead: something an agent can
    truthfully make without a model, e.g. the headings of an article, labelled as what it is.

    Raises ``LLMUnavailableError`` (may succeed later), ``LLMResponseError`` (unusable answer),
    ``LLMRefusalError`` (declined) or another ``LLMError`` (will not succeed as asked).
    """

    @property
    def is_offline(self) -> bool:
        """Whether no model stands behind this client."""
        ...

    async def complete(
        self, request: ChatRequest, *, outline: str, on_token: TokenSink | None = None
    ) -> Completion:
        """Free text; streamed to ``on_token`` piece by piece if given."""
        ...

    async def parse(
        self, request: ChatRequest, schema: type[Schema], *, outline: Schema
    ) -> ParsedCompletion[Schema]:
        """Text that follows ``schema``."""
        ...

    async def check(self) -> bool:
        """Whether the provider answers, asked in a way that costs no tokens."""
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...
