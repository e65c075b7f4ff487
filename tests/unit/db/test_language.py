"""Filters as they are read."""

import pytest

from app.db.language import AnyOf, Comparison, check_path, equality_fields, parse_filter


def test_a_filter_is_read_into_its_conditions() -> None:
    where = {"a": 1, "b.c": {"$gte": 1, "$lt": 2}, "$or": [{"d": {"$in": ["x", None]}}, {}]}
    assert parse_filter(where) == (
        Comparison("a", "$eq", (1,)),
        Comparison("b.c", "$gte", (1,)),
        Comparison("b.c", "$lt", (2,)),
        AnyOf(((Comparison("d", "$in", ("x", None)),), ())),
    )


@pytest.mark.parametrize("path", ["a", "_id", "a.b.c", "a-b", "A_1.b2"])
def test_a_path_of_names_is_accepted(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "0", "a.0", "$a", "a b", "ä", "a\n"])
def test_anything_else_is_not_a_path(path: str) -> None:
    with pytest.raises(ValueError, match="not a dotted path"):
        check_path(path)


def test_only_equalities_tell_what_an_upsert_inserts() -> None:
    where = {"_id": "a", "x": None, "y": {"$gt": 1}, "z": {"$in": [1]}}
    assert equality_fields(where) == {"_id": "a", "x": None}
