"""Random operations must have the same answers on SQLite and on mongomock.

Where mongomock itself differs from MongoDB, this keeps away:

* it compares as Python does, so ``True`` equals 1: booleans and numbers never meet in a field;
* it ignores updates that do not fit the document, or fails at them with a ``TypeError``, where
  MongoDB refuses them: what our engine refuses is not asked of it;
* its ``$max`` fails with a ``TypeError`` at null, which to MongoDB is less than any number: an
  example ends there.

And where the port leaves the answer open: every order ends with ``_id``, fields that are sorted by
hold one type, and ``insert_many`` ignores duplicates.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.config import load_settings
from app.db.database import Collection, Direction, Document, DuplicateKeyError, Filter, Index
from app.db.sqlite import SqliteDatabase
from tests.support.mongomock_store import MongomockDatabase

Values: TypeAlias = st.SearchStrategy[object]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INDEXES = [
    Index((("string", 1), ("number", -1))),
    Index((("moment", -1), ("_id", 1))),
    Index((("nested.number", 1),), sparse=True),
    Index((("flag", 1),)),
    Index((("any", 1),)),
]

ids = st.sampled_from("abcde")
# U+0000 is stored, but orders otherwise in SQLite.
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
strings: Values = st.sampled_from(["", "a", "b", "1", "true"]) | st.text(characters, max_size=5)
numbers: Values = (
    st.integers(-2, 2)
    | st.sampled_from([0.5, 1.0, -0.0, 0.1 + 0.2, 1e300])
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
moments: Values = (
    st.integers(-62_135_596_800_000, 253_402_300_799_999)
    | st.integers(-2, 2)
    | st.sampled_from([1_795_000_000_123])
).map(lambda milliseconds: EPOCH + timedelta(milliseconds=milliseconds))
flags: Values = st.booleans()
others = strings | numbers | moments
json: Values = st.recursive(
    strings | numbers | moments | flags | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=4,
)
lists: Values = st.lists(json, max_size=3)

FIELDS: dict[str, Values] = {
    "string": strings,
    "number": numbers,
    "moment": moments,
    "flag": flags,
    "nested.string": strings,
    "nested.number": numbers,
    "any": others,
}
SORTABLE = sorted(FIELDS.keys() - {"any"})


def comparable_with(field: str) -> Values:
    """Values to compare a field with: mostly of its own type."""
    return FIELDS[field] | FIELDS[field] | (strings | moments if field == "flag" else others)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    shape = {
        "string": strings | st.none(),
        "number": numbers | st.none(),
        "moment": moments | st.none(),
        "flag": flags | st.none(),
        "any": others | st.none(),
        "nested": st.fixed_dictionaries(
            {}, optional={"string": strings | st.none(), "number": numbers, "free": json}
        ),
        "list": lists,
    }
    return {"_id": draw(ids), **draw(st.fixed_dictionaries({}, optional=shape))}


@st.composite
def conditions(draw: st.DrawFn, field: str) -> object:
    value, values = comparable_with(field), st.lists(comparable_with(field) | st.none(), max_size=3)
    ordering = {f"${name}": value for name in ("lt", "lte", "gt", "gte")}
    return draw(
        value
        | st.none()
        | st.fixed_dictionaries({"$ne": value | st.none()})
        | st.fixed_dictionaries({"$in": values})
        | st.fixed_dictionaries({"$nin": values})
        | st.fixed_dictionaries({"$exists": st.booleans()})
        | st.fixed_dictionaries({}, optional=ordering).filter(bool)
    )


@st.composite
def filters(draw: st.DrawFn, depth: int = 1) -> Filter:
    fields = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=2, unique=True))
    where = {field: draw(conditions(field)) for field in fields}
    if draw(st.integers(0, 3)) == 0:
        where["_id"] = draw(ids | st.fixed_dictionaries({"$in": st.lists(ids)}))
    if draw(st.integers(0, 3)) == 0:
        where["list"] = {"$exists": draw(st.booleans())}
    if depth and draw(st.integers(0, 3)) == 0:
        where["$or"] = draw(st.lists(filters(depth - 1), min_size=1, max_size=3))
    return where


@st.composite
def updates(draw: st.DrawFn) -> Mapping[str, Mapping[str, object]]:
    """At most one operator for each field."""
    update: dict[str, dict[str, object]] = {}
    paths = [*FIELDS, "list", "nested.free"]
    for path in draw(st.lists(st.sampled_from(paths), min_size=1, max_size=4, unique=True)):
        values = FIELDS.get(path, lists if path == "list" else json)
        operators = ["$set", "$unset", "$setOnInsert"]
        if path.endswith("number"):
            operators += ["$inc", "$max"]
        elif path in {"moment", "string"}:
            operators += ["$max"]
        elif path == "list":
            operators += ["$push", "$push", "$push"]
        operator = draw(st.sampled_from(operators))
        if operator == "$push":
            each: dict[str, Values] = {"$each": lists}
            modified = st.fixed_dictionaries(each, optional={"$slice": st.integers(-3, 3)})
            values = json | modified
        update.setdefault(operator, {})[path] = draw(values)
    return update


@st.composite
def sorts(draw: st.DrawFn) -> list[tuple[str, Direction]]:
    fields = draw(st.lists(st.sampled_from(SORTABLE), max_size=2, unique=True))
    direction: st.SearchStrategy[Direction] = st.sampled_from([1, -1])
    return [(field, draw(direction)) for field in [*fields, "_id"]]


class Step(NamedTuple):
    """One operation, and how it reads when a test fails."""

    text: str
    run: Callable[[Collection], Coroutine[object, object, object]]

    def __repr__(self) -> str:
        return self.text


def step(method: str, *arguments: object, **options: object) -> Step:
    shown = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in options.items())]
    text = f"{method}({', '.join(shown)})"
    return Step(text, lambda collection: getattr(collection, method)(*arguments, **options))


@st.composite
def steps(draw: st.DrawFn) -> Step:
    match draw(st.integers(0, 11)):
        case 0 | 1:
            return step("insert_one", draw(documents()))
        case 2 | 3:
            batch = draw(st.lists(documents(), max_size=5))
            return step("insert_many", batch, ignore_duplicates=True)
        case 4:
            return step("count", draw(filters()))
        case 5:
            return step("delete_many", draw(filters()))
        case 6:
            return step("update_many", draw(filters()), draw(updates()))
        case 7:
            where = {**draw(filters()), "_id": draw(ids)}
            return step("update_one", where, draw(updates()))
        case 8:
            return step("update_one", draw(upsert_filters()), draw(updates()), upsert=True)
        case 9:
            return step("find_one_and_update", draw(filters()), draw(updates()), sort=draw(sorts()))
        case _:
            limit = draw(st.none() | st.integers(0, 4))
            skip = draw(st.integers(0, 2))
            return step("find", draw(filters()), sort=draw(sorts()), skip=skip, limit=limit)


@st.composite
def upsert_filters(draw: st.DrawFn) -> Filter:
    where = {**draw(filters(depth=0)), "_id": draw(ids)}
    where.pop("$or", None)
    return where


async def answer(run: Step, collection: Collection) -> object:
    try:
        return typed(await run.run(collection))
    except DuplicateKeyError:
        return DuplicateKeyError


def typed(value: object) -> object:
    """The value in a form where ``1``, ``1.0`` and ``True`` differ, and keys have no order."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [typed(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return type(value).__name__, value


