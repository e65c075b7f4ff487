"""The port to a web search."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class SearchResult:
    """One hit. All three fields are untrusted text from outside."""

    title: str
    url: str
    snippet: str


class WebSearch(Protocol):
    """Finds pages. Raises ``SearchUnavailableError`` when the provider fails."""

    @property
    def source(self) -> str:
        """The provider's name, as citations carry it."""
        ...

    async def search(self, query: str, *, max_results: int = 5) -> list[SearchResult]:
        """The best hits for ``query``, best first."""
        ...

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        ...
