"""What an update does to a document: the port's update language as a pure function.

The rules are MongoDB's (https://www.mongodb.com/docs/manual/reference/operator/update/), for the
operators and value types that the port allows.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from math import isfinite
from typing import cast

from app.db.codec import INT64_MAX, INT64_MIN, check_document, check_value
from app.db.database import Document, Filter, Update
from app.db.language import check_path, equality_fields

_OPERATORS = frozenset({"$set", "$unset", "$inc", "$max", "$setOnInsert", "$push"})
_MISSING = object()


def check_update(update: Update) -> None:
    """Refuse with ``ValueError`` an update outside the port's language, whatever the document."""
    paths: list[str] = []
    for operator, fields in update.items():
        if operator not in _OPERATORS:
            raise ValueError(f"{operator!r} is not an operator of this store's updates")
        if not isinstance(fields, Mapping):
            raise ValueError(f"{operator} takes a mapping of fields")
        for path, operand in fields.items():
            check_path(path)
            if path == "_id" and operator != "$setOnInsert":
                raise ValueError("_id cannot be changed")
            _check_operand(operator, path, operand)
            paths.append(path)
    if not paths:
        raise ValueError("an update needs a field to change")
    _check_conflicts(paths)


def apply_update(document: Document, update: Update) -> Document:
    """``document`` with ``update`` applied; ``$setOnInsert`` does nothing.

    Neither is changed; the result shares with them what the update left alone.

    Raises:
        ValueError: where the document's values do not allow it, e.g. ``$inc`` of a string.
    """
    return _apply(document, update, inserting=False)


def document_for_upsert(where: Filter, update: Update) -> Document:
    """What an upsert inserts when ``where`` matched nothing.

    Raises:
        ValueError: where the two do not go together, or leave the ``_id`` open.
    """
    document: Document = {}
    for path, value in equality_fields(where).items():
        parent, name = _descend(document, path)
        parent[name] = value
    document = _apply(document, update, inserting=True)
    check_document(document)
    return document


def _check_operand(operator: str, path: str, operand: object) -> None:
    if operator == "$unset":
        return
    if operator == "$push":
        elements, _ = _pushed(operand)
        check_value(elements)
        return
    check_value(operand)
    if operator == "$inc" and not _is_number(operand):
        raise ValueError(f"$inc of {path} takes a number")
    if operator == "$max" and isinstance(operand, dict | list | tuple):
        raise ValueError(f"$max of {path} takes a scalar")


def _check_conflicts(paths: list[str]) -> None:
    taken = set(paths)
    if len(taken) != len(paths):
        raise ValueError("two operators must not name the same path")
    for path in paths:
        if any(prefix in taken for prefix in _prefixes(path)):
            raise ValueError(f"{path} lies inside another path of the same update")


def _prefixes(path: str) -> Iterator[str]:
    end = path.find(".")
    while end != -1:
        yield path[:end]
        end = path.find(".", end + 1)


def _apply(document: Document, update: Update, *, inserting: bool) -> Document:
    changed = dict(document)
    for operator, fields in update.items():
        if operator == "$setOnInsert" and not inserting:
            continue
        for path, operand in fields.items():
            if operator == "$unset":
                _unset(changed, path)
                continue
            parent, name = _descend(changed, path)
            current = parent.get(name, _MISSING)
            parent[name] = _new_value(operator, path, current, operand)
    return changed


def _new_value(operator: str, path: str, current: object, operand: object) -> object:
    match operator:
        case "$inc":
            return _increased(path, current, operand)
        case "$max":
            return operand if current is _MISSING or _is_less(current, operand) else current
        case "$push":
            return _with_pushed(path, current, operand)
        case _:
            return operand


def _descend(document: Document, path: str) -> tuple[Document, str]:
    """The dict that holds the path's last name, made on the way where it is missing.

    ``document`` is the copy at hand; what lies on the way is copied before it is changed.
    """
    *parents, name = path.split(".")
    node = document
    for parent in parents:
        child = node.get(parent, {})
        if not isinstance(child, dict):
            raise ValueError(f"{path} cannot be written: {parent} is not a document")
        node[parent] = node = dict(child)
    return node, name


def _unset(document: Document, path: str) -> None:
    *parents, _ = path.split(".")
    node: object = document
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    if isinstance(node, dict):
        holder, name = _descend(document, path)
        holder.pop(name, None)


def _increased(path: str, current: object, amount: object) -> int | float:
    if current is _MISSING:
        current = 0
    if not _is_number(current):
        raise ValueError(f"$inc of {path} needs a number there")
    total = cast("int | float", current) + cast("int | float", amount)
    if isinstance(total, int) and not INT64_MIN <= total <= INT64_MAX:
        raise ValueError(f"$inc of {path} leaves 64 bits")
    if not isfinite(total):
        raise ValueError(f"$inc of {path} leaves the range of a float")
    return total


def _with_pushed(path: str, current: object, operand: object) -> list[object]:
    if current is _MISSING:
        current = []
    if not isinstance(current, list):
        raise ValueError(f"$push to {path} needs a list there")
    elements, limit = _pushed(operand)
    together = [*current, *elements]
    if limit is None:
        return together
    # A negative limit keeps the last elements; [-0:] would keep all.
    return together[limit:] if limit < 0 else together[:limit]


def _pushed(operand: object) -> tuple[list[object], int | None]:
    """The elements to push, and how many of the list to keep (``$slice``; None: all)."""
    if not isinstance(operand, Mapping) or not any(str(key).startswith("$") for key in operand):
        return [operand], None
    each, limit = operand.get("$each"), operand.get("$slice")
    if not isinstance(each, list | tuple) or not operand.keys() <= {"$each", "$slice"}:
        raise ValueError("$push takes one element, or $each with a list and at most $slice beside")
    if "$slice" in operand and (not isinstance(limit, int) or isinstance(limit, bool)):
        raise ValueError("$slice takes an integer")
    return list(each), limit


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_less(current: object, operand: object) -> bool:
    """MongoDB's order across types: null, numbers, strings, documents, lists, booleans, dates."""
    mine, other = _type_rank(current), _type_rank(operand)
    if mine != other or current is None:
        return mine < other
    return bool(current < operand)  # type: ignore[operator]  # of one rank, so comparable


def _type_rank(value: object) -> int:
    match value:
        case None:
            return 0
        case bool():
            return 5
        case int() | float():
            return 1
        case str():
            return 2
        case dict():
            return 3
        case datetime():
            return 6
        case _:
            return 4
