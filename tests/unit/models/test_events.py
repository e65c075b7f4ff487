"""The one order of a task's events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.domain.event import EventId, EventKind, TaskEvent, merge_events, status_event
from app.models.domain.task import TaskStatus


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**9 - 1))
def test_an_id_reads_back_as_written(seq: int, position: int) -> None:
    event_id = EventId(seq, position)
    assert EventId.parse(str(event_id)) == event_id


@pytest.mark.parametrize(
    "text", ["", "3", "3-", "-3", "3-1-1", "a-b", " 3-1", "3-1 ", "3-1\n", "٣-١x", "9999999999-0"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="form"):
        EventId.parse(text)


def make_history(tokens_after: list[int]) -> list[TaskEvent]:
    """Status events 1, 2, ..., each followed by that many tokens."""
    history: list[TaskEvent] = []
    for seq, tokens in enumerate(tokens_after, start=1):
        history.append(status_event("t", seq, TaskStatus.PROCESSING))
        history += [
            TaskEvent(EventId(seq, position), EventKind.TOKEN, {"text": f"{seq}-{position}"})
            for position in range(1, tokens + 1)
        ]
    return history


histories = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(make_history)


@given(histories, st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=5))
def test_reading_in_pieces_gives_every_event_once_and_in_order(
    history: list[TaskEvent], readings: list[tuple[int, int]]
) -> None:
    seen: list[TaskEvent] = []
    position = EventId(0, 0)
    known = 0
    for more, ahead in [*readings, (len(history), 0)]:
        # More has happened since the last reading. The store is read first, so the stream may
        # already hold what came between the two.
        known = min(known + more, len(history))
        stored = [event for event in history[:known] if event.kind is EventKind.STATUS]
        streamed = [event for event in history[: known + ahead] if event.id > position]
        for event in merge_events(stored, streamed, after=position):
            seen.append(event)
            position = event.id
    assert seen == history


@given(histories, st.data())
def test_without_the_stream_the_status_events_remain(
    history: list[TaskEvent], data: st.DataObject
) -> None:
    after = data.draw(st.sampled_from([event.id for event in history]))
    stored = [event for event in history if event.kind is EventKind.STATUS]
    assert merge_events(stored, [], after=after) == [e for e in stored if e.id > after]


def test_the_final_status_ends_the_stream() -> None:
    assert status_event("t", 3, TaskStatus.FAILED).ends_stream
    assert not status_event("t", 2, TaskStatus.PROCESSING).ends_stream
    assert not TaskEvent(EventId(2, 1), EventKind.TOKEN, {"text": "x"}).ends_stream
