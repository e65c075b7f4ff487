"""Filters as SQL: what text is made, and that nothing of a caller's gets into it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.db.database import Index
from app.db.sqlite_query import create_index, delete, insert, order_clause, select, where_clause

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_an_empty_filter_has_no_condition() -> None:
    assert where_clause({}) == ("", ())
    assert select("doc", "tasks", {}).text == 'SELECT doc FROM "tasks"'
    assert delete("tasks", {}).text == 'DELETE FROM "tasks"'


def test_a_query_repeats_the_expression_of_its_index() -> None:
    (statement,) = create_index("tasks", Index((("owner.id", 1), ("at", -1))))
    query = select("doc", "tasks", {"owner.id": "o"}, sort=[("at", -1)]).text
    for expression in ("""json_extract(doc,'$."owner"."id"')""", """json_extract(doc,'$."at"')"""):
        assert expression in statement
        assert expression in query


def test_the_id_is_a_column() -> None:
    assert where_clause({"_id": "a"}) == (" WHERE (_id = ? AND 'text' = 'text')", ("a",))
    assert order_clause([("_id", -1)]) == " ORDER BY _id DESC"


def test_dates_compare_only_with_dates() -> None:
    text, values = where_clause({"at": {"$lt": NOON}})
    assert """>= '{"$date":"'""" in text
    assert values == ('{"$date":"2026-11-21T12:00:00.000Z"}',)


@given(st.text())
def test_no_value_becomes_part_of_a_statement(value: str) -> None:
    plain = select("doc", "tasks", {"x": "", "y": {"$in": [""]}, "z": {"$ne": ""}})
    other = select("doc", "tasks", {"x": value, "y": {"$in": [value]}, "z": {"$ne": value}})
    assert other.text == plain.text


@given(st.text().filter(lambda name: not name.replace("_", "a").isidentifier()))
def test_no_name_with_other_characters_becomes_part_of_a_statement(name: str) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
    try:
        text = select("doc", "tasks", {name: 1}, sort=[(name, 1)]).text
    except ValueError:
        return
    assert set(name) <= allowed
    assert text.count("'") % 2 == 0


@pytest.mark.parametrize("name", ['tasks"; DROP TABLE tasks; --', "Tasks", "", "sqlite_master"])
def test_a_table_is_only_named_what_a_collection_may_be(name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a collection"):
        insert(name)


def test_long_lists_are_bound_as_one_value() -> None:
    text, values = where_clause({"x": {"$in": [str(number) for number in range(1000)]}})
    assert text.count("?") == len(values) == 1


def test_a_unique_index_comes_beside_the_one_for_queries() -> None:
    lookup, unique = create_index("tasks", Index((("key", 1),), unique=True, sparse=True))
    assert lookup.startswith('CREATE INDEX IF NOT EXISTS "tasks:key_1"')
    assert unique.startswith('CREATE UNIQUE INDEX IF NOT EXISTS "tasks:key_1:unique"')
    assert lookup.endswith(""" WHERE json_type(doc,'$."key"') IS NOT NULL""")
    assert unique.endswith(""" WHERE json_type(doc,'$."key"') IS NOT NULL""")
