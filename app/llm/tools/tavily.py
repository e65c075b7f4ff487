"""Web search by Tavily. Needs the extra ``search``; import it only where a key is configured."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ValidationError
from tavily import AsyncTavilyClient

from app.core.errors import SearchUnavailableError
from app.core.logging import get_logger
from app.llm.tools.web_search import SearchResult

SEARCH_TIMEOUT_SECONDS = 10.0
_MAX_QUERY_CHARACTERS = 400
"""Tavily refuses longer queries."""
_MAX_TITLE_CHARACTERS = 200
_MAX_URL_CHARACTERS = 2000
_MAX_SNIPPET_CHARACTERS = 1500

_log = get_logger(__name__)


class Hit(BaseModel):
    """One result as Tavily sends it."""

    title: str | None = None
    url: str = ""
    content: str | None = None


class _Answer(BaseModel):
    results: list[Hit]


class TavilySearch:
    """Searches with Tavily. One per process; safe for concurrent calls.

    Args:
        api_key: Tavily's key.
        base_url: Where Tavily is; ``None`` is its own address.
        timeout_seconds: Longest one search may take.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None = None,
        timeout_seconds: float = SEARCH_TIMEOUT_SECONDS,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._client = AsyncTavilyClient(api_key=api_key, api_base_url=base_url)

    @property
    def source(self) -> str:
        """``tavily``."""
        return "tavily"

    async def search(self, query: str, *, max_results: int = 5) -> list[SearchResult]:
        """The best hits for ``query``, best first, each http(s) page once.

        Raises:
            SearchUnavailableError: Tavily failed, timed out or answered something unusable.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                body = await self._client.search(
                    query=query[:_MAX_QUERY_CHARACTERS],
                    max_results=max_results,
                    timeout=self._timeout_seconds,
                )
            answer = _Answer.model_validate(body)
        except ValidationError:
            raise SearchUnavailableError("The web search's answer is malformed") from None
        except Exception as error:  # noqa: BLE001 - the SDK's errors share no base but this
            # Only the type: the text may repeat the key.
            _log.warning("web_search_failed", source=self.source, error=type(error).__name__)
            raise SearchUnavailableError(f"The web search failed: {type(error).__name__}") from None
        return usable_results(answer.results)[:max_results]

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        await self._client.close()


def usable_results(hits: list[Hit]) -> list[SearchResult]:
    """The hits that are web pages, without repeats, as single-line texts of bounded length."""
    results: dict[str, SearchResult] = {}
    for hit in hits:
        identity = _page_identity(hit.url)
        if identity is None or identity in results:
            continue
        title = _one_line(hit.title or "", _MAX_TITLE_CHARACTERS)
        results[identity] = SearchResult(
            title=title or hit.url,
            url=hit.url,
            snippet=_one_line(hit.content or "", _MAX_SNIPPET_CHARACTERS),
        )
    return list(results.values())


def _page_identity(url: str) -> str | None:
    """What makes two addresses the same page, or ``None`` if this is no web address."""
    if len(url) > _MAX_URL_CHARACTERS or any(ord(c) <= 32 or c in '<>"\\`' for c in url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    return urlunsplit(("", parts.netloc.lower(), parts.path.rstrip("/"), parts.query, ""))


def _one_line(text: str, limit: int) -> str:
    return " ".join(text.split())[:limit]
