"""Filters, sort orders and indexes as SQL over a table of JSON documents.

A table has the columns ``_id`` and ``doc``. A field is always written as the same expression,
because SQLite uses an index on an expression only where the query repeats it to the letter. Field
names are checked before they become part of SQL; values are bound, never written into it.
"""

from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import orjson

from app.db.codec import encode_datetime, encode_string
from app.db.database import Filter, Index, SortKeys
from app.db.language import (
    AnyOf,
    Comparison,
    Condition,
    Scalar,
    check_collection_name,
    check_index,
    check_path,
    check_sort,
    check_window,
    parse_filter,
)

SqlValue: TypeAlias = str | int | float | None

_COMPARATORS: Final = {"$eq": "=", "$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">="}
_DATES_FROM: Final = '{"$date":"'
_DATES_UNTIL: Final = '{"$date":#'
"""Every encoded date lies between these two; ``#`` follows ``"`` in ASCII."""

_MOST_BOUND: Final = 64
"""Longer lists of values are bound as one JSON array: SQLite limits the number of parameters."""


class Sql(NamedTuple):
    """A statement, or a part of one, and the values for its question marks."""

    text: str
    values: tuple[SqlValue, ...]


class _Field(NamedTuple):
    value: str
    json_type: str


def create_table(collection: str) -> str:
    """The statement that makes a collection's table, if it is not there yet."""
    return (
        f"CREATE TABLE IF NOT EXISTS {table_name(collection)}"
        " (_id TEXT PRIMARY KEY NOT NULL, doc TEXT NOT NULL)"
    )


def insert(collection: str, *, ignore_duplicates: bool = False) -> str:
    """The statement that inserts a row of ``_id`` and ``doc``."""
    conflict = " OR IGNORE" if ignore_duplicates else ""
    return f"INSERT{conflict} INTO {table_name(collection)} (_id, doc) VALUES (?, ?)"


def replace(collection: str) -> str:
    """The statement that gives the row of a ``rowid`` a new ``doc``: values in reverse order."""
    return f"UPDATE {table_name(collection)} SET doc = ? WHERE rowid = ?"  # noqa: S608  # see above


@lru_cache(maxsize=256)
def table_name(collection: str) -> str:
    """The collection's table, quoted."""
    return f'"{check_collection_name(collection)}"'


def select(
    columns: str,
    collection: str,
    where: Filter,
    *,
    sort: SortKeys = (),
    skip: int = 0,
    limit: int | None = None,
) -> Sql:
    """The query for ``columns`` of the documents that match."""
    check_window(skip, limit)
    condition, values = where_clause(where)
    text = f"SELECT {columns} FROM {table_name(collection)}{condition}{order_clause(sort)}"  # noqa: S608
    if skip or limit is not None:
        text += " LIMIT ? OFFSET ?"
        # -1 is how SQLite writes "no limit".
        values = (*values, -1 if limit is None else limit, skip)
    return Sql(text, values)


def delete(collection: str, where: Filter) -> Sql:
    """The statement that deletes the documents that match."""
    condition, values = where_clause(where)
    return Sql(f"DELETE FROM {table_name(collection)}{condition}", values)  # noqa: S608


def where_clause(where: Filter) -> Sql:
    """`` WHERE ...`` for a filter; empty for the filter that everything matches."""
    conditions = parse_filter(where)
    if not conditions:
        return Sql("", ())
    text, values = _all_of(conditions)
    return Sql(f" WHERE {text}", values)


def order_clause(sort: SortKeys) -> str:
    """`` ORDER BY ...``; SQLite puts NULL first in ascending order, as MongoDB does."""
    if not sort:
        return ""
    check_sort(sort)
    return " ORDER BY " + _keys(sort)


def create_index(collection: str, index: Index) -> list[str]:
    """The statements that make an index, if it is not there yet.

    The first index serves queries. A unique one has a second beside it, which takes a missing value
    for a value like any other: to a plain UNIQUE index of SQLite, no NULL equals another.
    """
    check_index(index)
    table = table_name(collection)
    name = f"{collection}:{index.name}"
    fields = [_field(field) for field, _ in index.keys]
    present = " OR ".join(f"{field.json_type} IS NOT NULL" for field in fields)
    where = f" WHERE {present}" if index.sparse else ""
    statements = [f'CREATE INDEX IF NOT EXISTS "{name}" ON {table} ({_keys(index.keys)}){where}']
    if index.unique:
        values = ", ".join(f"ifnull({field.value}, x'')" for field in fields)
        statements.append(
            f'CREATE UNIQUE INDEX IF NOT EXISTS "{name}:unique" ON {table} ({values}){where}'
        )
    return statements


@lru_cache(maxsize=1024)
def _field(path: str) -> _Field:
    if check_path(path) == "_id":
        return _Field("_id", "'text'")
    location = "$" + "".join(f'."{name}"' for name in path.split("."))
    return _Field(f"json_extract(doc,'{location}')", f"json_type(doc,'{location}')")


def _keys(keys: SortKeys) -> str:
    return ", ".join(
        f"{_field(field).value} {'ASC' if direction == 1 else 'DESC'}" for field, direction in keys
    )


def _all_of(conditions: tuple[Condition, ...]) -> Sql:
    if not conditions:
        return Sql("TRUE", ())
    parts = [
        _any_of(condition) if isinstance(condition, AnyOf) else _compare(condition)
        for condition in conditions
    ]
    return _join(" AND ", parts)


def _any_of(condition: AnyOf) -> Sql:
    text, values = _join(" OR ", [_all_of(conditions) for conditions in condition.alternatives])
    return Sql(f"({text})", values)


def _compare(condition: Comparison) -> Sql:
    field = _field(condition.field)
    match condition.operator:
        case "$in":
            return _one_of(field, condition.values)
        case "$nin":
            return _negated(_one_of(field, condition.values))
        case "$ne":
            return _negated(_compare_value(field, "=", condition.values[0]))
        case "$exists":
            present = "IS NOT NULL" if condition.values[0] else "IS NULL"
            return Sql(f"{field.json_type} {present}", ())
        case operator:
            return _compare_value(field, _COMPARATORS[operator], condition.values[0])


def _negated(condition: Sql) -> Sql:
    # Not NOT: the comparison of a missing field is NULL, and so would be its negation.
    return Sql(f"({condition.text}) IS NOT TRUE", condition.values)


def _compare_value(field: _Field, comparator: str, value: Scalar) -> Sql:
    if value is None:
        return Sql(f"{field.value} IS NULL", ())
    kind, placeholder, bound = _bind(value)
    text = f"{field.value} {comparator} {placeholder} AND {_type_guard(field, kind)}"
    if kind is datetime and comparator in {"<", "<="}:
        text = f"{field.value} >= '{_DATES_FROM}' AND {text}"
    elif kind is datetime and comparator in {">", ">="}:
        text = f"{field.value} < '{_DATES_UNTIL}' AND {text}"
    return Sql(f"({text})", (bound,))


def _one_of(field: _Field, values: tuple[Scalar, ...]) -> Sql:
    """Membership, type by type, so that each part can be looked up in an index."""
    by_kind: dict[type, list[SqlValue]] = {}
    parts: list[Sql] = []
    for value in values:
        if value is None:
            parts.append(_compare_value(field, "=", None))
        elif isinstance(value, float):
            parts.append(_compare_value(field, "=", value))
        else:
            kind, _, bound = _bind(value)
            by_kind.setdefault(kind, []).append(bound)
    for kind, bounds in by_kind.items():
        members, bound_values = _members(bounds)
        text = f"({field.value} IN {members} AND {_type_guard(field, kind)})"
        parts.append(Sql(text, bound_values))
    if not parts:
        return Sql("FALSE", ())
    text, bound_values = _join(" OR ", parts)
    return Sql(f"({text})", bound_values)


def _members(values: list[SqlValue]) -> Sql:
    if len(values) <= _MOST_BOUND:
        return Sql(f"({','.join('?' * len(values))})", tuple(values))
    return Sql("(SELECT value FROM json_each(?))", (orjson.dumps(values).decode(),))


def _bind(value: Scalar) -> tuple[type, str, SqlValue]:
    """The kind of values this one compares with, its placeholder, and what to bind."""
    if isinstance(value, bool):
        return bool, "?", int(value)
    if isinstance(value, str):
        return str, "?", encode_string(value)
    if isinstance(value, datetime):
        return datetime, "?", encode_datetime(value)
    if isinstance(value, float):
        # Read by the function that reads the documents', so that equal numbers stay equal.
        return int, "json_extract(?,'$')", orjson.dumps(value).decode()
    return int, "?", value


def _type_guard(field: _Field, kind: type) -> str:
    if kind is str:
        return f"{field.json_type} = 'text'"
    if kind is bool:
        return f"{field.json_type} IN ('true','false')"
    if kind is datetime:
        return f"{field.json_type} = 'object'"
    return f"{field.json_type} IN ('integer','real')"


def _join(separator: str, parts: list[Sql]) -> Sql:
    if len(parts) == 1:
        return parts[0]
    text = separator.join(part.text for part in parts)
    return Sql(text, tuple(value for part in parts for value in part.values))
