"""Time, in one place: UTC, timezone-aware, and as precise as the least precise store keeps it."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def to_store_precision(moment: datetime) -> datetime:
    """Cut ``moment`` to whole milliseconds, which is what BSON dates hold."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def utc_now() -> datetime:
    """The current moment in UTC, cut to milliseconds so that every store gives back the same."""
    return to_store_precision(datetime.now(UTC))


def isoformat(moment: datetime) -> str:
    """RFC 3339 with six fractional digits and ``Z``, as the API shows every timestamp."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
