"""An incremental parser of server-sent events.

The rules are those of the HTML standard, section 9.2.6, "Interpreting an event stream".
"""

import codecs
import re
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class ServerSentEvent:
    """One dispatched event."""

    event: str
    """Its name; ``message`` for one that has none."""
    data: str
    last_event_id: str
    """What ``Last-Event-ID`` would be after this event."""


class EventStreamParser:
    """Bytes in, events out; the chunks may be cut anywhere.

    One parser serves one connection. An event that the stream's end cuts short is dropped.
    """

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id
        """Of the last block that ended; kept over connections by whoever reconnects."""
        self.retry_milliseconds: int | None = None
        """The server's latest wish for the time before a reconnection."""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._at_start = True
        self._after_carriage_return = False
        self._rest = ""
        self._id = last_event_id
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes; the answer is the events they complete."""
        text = self._decoder.decode(chunk)
        if not text:
            return []
        if self._at_start:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        if self._after_carriage_return:
            # The carriage return has ended its line already; this is the second half of a CRLF.
            text = text.removeprefix("\n")
        self._after_carriage_return = text.endswith("\r")
        *lines, self._rest = _LINE_END.split(self._rest + text)
        events = (self._take_line(line) for line in lines)
        return [event for event in events if event is not None]

    def _take_line(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_milliseconds = int(value)
            case _:  # a comment, whose name is empty, or a field that is not known
                pass
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        self.last_event_id = self._id
        event, data = self._event, self._data
        self._event, self._data = "", []
        if not data:
            return None
        return ServerSentEvent(event or "message", "\n".join(data), self.last_event_id)
