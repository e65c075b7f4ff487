"""The References section: written from what a search returned, never by the model.

``ReferencesFilter`` takes the model's own attempts at one out of the stream while it runs, so that
what was streamed and what is stored are the same text.
"""

import re
from collections.abc import Sequence

from app.llm.tools.web_search import SearchResult

_TITLES = (
    "references",
    "reference list",
    "sources",
    "bibliography",
    "works cited",
    "further reading",
    "citations",
    "kaynaklar",
    "kaynakça",
    "referanslar",
)
_MARKS = "#*_:.- \t0123456789)"
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"\s{0,3}(#{1,6})\s")
_TITLE_HEADING_LEVEL = 2
_SPECIAL = re.compile(r"([\\\[\]`*_<>])")


def references_section(sources: Sequence[SearchResult]) -> str:
    """The section that ends an article, starting with its heading."""
    if not sources:
        return "## References\n\nNo web sources were used."
    lines = (
        f"{number}. [{_escaped(source.title)}](<{source.url}>)"
        for number, source in enumerate(sources, start=1)
    )
    return "## References\n\n" + "\n".join(lines)


def _escaped(title: str) -> str:
    return _SPECIAL.sub(r"\\\1", title)


class ReferencesFilter:
    """Drops every section headed "References" or the like from Markdown that comes in pieces.

    Text is passed on at once, except for the start of a line that may yet become such a heading.
    A dropped section ends at the next heading of its level or above; code blocks are left alone.
    """

    def __init__(self) -> None:
        self._line = ""
        self._passed = 0
        self._dropping: int | None = None
        self._fence: str | None = None

    def feed(self, text: str) -> str:
        """Take the next piece; return what may be shown now."""
        shown: list[str] = []
        for part in text.splitlines(keepends=True):
            self._line += part
            if self._line.endswith(("\n", "\r")):
                shown.append(self._end_line())
            elif self._dropping is None and not self._may_become_heading():
                shown.append(self._line[self._passed :])
                self._passed = len(self._line)
        return "".join(shown)

    def finish(self) -> str:
        """Take the end of the text; return what was held back and may be shown."""
        return self._end_line()

    def _may_become_heading(self) -> bool:
        if self._fence is not None or self._passed:
            return False
        title = self._line.strip(_MARKS).casefold()
        return any(known.startswith(title) for known in _TITLES)

    def _end_line(self) -> str:
        line, passed = self._line, self._passed
        self._line, self._passed = "", 0
        self._follow_fence(line)
        if self._fence is None:
            heading = _HEADING.match(line)
            if line.strip(_MARKS + "\r\n").casefold() in _TITLES and not passed:
                level = len(heading[1]) if heading else _TITLE_HEADING_LEVEL
                self._dropping = min(level, self._dropping or level)
            elif heading and self._dropping is not None and len(heading[1]) <= self._dropping:
                self._dropping = None
        return "" if self._dropping is not None else line[passed:]

    def _follow_fence(self, line: str) -> None:
        match = _FENCE.match(line)
        if match is None:
            return
        if self._fence is None:
            self._fence = match[1]
        elif match[1].startswith(self._fence) and not line.strip().strip(match[1][0]):
            self._fence = None
