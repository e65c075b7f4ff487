"""Times as the stores and the API have them."""

from datetime import UTC, datetime, timedelta, timezone

from app.core.clock import isoformat, to_store_precision, utc_now


def test_now_has_no_more_than_milliseconds() -> None:
    now = utc_now()
    assert now.tzinfo is UTC
    assert now == to_store_precision(now)


def test_times_are_shown_in_utc_with_six_digits() -> None:
    moment = datetime(2025, 12, 5, 15, 34, 56, 123456, tzinfo=timezone(timedelta(hours=3)))
    assert isoformat(moment) == "2025-12-05T12:34:56.123456Z"
