"""The port's filter language, read and checked.

Each engine reads a filter with :func:`parse_filter` before anything else, so all of them refuse the
same mistakes with ``ValueError``, and none is sent a name or an operator that was not checked.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias, cast

from app.db.codec import check_value
from app.db.database import Filter, Index, SortKeys

Scalar: TypeAlias = str | int | float | bool | datetime | None
Operator = Literal["$eq", "$ne", "$lt", "$lte", "$gt", "$gte", "$in", "$nin", "$exists"]

_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")
_COLLECTION = re.compile(r"[a-z][a-z0-9_]{0,62}")
_ORDERING = frozenset({"$lt", "$lte", "$gt", "$gte"})
_MEMBERSHIP = frozenset({"$in", "$nin"})


class Comparison(NamedTuple):
    """``field`` compared with one value, or for ``$in`` and ``$nin`` with any number of them."""

    field: str
    operator: Operator
    values: tuple[Scalar, ...]


class AnyOf(NamedTuple):
    """At least one of the alternatives holds; of each alternative, all conditions must."""

    alternatives: tuple["tuple[Condition, ...]", ...]


Condition: TypeAlias = Comparison | AnyOf


@lru_cache(maxsize=1024)
def check_path(path: str) -> str:
    """Return ``path`` if it is a dotted path of names.

    A name begins with a letter or ``_`` and goes on with letters, digits, ``_`` and ``-``; a name
    of digits alone would mean a list's element to MongoDB.
    """
    if not _PATH.fullmatch(path):
        raise ValueError(f"{path!r} is not a dotted path of names")
    return path


def check_collection_name(name: str) -> str:
    """Return ``name`` if it may name a collection: lower-case letters, digits and ``_``.

    SQLite does not tell upper from lower case in the names of tables; MongoDB does.
    """
    if not _COLLECTION.fullmatch(name) or name.startswith(("sqlite", "system")):
        raise ValueError(f"{name!r} cannot name a collection")
    return name


def parse_filter(where: Filter) -> tuple[Condition, ...]:
    """The conditions of a filter, which must all hold.

    Raises:
        ValueError: for an operator, field name or value outside the port's language.
    """
    conditions: list[Condition] = []
    for field, wanted in where.items():
        if field == "$or":
            conditions.append(_parse_or(wanted))
        elif isinstance(wanted, Mapping):
            conditions.extend(_parse_operators(check_path(field), wanted))
        else:
            conditions.append(Comparison(check_path(field), "$eq", (_scalar(field, wanted),)))
    return tuple(conditions)


def equality_fields(where: Filter) -> dict[str, Scalar]:
    """The fields that a match has by the filter's own words, which an upsert inserts.

    Raises:
        ValueError: where ``$or`` leaves open which they are.
    """
    fields: dict[str, Scalar] = {}
    for condition in parse_filter(where):
        if isinstance(condition, AnyOf):
            raise ValueError("an upsert's filter must not contain $or")
        if condition.operator == "$eq":
            fields[condition.field] = condition.values[0]
    return fields


def check_sort(sort: SortKeys) -> None:
    """Refuse with ``ValueError`` bad field names, directions and repetitions."""
    for field, direction in sort:
        check_path(field)
        if direction not in {1, -1}:
            raise ValueError(f"a sort direction is 1 or -1, not {direction!r}")
    if len({field for field, _ in sort}) != len(sort):
        raise ValueError("a sort must not name a field twice")


def check_window(skip: int, limit: int | None) -> None:
    """Refuse with ``ValueError`` a negative ``skip`` or ``limit``."""
    if skip < 0 or (limit is not None and limit < 0):
        raise ValueError("skip and limit must not be negative")


def check_index(index: Index) -> None:
    """Refuse with ``ValueError`` an index without keys, or with bad ones."""
    if not index.keys:
        raise ValueError("an index needs a key")
    check_sort(index.keys)


def _parse_or(alternatives: object) -> AnyOf:
    if not isinstance(alternatives, Sequence) or isinstance(alternatives, str) or not alternatives:
        raise ValueError("$or takes a list of filters, at least one")
    if not all(isinstance(alternative, Mapping) for alternative in alternatives):
        raise ValueError("$or takes a list of filters")
    return AnyOf(tuple(parse_filter(alternative) for alternative in alternatives))


def _parse_operators(field: str, operators: Mapping[object, object]) -> list[Comparison]:
    if not operators:
        raise ValueError(f"{field} cannot be compared with a document")
    return [_comparison(field, operator, operand) for operator, operand in operators.items()]


def _comparison(field: str, operator: object, operand: object) -> Comparison:
    values: tuple[Scalar, ...]
    if operator in _MEMBERSHIP:
        if not isinstance(operand, list | tuple | set | frozenset):
            raise ValueError(f"{operator} takes a list of values")
        values = tuple(_scalar(field, value) for value in operand)
    elif operator == "$exists":
        if not isinstance(operand, bool):
            raise ValueError("$exists takes true or false")
        values = (operand,)
    elif operator in _ORDERING:
        if operand is None:
            raise ValueError(f"{operator} cannot compare with null")
        values = (_scalar(field, operand),)
    elif operator == "$ne":
        values = (_scalar(field, operand),)
    else:
        raise ValueError(f"{operator!r} is not an operator of this store's filters")
    return Comparison(field, cast("Operator", operator), values)


def _scalar(field: str, value: object) -> Scalar:
    if value is not None and not isinstance(value, str | int | float | datetime):
        raise ValueError(f"{field} cannot be compared with a {type(value).__name__}")
    check_value(value)
    return value
