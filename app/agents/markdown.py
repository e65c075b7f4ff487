"""Small pieces of Markdown that agents share."""

import re
from collections.abc import Iterator

SUMMARY_CHARACTERS = 200
_FENCE = re.compile(r"`{3,}")
_BLOCK_MARK = re.compile(r"^\s*(?:#{1,6}\s+|>\s?|[-*+]\s+|\d+[.)]\s+)+")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_INLINE_MARK = re.compile(r"\*\*|__|`|(?<!\w)[*_](?=\w)|(?<=\w)[*_](?!\w)")
_LINE_PIECE = re.compile(r"[^\n]*\n+|[^\n]+")


def plain_line(text: str) -> str:
    """``text`` as one line without Markdown marks, at most 200 characters, cut at a word."""
    lines = (_BLOCK_MARK.sub("", line) for line in text.splitlines())
    joined = " ".join(" ".join(lines).split())
    plain = _INLINE_MARK.sub("", _LINK.sub(r"\1", joined))
    if len(plain) <= SUMMARY_CHARACTERS:
        return plain
    cut = plain[: SUMMARY_CHARACTERS - 1]
    return f"{cut.rpartition(' ')[0] or cut}…"


def first_paragraph(markdown: str) -> str:
    """The first block that is no heading, else the first heading, else nothing."""
    blocks = [block.strip() for block in re.split(r"\n\s*\n", markdown) if block.strip()]
    bodies = (re.sub(r"^#{1,6} .*\n?", "", block).strip() for block in blocks)
    return next((body for body in bodies if body), blocks[0] if blocks else "")


def fenced(code: str, language: str) -> str:
    """A code block; its fence is longer than any inside, so that ``code`` cannot close it."""
    longest = max((len(run) for run in _FENCE.findall(code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{code}\n{fence}"


def quoted(text: str) -> str:
    """``text`` as a block quote, every line of it."""
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())


def pieces(text: str, size: int) -> Iterator[str]:
    """``text`` in order, whole lines gathered until ``size`` characters are reached."""
    gathered = ""
    for line in _LINE_PIECE.findall(text):
        gathered += line
        if len(gathered) >= size:
            yield gathered
            gathered = ""
    if gathered:
        yield gathered
