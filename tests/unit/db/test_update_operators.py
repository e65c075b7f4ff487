"""What an update does to a document, beyond what the store's contract already says."""

from copy import deepcopy
from datetime import UTC, datetime

import pytest

from app.db.database import Document, Filter, Update
from app.db.update_operators import apply_update, check_update, document_for_upsert

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_neither_the_document_nor_the_update_is_changed() -> None:
    document: Document = {"_id": "a", "x": {"y": {"n": 1, "list": [1]}, "z": 1}, "gone": {"q": 1}}
    update: Update = {
        "$inc": {"x.y.n": 1},
        "$push": {"x.y.list": 2},
        "$set": {"x.w": {"v": []}},
        "$unset": {"gone.q": ""},
    }
    document_before, update_before = deepcopy(document), deepcopy(dict(update))
    assert apply_update(document, update) == {
        "_id": "a",
        "x": {"y": {"n": 2, "list": [1, 2]}, "z": 1, "w": {"v": []}},
        "gone": {},
    }
    assert document == document_before
    assert update == update_before


@pytest.mark.parametrize(
    ("current", "operand", "result"),
    [
        (None, -1, -1),
        (5, "", ""),
        ("z", 9, "z"),
        ("z", True, True),
        (True, NOON, NOON),
        (NOON, 1, NOON),
        ({}, "z", {}),
        ([], "z", []),
        ([], False, False),
        (None, None, None),
        (2, 2.5, 2.5),
        (False, True, True),
    ],
)
def test_the_greater_of_two_types_is_mongodbs(
    current: object, operand: object, result: object
) -> None:
    assert apply_update({"x": current}, {"$max": {"x": operand}}) == {"x": result}


@pytest.mark.parametrize(
    ("document", "update"),
    [
        ({"x": "1"}, {"$inc": {"x": 1}}),
        ({"x": True}, {"$inc": {"x": 1}}),
        ({"x": None}, {"$inc": {"x": 1}}),
        ({"x": 2**63 - 1}, {"$inc": {"x": 1}}),
        ({"x": 1e308}, {"$inc": {"x": 1e308}}),
        ({"x": None}, {"$push": {"x": 1}}),
        ({"x": 1}, {"$set": {"x.y": 1}}),
        ({"x": [1]}, {"$set": {"x.y": 1}}),
    ],
)
def test_what_does_not_fit_is_refused(document: Document, update: Update) -> None:
    with pytest.raises(ValueError, match="x"):
        apply_update(document, update)


def test_unsetting_below_a_scalar_does_nothing() -> None:
    assert apply_update({"x": 1, "y": [1]}, {"$unset": {"x.y": "", "y.z.w": ""}}) == {
        "x": 1,
        "y": [1],
    }


@pytest.mark.parametrize(
    ("where", "update", "expected"),
    [
        ({"_id": "a"}, {"$set": {"x": 1}}, {"_id": "a", "x": 1}),
        ({"_id": "a", "n": 5}, {"$inc": {"n": 1}}, {"_id": "a", "n": 6}),
        (
            {"_id": "a", "x.y": None},
            {"$push": {"x.z": 1}},
            {"_id": "a", "x": {"y": None, "z": [1]}},
        ),
        ({"n": {"$gt": 5}}, {"$setOnInsert": {"_id": "a"}, "$unset": {"n": ""}}, {"_id": "a"}),
    ],
)
def test_an_upsert_starts_from_what_the_filter_says(
    where: Filter, update: Update, expected: Document
) -> None:
    check_update(update)
    assert document_for_upsert(where, update) == expected


def test_paths_that_only_begin_alike_do_not_collide() -> None:
    check_update({"$set": {"x.y": 1, "xy": 1}, "$inc": {"x.yz": 1}})
