"""ContentAgent: writes an article, with web sources where a search is configured."""

from collections.abc import Sequence

from pydantic import BaseModel, Field

from app.agents.builtin.content_examples import EXAMPLES
from app.agents.markdown import first_paragraph, plain_line, quoted
from app.agents.quoting import QUOTING_RULE, quote
from app.agents.references import ReferencesFilter, references_section
from app.agents.spec import Agent, AgentDependencies, AgentOutput, AgentSpec, AgentTask, EventSink
from app.core.errors import LLMResponseError, SearchUnavailableError
from app.core.logging import get_logger
from app.llm.client import ChatMessage, ChatRequest, LLMClient
from app.llm.tools.web_search import SearchResult, WebSearch
from app.models.domain.agent_run import TokenUsage
from app.models.domain.task import Citation

MAX_SOURCES = 5
_MAX_QUERY_CHARACTERS = 200
_WEB_SEARCH = "web_search"

_QUERY_PROMPT = f"""\
You turn a writing task into one web search query: at most twelve words, in the task's language,
only what has to be found out, without quotation marks and operators.
Answer with one JSON object and nothing else: {{"query": ...}}

{QUOTING_RULE}"""

_WRITER_PROMPT = f"""\
You are a senior technical content writer. You write in the language of the task.

- Answer in Markdown: one title (#), an introduction, sections (##) with explanations, bullet points
  where they help, a conclusion.
- Use the sources given, and mark what comes from one with its number, like [1]. Where the sources
  contradict each other, say so.
- Never invent facts, figures, quotations, sources or links. Where information is missing or you are
  not sure, say that it is missing.
- Write no section of references: the program adds it from the sources it really used.

{QUOTING_RULE}"""

_log = get_logger(__name__)


class SearchQuery(BaseModel):
    """What to ask the web search."""

    query: str = Field(description="At most twelve words")


class ContentAgent:
    """Searches, writes with the model, and ends the text with the sources really used."""

    def __init__(self, *, llm: LLMClient, search: WebSearch | None, model: str) -> None:
        self._llm = llm
        self._search = None if llm.is_offline else search
        self._model = model

    async def run(self, task: AgentTask, events: EventSink) -> AgentOutput:
        """Write the article, streaming it as it comes.

        Raises:
            LLMError: the model failed; ``LLMResponseError`` also if it wrote nothing but sources.
        """
        sources: list[SearchResult] = []
        usage = TokenUsage()
        if self._search is not None:
            query, usage = await self._search_query(task.text)
            sources = await self._find_sources(self._search, query, events)

        shown = ReferencesFilter()
        written: list[str] = []

        async def emit(text: str) -> None:
            if text:
                written.append(text)
                await events.token(text)

        async def on_token(text: str) -> None:
            await emit(shown.feed(text))

        answer = await self._llm.complete(
            ChatRequest(model=self._model, messages=writing_prompt(task.text, sources)),
            outline=offline_outline(task.text),
            on_token=on_token,
        )
        await emit(shown.finish())
        body = "".join(written)
        if not body.strip():
            raise LLMResponseError("The model wrote nothing but a list of sources")
        await emit(_gap_after(body) + references_section(sources))
        return AgentOutput(
            content="".join(written),
            summary=plain_line(task.text if self._llm.is_offline else first_paragraph(body)),
            model=answer.model,
            citations=tuple(
                Citation(source=self._search.source, title=source.title, url=source.url)
                for source in sources
                if self._search is not None
            ),
            usage=usage + answer.usage,
            tools_used=() if self._search is None else (_WEB_SEARCH,),
        )

    async def _search_query(self, text: str) -> tuple[str, TokenUsage]:
        fallback = " ".join(text.split())[:_MAX_QUERY_CHARACTERS]
        try:
            answer = await self._llm.parse(
                ChatRequest(
                    model=self._model,
                    messages=[
                        ChatMessage("system", _QUERY_PROMPT),
                        ChatMessage("user", quote("task", text)),
                    ],
                ),
                SearchQuery,
                outline=SearchQuery(query=fallback),
            )
        except LLMResponseError:
            # Without a derived query the task's own first words still find something.
            _log.info("search_query_unusable")
            return fallback, TokenUsage()
        query = " ".join(answer.parsed.query.split()) if answer.parsed else ""
        return query[:_MAX_QUERY_CHARACTERS] or fallback, answer.usage

    async def _find_sources(
        self, search: WebSearch, query: str, events: EventSink
    ) -> list[SearchResult]:
        try:
            sources = await search.search(query, max_results=MAX_SOURCES)
        except SearchUnavailableError as error:
            _log.warning("search_unavailable", source=search.source, reason=error.message)
            await events.step("search_failed", {"source": search.source, "query": query})
            return []
        await events.step(
            "search_completed",
            {"source": search.source, "query": query, "results": len(sources)},
        )
        return sources


def writing_prompt(text: str, sources: Sequence[SearchResult]) -> list[ChatMessage]:
    """The messages that ask for the article; all that comes from outside is quoted."""
    parts = [f"Write what this task asks for.\n\n{quote('task', text)}"]
    if sources:
        parts.append("The sources that a web search found, best first:")
        parts.extend(
            quote(f"source {number}", f"Title: {hit.title}\nURL: {hit.url}\nText: {hit.snippet}")
            for number, hit in enumerate(sources, start=1)
        )
    else:
        parts.append("There are no web sources for this task: write from general knowledge.")
    return [ChatMessage("system", _WRITER_PROMPT), ChatMessage("user", "\n\n".join(parts))]


def offline_outline(text: str) -> str:
    """What can truthfully be said about a writing task without a model: how to go about it."""
    return f"""\
> **Offline outline, made without a model.** Set `OPENAI_API_KEY` or `OPENAI_BASE_URL` to have this
> written.

# Outline

The task:

{quoted(text)}

## Introduction

- What the subject is and whom the text is for
- Why it matters to them, in one paragraph

## Background

- Terms to define
- How things came to be as they are, with dates and sources to look up

## Main part

- Three to five points, each with a claim, an explanation and an example
- What speaks against each of them

## Conclusion

- The one thing to remember
- Where to go on from here
"""


def _gap_after(body: str) -> str:
    return "\n" * max(0, 2 - (len(body) - len(body.rstrip("\n"))))


def _build(dependencies: AgentDependencies) -> Agent:
    return ContentAgent(
        llm=dependencies.llm,
        search=dependencies.search,
        model=dependencies.settings.llm_content_model,
    )


SPEC = AgentSpec(
    name="ContentAgent",
    type="content",
    description=(
        "Researches and writes prose: articles, explanations, summaries, comparisons, reports, "
        "e-mails and marketing texts, about any subject, technical ones included."
    ),
    examples=EXAMPLES,
    build=_build,
)
