"""What an agent is handed, recorded in memory; and a model that says what a test wants."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.core.errors import SearchUnavailableError
from app.llm.client import ChatRequest, Completion, ParsedCompletion, Schema, TokenSink
from app.llm.tools.web_search import SearchResult
from app.models.domain.agent_run import AgentRole, AgentRun, TokenUsage

USAGE = TokenUsage(prompt=10, completion=5, total=15)


@dataclass
class RecordedEvents:
    """An event sink that keeps what it is told."""

    tokens: list[str] = field(default_factory=list)
    steps: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    async def token(self, text: str) -> None:
        """Keep a token."""
        self.tokens.append(text)

    async def step(self, name: str, data: Mapping[str, object]) -> None:
        """Keep a step."""
        self.steps.append((name, dict(data)))

    @property
    def text(self) -> str:
        """All that was streamed."""
        return "".join(self.tokens)

    @property
    def step_names(self) -> list[str]:
        """The steps' names in order."""
        return [name for name, _ in self.steps]


@dataclass
class StepsInMemory:
    """A step log in which the first record of a step stands."""

    runs: dict[tuple[AgentRole, str], AgentRun] = field(default_factory=dict)

    async def find(self, role: AgentRole, agent_name: str) -> AgentRun | None:
        """The recorded step."""
        return self.runs.get((role, agent_name))

    async def add(self, run: AgentRun) -> AgentRun:
        """Record the step unless it is recorded."""
        return self.runs.setdefault((run.agent_role, run.agent_name), run)


class SayingModel:
    """A model that gives the answers it was made with, in order, and keeps the requests.

    An answer may be an error, which is raised.
    """

    is_offline = False

    def __init__(self, *answers: str | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[ChatRequest] = []

    def _next(self, request: ChatRequest) -> str:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def complete(
        self, request: ChatRequest, *, outline: str, on_token: TokenSink | None = None
    ) -> Completion:
        """The next answer, streamed in pieces of three characters."""
        text = self._next(request)
        if on_token is not None:
            for at in range(0, len(text), 3):
                await on_token(text[at : at + 3])
        return Completion(text=text, model="saying-model", usage=USAGE)

    async def parse(
        self, request: ChatRequest, schema: type[Schema], *, outline: Schema
    ) -> ParsedCompletion[Schema]:
        """The next answer, parsed if it is JSON for the schema."""
        text = self._next(request)
        try:
            parsed = schema.model_validate_json(text)
        except ValueError:
            parsed = None
        return ParsedCompletion(parsed=parsed, text=text, model="saying-model", usage=USAGE)

    async def check(self) -> bool:
        """Well."""
        return True

    async def close(self) -> None:
        """Nothing to do."""

    def prompt(self, number: int) -> str:
        """All messages of one request."""
        return "\n".join(message.content for message in self.requests[number].messages)


class FindingSearch:
    """A web search that finds what it was made with; it is down if that is nothing."""

    source = "tavily"

    def __init__(self, *results: SearchResult) -> None:
        self._results = list(results)
        self.queries: list[str] = []

    async def search(self, query: str, *, max_results: int = 5) -> list[SearchResult]:
        """What was given."""
        self.queries.append(query)
        if not self._results:
            raise SearchUnavailableError("The web search failed: scripted")
        return self._results[:max_results]

    async def close(self) -> None:
        """Nothing to do."""
