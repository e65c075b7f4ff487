"""Documents as JSON text."""

from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.db.codec import (
    check_document,
    check_value,
    decode,
    encode,
    encode_datetime,
    encode_string,
)

MOMENT = datetime(2026, 11, 21, 7, 32, 55, 123456, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"])) | st.text('\0\\u\ufdd0\ufdd1\ufdd2"0')


keys = texts.map(lambda text: text.replace("\0", ""))


@given(st.dictionaries(st.just("x"), texts | st.lists(texts) | st.dictionaries(keys, texts)))
def test_any_text_comes_back(content: dict[str, object]) -> None:
    document: dict[str, object] = {"_id": "a", **content}
    assert decode(encode(document)) == document


@given(texts)
def test_a_string_is_encoded_alone_as_it_is_in_a_document(text: str) -> None:
    assert orjson.loads(encode({"x": text}))["x"] == encode_string(text)


@given(texts)
def test_no_string_ends_early_for_sqlite(text: str) -> None:
    assert "\0" not in encode_string(text)


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_dates_sort_as_their_text_does(one: datetime, other: datetime) -> None:
    earlier, later = sorted([one, other])
    assert encode_datetime(earlier) <= encode_datetime(later)
    assert len(encode_datetime(one)) == len(encode_datetime(other))


def test_a_date_is_written_in_utc_to_the_millisecond() -> None:
    expected = '{"$date":"2026-11-21T07:32:55.123Z"}'
    assert encode_datetime(MOMENT) == expected
    assert encode_datetime(MOMENT.astimezone(timezone(timedelta(hours=-5)))) == expected
    assert encode({"at": MOMENT}) == f'{{"at":{expected}}}'


def test_a_date_outside_the_calendar_in_utc_is_refused() -> None:
    moment = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=3)))
    with pytest.raises(ValueError, match="outside the years"):
        encode_datetime(moment)


def test_tuples_are_lists() -> None:
    document: dict[str, object] = {"_id": "a", "x": (1, (2,))}
    check_document(document)
    assert decode(encode(document)) == {"_id": "a", "x": [1, [2]]}


def test_what_is_nested_too_deep_is_refused() -> None:
    value: object = 1
    for _ in range(100):
        value = [value]
    check_value(value)
    with pytest.raises(ValueError, match="deeper than 100"):
        check_value([[value]])


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be stored"):
        encode({"x": "\ud800"})
