"""What every engine behind the store port promises."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.core.errors import StoreUnavailableError
from app.db.database import (
    Collection,
    Database,
    Direction,
    Document,
    DuplicateKeyError,
    Filter,
    Index,
    Update,
    UpdateResult,
)
from app.db.mongo import MongoDatabase

NOON = datetime(2026, 11, 21, 12, 0, 0, 123000, tzinfo=UTC)
SECOND = timedelta(seconds=1)


async def ids_of(collection: Collection, where: Filter) -> str:
    """The ids of what matches, sorted and joined: ids here are single letters."""
    return "".join(sorted(str(found["_id"]) for found in await collection.find(where)))


async def is_real_server(database: MongoDatabase) -> bool:
    """Whether this is MongoDB itself: its stand-ins do not tell the commit they are built of."""
    return "gitVersion" in await database._database.command("buildInfo")


async def test_a_document_comes_back_as_it_was_inserted(things: Collection) -> None:
    document: Document = {
        "_id": "a",
        "text": "quotes \" ' \\ \\u0000 and more: äöü İı 🎉 \u2028",
        "nul": "before\0\0\\\0after\ufdd0\ufdd2",
        "empty": "",
        "integer": -(2**63),
        "float": 0.1 + 0.2,
        "whole": 2.0,
        "yes": True,
        "no": False,
        "nothing": None,
        "at": NOON,
        "early": datetime(1, 1, 1, tzinfo=UTC),
        "nested": {"deeper": {"at": NOON, "list": [1, [NOON, {"x": None}], "s"]}, "empty": {}},
        "list": [],
        "key with 'quotes\" and ü": 1,
    }
    await things.insert_one(document)
    found = await things.find_one({"_id": "a"})
    assert found == document
    assert type(found["whole"]) is float
    assert found["yes"] is True
    assert list(found) == list(document)


async def test_datetimes_come_back_in_utc_cut_to_milliseconds(things: Collection) -> None:
    there = datetime(2026, 1, 1, 3, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=3)))
    await things.insert_one({"_id": "a", "at": there})
    found = await things.find_one({"_id": "a"})
    assert found is not None
    assert found["at"] == datetime(2026, 1, 1, 0, 0, 0, 999_000, tzinfo=UTC)
    assert isinstance(found["at"], datetime)
    assert found["at"].utcoffset() == timedelta(0)


async def test_a_second_document_of_one_id_is_refused(things: Collection) -> None:
    await things.insert_one({"_id": "a", "n": 1})
    with pytest.raises(DuplicateKeyError):
        await things.insert_one({"_id": "a", "n": 2})
    assert await things.find({}) == [{"_id": "a", "n": 1}]


async def test_of_fifty_racing_inserts_of_one_id_exactly_one_succeeds(things: Collection) -> None:
    results = await asyncio.gather(
        *(things.insert_one({"_id": "a", "n": n}) for n in range(50)), return_exceptions=True
    )
    assert results.count(None) == 1
    assert sum(isinstance(result, DuplicateKeyError) for result in results) == 49


async def test_inserting_many_counts_them(things: Collection) -> None:
    assert await things.insert_many([]) == 0
    assert await things.insert_many([{"_id": str(n)} for n in range(300)]) == 300
    assert await things.count({}) == 300


async def test_inserting_many_can_leave_out_what_is_there(things: Collection) -> None:
    await things.insert_one({"_id": "b", "n": 0})
    documents: list[Document] = [{"_id": letter, "n": 1} for letter in "abcc"]
    assert await things.insert_many(documents, ignore_duplicates=True) == 2
    assert await ids_of(things, {"n": 1}) == "ac"


async def test_inserting_many_stops_at_a_duplicate(things: Collection) -> None:
    await things.insert_one({"_id": "b", "n": 0})
    with pytest.raises(DuplicateKeyError):
        await things.insert_many([{"_id": letter, "n": 1} for letter in "abc"])
    assert await ids_of(things, {"n": 1}) in {"", "a"}


async def test_what_is_missing_is_not_found(things: Collection) -> None:
    assert await things.find_one({"_id": "a"}) is None
    assert await things.find({}) == []
    assert await things.count({}) == 0
    assert await things.delete_many({}) == 0
    assert await things.update_many({}, {"$set": {"n": 1}}) == 0
    assert await things.update_one({"_id": "a"}, {"$set": {"n": 1}}) == UpdateResult(matched=0)
    assert await things.find_one_and_update({"_id": "a"}, {"$set": {"n": 1}}) is None


VALUES: dict[str, object] = {
    "a": 2,
    "b": 2.5,
    "c": "1",
    "d": "x\0y",
    "e": True,
    "f": False,
    "g": NOON,
    "h": NOON + SECOND,
    "i": None,
    # j has no such field
    "k": {"inner": 1},
    "l": 0.1 + 0.2,
    "m": "x",
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (2, "a"),
        (2.0, "a"),
        (0.1 + 0.2, "l"),
        (0.3, ""),
        ("1", "c"),
        ("x", "m"),
        ("x\0y", "d"),
        ("' OR 1=1 --", ""),
        (True, "e"),
        (False, "f"),
        (NOON, "g"),
        (NOON.astimezone(timezone(timedelta(hours=3))), "g"),
        (None, "ij"),
        ({"$ne": 2}, "bcdefghijklm"),
        ({"$ne": True}, "abcdfghijklm"),
        ({"$ne": None}, "abcdefghklm"),
        ({"$ne": NOON}, "abcdefhijklm"),
        ({"$lt": 2.5}, "al"),
        ({"$lte": 2.5}, "abl"),
        ({"$gt": 2}, "b"),
        ({"$gte": 2}, "ab"),
        ({"$lt": "y"}, "cdm"),
        ({"$gt": "1"}, "dm"),
        ({"$gt": ""}, "cdm"),
        ({"$lt": True}, "f"),
        ({"$gte": False}, "ef"),
        ({"$lt": NOON + SECOND}, "g"),
        ({"$lte": NOON + SECOND}, "gh"),
        ({"$gt": NOON}, "h"),
        ({"$gte": NOON}, "gh"),
        ({"$gt": NOON, "$lt": NOON + SECOND}, ""),
        ({"$in": []}, ""),
        ({"$in": [2, 2.5, "1", True, NOON]}, "abceg"),
        ({"$in": [None, "x"]}, "ijm"),
        ({"$in": ["x", *(f"other {n}" for n in range(500))]}, "m"),
        ({"$in": [NOON, *(NOON - n * SECOND for n in range(500))]}, "g"),
        ({"$nin": []}, "abcdefghijklm"),
        ({"$nin": [2, None]}, "bcdefghklm"),
        ({"$exists": True}, "abcdefghiklm"),
        ({"$exists": False}, "j"),
    ],
)
@pytest.mark.parametrize("field", ["v", "deep.er.v"])
async def test_a_filter_finds_what_it_says(
    things: Collection, field: str, condition: object, expected: str
) -> None:
    documents: list[Document] = [{"_id": name, "v": value} for name, value in VALUES.items()]
    if field == "deep.er.v":
        documents = [{"_id": each["_id"], "deep": {"er": {"v": each["v"]}}} for each in documents]
    await things.insert_many([*documents, {"_id": "j"}])
    assert await ids_of(things, {field: condition}) == expected
    assert await things.count({field: condition}) == len(expected)
    await things.ensure_indexes([Index(((field, 1),))])
    assert await ids_of(things, {field: condition}) == expected


async def test_true_is_not_one(engine: str, things: Collection) -> None:
    if engine == "mongomock":
        pytest.skip("mongomock compares as Python does, where True == 1")
    await things.insert_many([{"_id": "a", "v": 1}, {"_id": "b", "v": True}, {"_id": "c", "v": 0}])
    assert await ids_of(things, {"v": 1}) == "a"
    assert await ids_of(things, {"v": 1.0}) == "a"
    assert await ids_of(things, {"v": True}) == "b"
    assert await ids_of(things, {"v": False}) == ""
    assert await ids_of(things, {"v": {"$ne": True}}) == "ac"
    assert await ids_of(things, {"v": {"$in": [1, False]}}) == "a"
    assert await ids_of(things, {"v": {"$gte": 0}}) == "ac"
    await things.update_one({"_id": "a"}, {"$set": {"v": True}})
    assert await ids_of(things, {"v": True}) == "ab"


async def test_conditions_hold_together_and_alternatives_apart(things: Collection) -> None:
    await things.insert_many(
        [{"_id": "a", "x": 1, "y": 1}, {"_id": "b", "x": 1, "y": 2}, {"_id": "c", "x": 2, "y": 2}]
    )
    assert await ids_of(things, {"x": 1, "y": 2}) == "b"
    assert await ids_of(things, {"$or": [{"x": 2}, {"y": 1}]}) == "ac"
    assert await ids_of(things, {"y": 2, "$or": [{"x": 2}, {"x": 1, "y": 1}]}) == "c"
    assert await ids_of(things, {"$or": [{}, {"x": 2}]}) == "abc"
    assert await ids_of(things, {"_id": {"$in": ["a", "c"]}, "x": {"$ne": 1}}) == "c"
    assert await ids_of(things, {"_id": {"$gt": "a", "$lt": "c"}}) == "b"
    assert await ids_of(things, {"_id": 1}) == ""


@pytest.mark.parametrize("indexed", [False, True])
async def test_documents_come_in_the_order_asked_for(things: Collection, indexed: bool) -> None:
    await things.insert_many(
        [
            {"_id": "a", "at": NOON, "n": 2},
            {"_id": "b", "at": NOON + SECOND, "n": 1},
            {"_id": "c", "at": NOON, "n": 1},
            {"_id": "d", "at": None, "n": 3},
            {"_id": "e", "n": 4},
        ]
    )
    if indexed:
        await things.ensure_indexes([Index((("at", -1), ("n", 1)))])

    async def order(*sort: tuple[str, Direction], skip: int = 0, limit: int | None = None) -> str:
        found = await things.find({}, sort=sort, skip=skip, limit=limit)
        return "".join(str(each["_id"]) for each in found)

    assert await order(("at", -1), ("n", 1)) == "bcade"
    assert await order(("at", 1), ("_id", -1)) == "edcab"
    assert await order(("_id", -1)) == "edcba"
    assert await order(("_id", 1), skip=1, limit=2) == "bc"
    assert await order(("_id", 1), skip=3) == "de"
    assert await order(("_id", 1), skip=9) == ""
    assert await order(("_id", 1), limit=0) == ""


@pytest.mark.parametrize(
    ("before", "update", "after"),
    [
        ({}, {"$set": {"x": 1}}, {"x": 1}),
        ({"x": True}, {"$set": {"x": 1}}, {"x": 1}),
        ({"x": 1}, {"$set": {"x": {"y": NOON}}}, {"x": {"y": NOON}}),
        ({"x": {"z": 1}}, {"$set": {"x.y.w": [True]}}, {"x": {"z": 1, "y": {"w": [True]}}}),
        ({"x": 1, "y": 2}, {"$unset": {"x": ""}}, {"y": 2}),
        ({"x": {"y": 1, "z": 2}}, {"$unset": {"x.y": ""}}, {"x": {"z": 2}}),
        ({"x": 1}, {"$unset": {"y.z": ""}}, {"x": 1}),
        ({}, {"$inc": {"x": 2}}, {"x": 2}),
        ({"x": 1}, {"$inc": {"x": -2}}, {"x": -1}),
        ({"x": 1}, {"$inc": {"x": 0.5}}, {"x": 1.5}),
        ({}, {"$inc": {"x.y": 1}}, {"x": {"y": 1}}),
        ({}, {"$max": {"x": 2}}, {"x": 2}),
        ({"x": 1}, {"$max": {"x": 2}}, {"x": 2}),
        ({"x": 3}, {"$max": {"x": 2}}, {"x": 3}),
        ({"x": NOON}, {"$max": {"x": NOON + SECOND}}, {"x": NOON + SECOND}),
        ({"x": NOON}, {"$max": {"x": NOON - SECOND}}, {"x": NOON}),
        ({}, {"$push": {"x": "a"}}, {"x": ["a"]}),
        ({"x": [1]}, {"$push": {"x": [2, 3]}}, {"x": [1, [2, 3]]}),
        ({"x": [1]}, {"$push": {"x": {"at": NOON}}}, {"x": [1, {"at": NOON}]}),
        ({"x": [1]}, {"$push": {"x": {"$each": [2, 3]}}}, {"x": [1, 2, 3]}),
        ({"x": [1, 2]}, {"$push": {"x": {"$each": [3], "$slice": -2}}}, {"x": [2, 3]}),
        ({"x": [1, 2]}, {"$push": {"x": {"$each": [3], "$slice": 1}}}, {"x": [1]}),
        ({"x": [1, 2]}, {"$push": {"x": {"$each": [], "$slice": 0}}}, {"x": []}),
        ({"x": 1}, {"$setOnInsert": {"y": 1}, "$set": {"x": 2}}, {"x": 2}),
        ({"x": 1}, {"$set": {"y": 2}, "$unset": {}}, {"x": 1, "y": 2}),
        (
            {"n": 1, "log": ["a"]},
            {"$set": {"s": "done"}, "$inc": {"n": 1}, "$push": {"log": "b"}, "$unset": {"q": ""}},
            {"n": 2, "log": ["a", "b"], "s": "done"},
        ),
    ],
)
async def test_an_update_changes_what_it_says(
    things: Collection, before: Document, update: Update, after: Document
) -> None:
    for name in "abc":
        await things.insert_one({"_id": name, **before})
    changed: Document = {"_id": "a", **after}
    assert await things.find_one_and_update({"_id": "a"}, update) == changed
    assert await things.update_one({"_id": "b"}, update) == UpdateResult(matched=1)
    assert await things.update_many({"_id": "c"}, update) == 1
    for name in "abc":
        assert await things.find_one({"_id": name}) == {**changed, "_id": name}


@pytest.mark.parametrize(
    ("before", "update"),
    [
        ({"x": "1"}, {"$inc": {"x": 1}}),
        ({"x": None}, {"$inc": {"x": 1}}),
        ({"x": 2**63 - 1}, {"$inc": {"x": 1}}),
        ({"x": 1}, {"$push": {"x": 1}}),
        ({"x": 1}, {"$set": {"x.y": 1}}),
        ({"x": None}, {"$set": {"x.y": 1}}),
    ],
)
async def test_an_update_that_does_not_fit_the_document_changes_nothing(
    database: Database, things: Collection, before: Document, update: Update
) -> None:
    if isinstance(database, MongoDatabase) and not await is_real_server(database):
        pytest.skip("the stand-ins for MongoDB let some of these pass")
    await things.insert_one({"_id": "a", **before})
    with pytest.raises(ValueError, match=r"."):
        await things.update_one({"_id": "a"}, update)
    assert await things.find({}) == [{"_id": "a", **before}]


async def test_an_upsert_inserts_the_filters_equalities_and_the_update(things: Collection) -> None:
    update: Update = {"$set": {"s": 1}, "$inc": {"n": 1}, "$setOnInsert": {"at": NOON}}
    where: Filter = {"_id": "a", "owner": "o", "s": {"$ne": 5}}
    assert await things.update_one(where, update, upsert=True) == UpdateResult(0, upserted=True)
    expected = {"_id": "a", "owner": "o", "s": 1, "n": 1, "at": NOON}
    assert await things.find({}) == [expected]
    update = {"$inc": {"n": 1}, "$setOnInsert": {"at": NOON + SECOND}}
    assert await things.update_one(where, update, upsert=True) == UpdateResult(1)
    assert await things.find({}) == [expected | {"n": 2}]


async def test_racing_upserts_of_one_id_make_one_document(things: Collection) -> None:
    results = await asyncio.gather(
        *(things.update_one({"_id": "a"}, {"$inc": {"n": 1}}, upsert=True) for _ in range(50))
    )
    assert sum(result.upserted for result in results) == 1
    assert await things.find({}) == [{"_id": "a", "n": 50}]


async def test_an_upsert_that_loses_to_another_document_is_a_duplicate(things: Collection) -> None:
    await things.insert_one({"_id": "a", "owner": "other"})
    with pytest.raises(DuplicateKeyError):
        await things.update_one({"_id": "a", "owner": "o"}, {"$set": {"n": 1}}, upsert=True)


async def test_of_fifty_racing_claims_exactly_one_wins(things: Collection) -> None:
    await things.insert_one({"_id": "a", "status": "queued", "attempt": 0})
    claims = await asyncio.gather(
        *(
            things.find_one_and_update(
                {"_id": "a", "status": "queued", "attempt": 0},
                {"$set": {"status": "processing", "by": n}, "$inc": {"attempt": 1}},
            )
            for n in range(50)
        )
    )
    (won,) = [claim for claim in claims if claim is not None]
    assert won == await things.find_one({"_id": "a"})
    assert won["attempt"] == 1


async def test_concurrent_increments_all_count(things: Collection) -> None:
    await things.insert_one({"_id": "a", "n": 0})
    await asyncio.gather(*(things.update_one({"_id": "a"}, {"$inc": {"n": 1}}) for _ in range(200)))
    assert await things.find_one({"_id": "a"}) == {"_id": "a", "n": 200}


async def test_claims_in_a_sort_order_take_each_document_once(things: Collection) -> None:
    await things.insert_many([{"_id": f"{n:02}", "free": True, "n": -n} for n in range(20)])
    sort: list[tuple[str, Direction]] = [("n", 1)]
    claim: Update = {"$set": {"free": False}}
    first = await things.find_one_and_update({"free": True}, claim, sort=sort)
    assert first == {"_id": "19", "free": False, "n": -19}
    claims = await asyncio.gather(
        *(things.find_one_and_update({"free": True}, claim, sort=sort) for _ in range(25))
    )
    taken = [each["_id"] for each in claims if each is not None]
    assert sorted(map(str, taken)) == [f"{n:02}" for n in range(19)]


async def test_many_are_updated_counted_and_deleted_together(things: Collection) -> None:
    await things.insert_many([{"_id": str(n), "n": n} for n in range(100)])
    assert await things.update_many({"n": {"$lt": 40}}, {"$inc": {"n": 1000}}) == 40
    assert await things.count({"n": {"$gte": 1000}}) == 40
    assert await things.delete_many({"n": {"$gte": 1000}}) == 40
    assert await things.count({}) == 60


async def test_a_write_is_seen_by_every_read_that_follows(things: Collection) -> None:
    async def write_then_read(n: int) -> None:
        await things.insert_one({"_id": str(n), "n": n})
        assert await things.find_one({"_id": str(n)}) == {"_id": str(n), "n": n}
        await things.update_one({"_id": str(n)}, {"$set": {"n": -n}})
        assert await things.count({"n": -n, "_id": str(n)}) == 1

    await asyncio.gather(*(write_then_read(n) for n in range(1, 101)))


async def test_a_unique_index_takes_a_missing_value_for_a_value(things: Collection) -> None:
    await things.ensure_indexes([Index((("owner", 1), ("key", 1)), unique=True)])
    await things.insert_many([{"_id": "a", "owner": 1, "key": 1}, {"_id": "b", "owner": 1}])
    with pytest.raises(DuplicateKeyError):
        await things.insert_one({"_id": "c", "owner": 1, "key": 1})
    with pytest.raises(DuplicateKeyError):
        await things.insert_one({"_id": "c", "owner": 1})
    with pytest.raises(DuplicateKeyError):
        await things.update_one({"_id": "b"}, {"$set": {"key": 1}})
    await things.insert_one({"_id": "c", "owner": 2, "key": 1})
    assert await ids_of(things, {"owner": 1, "key": 1}) == "a"


async def test_a_sparse_unique_index_lets_the_field_be_missing(things: Collection) -> None:
    await things.ensure_indexes([Index((("key", 1),), unique=True, sparse=True)])
    await things.insert_many([{"_id": "a"}, {"_id": "b"}, {"_id": "c", "key": "k"}])
    with pytest.raises(DuplicateKeyError):
        await things.insert_one({"_id": "d", "key": "k"})
    assert await things.insert_many([{"_id": "d", "key": "k"}], ignore_duplicates=True) == 0
    assert await ids_of(things, {"key": "k"}) == "c"
    assert await ids_of(things, {"key": None}) == "ab"


async def test_indexes_can_be_ensured_again_and_at_once(things: Collection) -> None:
    indexes = [
        Index((("a", 1), ("b.c", -1))),
        Index((("k", 1),), unique=True),
        Index((("s", 1),), unique=True, sparse=True),
    ]
    await asyncio.gather(*(things.ensure_indexes(indexes) for _ in range(5)))
    await things.ensure_indexes(indexes)
    await things.ensure_indexes([])


BAD_FILTERS: list[Filter] = [
    {"$where": "1"},
    {"x": {"$regex": "a"}},
    {"x": {"$not": {"$lt": 1}}},
    {"x": {"y": 1}},
    {"x": {}},
    {"x": [1]},
    {"x": b"1"},
    {"x": float("nan")},
    {"x": 2**63},
    {"x": datetime(2026, 1, 1)},  # noqa: DTZ001  # what is tested is that it has no timezone
    {"x": {"$lt": None}},
    {"x": {"$in": "abc"}},
    {"x": {"$in": [[1]]}},
    {"x": {"$exists": 1}},
    {"$or": []},
    {"$or": {"x": 1}},
    {"$or": [{"$and": []}]},
    {"x'); DROP TABLE things; --": 1},
    {'x"': 1},
    {"x..y": 1},
    {"x.0": 1},
    {"": 1},
]


@pytest.mark.parametrize("where", BAD_FILTERS, ids=repr)
async def test_a_filter_outside_the_language_is_refused(things: Collection, where: Filter) -> None:
    await things.insert_one({"_id": "a", "x": 1})
    with pytest.raises(ValueError, match=r"."):
        await things.find(where)
    with pytest.raises(ValueError, match=r"."):
        await things.count(where)
    with pytest.raises(ValueError, match=r"."):
        await things.delete_many(where)
    with pytest.raises(ValueError, match=r"."):
        await things.update_many(where, {"$set": {"x": 2}})
    with pytest.raises(ValueError, match=r"."):
        await things.find_one_and_update(where, {"$set": {"x": 2}})
    assert await things.find({}) == [{"_id": "a", "x": 1}]


BAD_UPDATES: list[Update] = [
    {},
    {"$set": {}},
    {"$rename": {"x": "y"}},
    {"x": {"y": 1}},
    {"$set": {"_id": "b"}},
    {"$set": {"x": {"$y": 1}}},
    {"$set": {"x": {"y.z": 1}}},
    {"$set": {"x": {1, 2}}},
    {"$set": {"x.0": 1}},
    {"$set": {"x'y": 1}},
    {"$set": {"x": 1}, "$inc": {"x": 1}},
    {"$set": {"x.y": 1}, "$unset": {"x": ""}},
    {"$inc": {"x": "1"}},
    {"$inc": {"x": True}},
    {"$max": {"x": [1]}},
    {"$push": {"x": {"$each": 1}}},
    {"$push": {"x": {"$each": [1], "$sort": 1}}},
    {"$push": {"x": {"$each": [1], "$slice": "1"}}},
    {"$push": {"x": {"$slice": 1}}},
]


@pytest.mark.parametrize("update", BAD_UPDATES, ids=repr)
async def test_an_update_outside_the_language_is_refused(
    things: Collection, update: Update
) -> None:
    await things.insert_one({"_id": "a", "w": 1})
    with pytest.raises(ValueError, match=r"."):
        await things.update_one({"_id": "a"}, update)
    with pytest.raises(ValueError, match=r"."):
        await things.update_many({}, update)
    with pytest.raises(ValueError, match=r"."):
        await things.find_one_and_update({}, update)
    assert await things.find({}) == [{"_id": "a", "w": 1}]


BAD_DOCUMENTS: list[Document] = [
    {},
    {"_id": 1},
    {"_id": "a", "$x": 1},
    {"_id": "a", "x.y": 1},
    {"_id": "a", "": 1},
    {"_id": "a", "x": {"y": [{"$z": 1}]}},
    {"_id": "a", "x": float("inf")},
    {"_id": "a", "x": 2**63},
    {"_id": "a", "x": b"bytes"},
    {"_id": "a", "x": "\ud800"},
    {"_id": "a", "x": NOON.replace(tzinfo=None)},
]


@pytest.mark.parametrize("document", BAD_DOCUMENTS, ids=ascii)
async def test_a_document_no_engine_could_keep_is_refused(
    engine: str, things: Collection, document: Document
) -> None:
    if engine == "mongomock" and document.get("x") == "\ud800":
        pytest.skip("mongomock never encodes what it keeps")
    with pytest.raises(ValueError, match=r"."):
        await things.insert_one(document)
    with pytest.raises(ValueError, match=r"."):
        await things.insert_many([{"_id": "b"}, document])
    assert await things.find({}) == []


@pytest.mark.parametrize("where", [{"x": 1}, {"$or": [{"_id": "a"}]}, {"_id": {"$in": ["a"]}}])
async def test_an_upsert_that_leaves_the_id_open_is_refused(
    things: Collection, where: Filter
) -> None:
    with pytest.raises(ValueError, match=r"."):
        await things.update_one(where, {"$set": {"y": 1}}, upsert=True)
    assert await things.find({}) == []


async def test_windows_and_orders_that_make_no_sense_are_refused(things: Collection) -> None:
    with pytest.raises(ValueError, match="negative"):
        await things.find({}, skip=-1)
    with pytest.raises(ValueError, match="negative"):
        await things.find({}, limit=-1)
    with pytest.raises(ValueError, match="direction"):
        await things.find({}, sort=[("x", 2)])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="twice"):
        await things.find({}, sort=[("x", 1), ("x", -1)])
    with pytest.raises(ValueError, match="key"):
        await things.ensure_indexes([Index(())])


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "$a", "a.b", "Tasks", "sqlite_master", "_a"])
async def test_a_name_that_cannot_be_a_collection_is_refused(database: Database, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a collection"):
        database.collection(name)


async def test_collections_are_apart(database: Database) -> None:
    await database.collection("one").insert_one({"_id": "a"})
    assert await database.collection("two").find({}) == []
    assert await database.collection("one").find({}) == [{"_id": "a"}]


async def test_callers_that_are_cancelled_disturb_nobody(things: Collection) -> None:
    doomed = [asyncio.create_task(things.insert_one({"_id": f"doomed{n}"})) for n in range(20)]
    kept = [asyncio.create_task(things.insert_one({"_id": f"kept{n}"})) for n in range(20)]
    await asyncio.sleep(0)
    for task in doomed:
        task.cancel()
    await asyncio.gather(*kept)
    await asyncio.gather(*doomed, return_exceptions=True)
    assert await things.count({"_id": {"$gte": "kept"}}) == 20
    await things.insert_one({"_id": "after"})


async def test_a_store_answers_a_ping_until_it_is_closed(engine: str, database: Database) -> None:
    await database.ping()
    if engine != "sqlite":
        pytest.skip("the other engines' closing is their driver's")
    await database.close()
    await database.close()
    with pytest.raises(StoreUnavailableError):
        await database.ping()
    with pytest.raises(StoreUnavailableError):
        await database.collection("things").insert_one({"_id": "a"})