async def compare(ours: Collection, theirs: Collection, operations: list[Step]) -> None:
    everything = step("find", {}, sort=[("_id", 1)])
    for operation in operations:
        try:
            expected = await answer(operation, ours)
        except ValueError:
            continue  # refused, so nothing may have happened: the comparison below sees to it
        try:
            assert expected == await answer(operation, theirs), operation
        except TypeError:
            assert "$max" in operation.text
            return
        assert await answer(everything, ours) == await answer(everything, theirs), operation
    assert await answer(everything, ours) == await answer(everything, theirs)


def test_sqlite_answers_as_mongomock_does(tmp_path: Path) -> None:
    environment = load_settings(data_dir=tmp_path, sqlite_synchronous="NORMAL")
    with asyncio.Runner() as runner:
        sqlite = runner.run(SqliteDatabase.open(environment.sqlite_path, environment))
        mongomock = MongomockDatabase()
        numbers_of_examples = count()

        @settings(
            max_examples=250,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(indexed=st.booleans(), operations=st.lists(steps(), min_size=1, max_size=12))
        def run_example(indexed: bool, operations: list[Step]) -> None:
            name = f"example_{next(numbers_of_examples)}"
            ours, theirs = sqlite.collection(name), mongomock.collection(name)
            if indexed:
                runner.run(ours.ensure_indexes(INDEXES))
            runner.run(compare(ours, theirs, operations))

        try:
            run_example()
        finally:
            runner.run(sqlite.close())
