"""The parser against the rules and examples of the HTML standard's section 9.2.6."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.client.sse import EventStreamParser, ServerSentEvent


def parse(stream: bytes) -> list[ServerSentEvent]:
    return EventStreamParser().feed(stream)


def data_of(stream: bytes) -> list[str]:
    return [event.data for event in parse(stream)]


@pytest.mark.parametrize(
    ("stream", "data"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", ["YHOO\n+2\n10"]),
        (b": test stream\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n",
         ["first", "second", " third"]),
        (b"data\n\ndata\ndata\n\ndata:", ["", "\n"]),
        (b"data:test\n\ndata: test\n\n", ["test", "test"]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", ["a", "b", "c"]),
        (b"\xef\xbb\xbfdata: after a BOM\n\n", ["after a BOM"]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: only one BOM is taken off\n\n", []),
        (b"Data: names are case-sensitive\n\nunknown: x\n\n", []),
        ("data: \x85 and \u2028 end no line\n\n".encode(), ["\x85 and \u2028 end no line"]),
        (b"data: \xff is replaced\n\n", ["\ufffd is replaced"]),
        (b"data: cut short by the end\n", []),
        (b": ping\n\n: ping\r\n\r\n", []),
    ],
)  # fmt: skip
def test_data_is_read_as_the_standard_says(stream: bytes, data: list[str]) -> None:
    assert data_of(stream) == data


def test_a_name_holds_for_one_event_only() -> None:
    events = parse(b"event: token\ndata: 1\n\ndata: 2\n\nevent: x\n\ndata: 3\n\n")

    assert [event.event for event in events] == ["token", "message", "message"]


def test_an_id_holds_until_the_next_one() -> None:
    events = parse(b"id: 3-0\ndata: 1\n\ndata: 2\n\nid\ndata: 3\n\n")

    assert [event.last_event_id for event in events] == ["3-0", "3-0", ""]


def test_an_id_with_a_null_is_ignored() -> None:
    events = parse(b"id: 1\ndata: 1\n\nid: 2\x00\ndata: 2\n\n")

    assert [event.last_event_id for event in events] == ["1", "1"]


def test_an_id_counts_when_its_block_has_ended_and_not_before() -> None:
    parser = EventStreamParser("1-0")

    parser.feed(b"data: half\nid: 2-0\n")
    assert parser.last_event_id == "1-0"
    parser.feed(b"\n")
    assert parser.last_event_id == "2-0"


@pytest.mark.parametrize(
    ("stream", "milliseconds"),
    [
        (b"retry: 1500\n", 1500),
        (b"retry:1500\nretry: 2s\n", 1500),
        (b"retry: -1\n", None),
        (b"retry: 1.5\n", None),
        (b"retry:\n", None),
        ("retry: \u0663\n".encode(), None),
    ],
)
def test_retry_takes_ascii_digits_only(stream: bytes, milliseconds: int | None) -> None:
    parser = EventStreamParser()

    parser.feed(stream)

    assert parser.retry_milliseconds == milliseconds


_STREAM = (
    "\ufeff: ping\r\nid: 1-0\r\ndata: {\"status\":\"queued\"}\r\n\r\n"
    "event: token\ndata: çay\ndata: \r\rretry: 20\r\nid: 2-0\rdata: x\n\n"
).encode()  # fmt: skip


@given(st.lists(st.integers(0, len(_STREAM)), max_size=20))
def test_where_the_stream_is_cut_into_chunks_makes_no_difference(cuts: list[int]) -> None:
    parser = EventStreamParser()
    bounds = [0, *sorted(cuts), len(_STREAM)]

    events = [event for start, end in pairwise(bounds) for event in parser.feed(_STREAM[start:end])]

    assert events == [
        ServerSentEvent("message", '{"status":"queued"}', "1-0"),
        ServerSentEvent("token", "çay\n", "1-0"),
        ServerSentEvent("message", "x", "2-0"),
    ]
    assert parser.retry_milliseconds == 20
