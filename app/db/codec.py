"""Documents as JSON text for SQLite.

A datetime becomes ``{"$date": "2026-11-21T07:32:55.123Z"}``. That text has a fixed width, so dates
sort and compare as their text does.

Also the one place that says what may be stored at all: every engine checks with it first.
"""

import re
from datetime import UTC, datetime
from math import isfinite
from typing import Final

import orjson

from app.db.database import Document

MAX_DEPTH: Final = 100
"""Levels of nesting that MongoDB accepts."""

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

_DATE = "$date"
_DATE_IN_JSON = f'"{_DATE}"'

# SQLite's JSON functions end a string at U+0000. It is therefore stored as two noncharacters, of
# which the first never stands alone.
_MARK, _MARK_ITSELF, _NUL = "\ufdd0", "\ufdd0\ufdd1", "\ufdd0\ufdd2"
_NUL_IN_JSON = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def check_document(document: Document) -> None:
    """Refuse with ``ValueError`` what not every engine could store and give back unchanged."""
    if not isinstance(document.get("_id"), str):
        raise ValueError("a document needs a string _id")
    check_value(document)


def check_value(value: object, depth: int = 0) -> None:
    """Refuse with ``ValueError`` a value that is not of the port's types."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if kind is dict:
        for key, item in value.items():  # type: ignore[attr-defined]  # kind tells, mypy cannot see
            check_key(key)
            check_value(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            check_value(item, depth + 1)
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a datetime needs a timezone")
    elif isinstance(value, int):
        if not INT64_MIN <= value <= INT64_MAX:
            raise ValueError("an integer must fit into 64 bits")
    elif isinstance(value, float):
        if not isfinite(value):
            raise ValueError("a float must be finite")
    elif not isinstance(value, str):
        raise ValueError(f"values of type {kind.__name__} cannot be stored")


def check_key(key: object) -> None:
    """Refuse with ``ValueError`` a key that would read as an operator or a path."""
    if type(key) is not str or not key or key[0] == "$" or "." in key or "\0" in key:
        raise ValueError(f"{key!r} cannot be a key of a document")


def encode(document: Document) -> str:
    """JSON text of a document that :func:`check_document` lets pass.

    Raises:
        ValueError: for text that is not valid Unicode (lone surrogates).
    """
    try:
        text = orjson.dumps(
            document, default=_encode_date, option=orjson.OPT_PASSTHROUGH_DATETIME
        ).decode()
    except orjson.JSONEncodeError as error:
        raise ValueError(f"the document cannot be stored: {error}") from error
    if _MARK in text:
        text = text.replace(_MARK, _MARK_ITSELF)
    if "\\u0000" in text:
        text = _NUL_IN_JSON.sub(rf"\1{_NUL}", text)
    return text


def decode(text: str) -> Document:
    """The document that :func:`encode` made into ``text``; datetimes are in UTC."""
    if _MARK in text:
        text = text.replace(_NUL, "\\u0000").replace(_MARK_ITSELF, _MARK)
    document: Document = orjson.loads(text)
    if _DATE_IN_JSON in text:
        _revive_dates(document)
    return document


def encode_string(value: str) -> str:
    """A string as it stands in the JSON text, for comparison inside SQLite."""
    if _MARK in value or "\0" in value:
        return value.replace(_MARK, _MARK_ITSELF).replace("\0", _NUL)
    return str(value)


def encode_datetime(moment: datetime) -> str:
    """``moment`` as SQLite extracts it from a document's text: cut to whole milliseconds, UTC."""
    return f'{{"{_DATE}":"{_date_text(moment)}"}}'


def _encode_date(value: object) -> dict[str, str]:
    if isinstance(value, datetime):
        return {_DATE: _date_text(value)}
    raise TypeError(f"values of type {type(value).__name__} cannot be stored")


def _date_text(moment: datetime) -> str:
    if moment.tzinfo is not UTC:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError as error:
            raise ValueError(f"{moment} is outside the years 1 to 9999 in UTC") from error
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def _revive_dates(node: dict[str, object] | list[object]) -> None:
    """Put datetimes in place of their encoding, all the way down."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, dict):
            text = value.get(_DATE)
            if text is None:
                _revive_dates(value)
            else:
                node[key] = datetime.fromisoformat(text)  # type: ignore[index]
        elif isinstance(value, list):
            _revive_dates(value)
