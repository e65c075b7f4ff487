"""The three calls of the API that the command line makes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

import httpx2
from pydantic import BaseModel, ValidationError

from app.client.sse import EventStreamParser, ServerSentEvent
from app.client.wire import (
    FINAL_STATUSES,
    Acceptance,
    ApiUnavailableError,
    ClientError,
    Document,
    ProblemAnswer,
    StatusChange,
    Step,
    Task,
    TaskEvent,
    TaskRequest,
    Token,
)
from app.core.errors import ConfigurationError

_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
_STREAM_TIMEOUT = httpx2.Timeout(30.0, connect=5.0, read=60.0)
_DEFAULT_RETRY_SECONDS = 2.0
_MIN_RETRY_SECONDS = 0.1
_POLL_SECONDS = 1.0
_MAX_FAILURES = 30
"""Failed connections in a row, none of which brought an event, before following is given up."""

_Model = TypeVar("_Model", bound=BaseModel)
_Document = TypeVar("_Document", bound=Document)


@contextmanager
def open_http_client(url: str, api_key: str | None) -> Iterator[httpx2.Client]:
    """An HTTP client for one API; ``url`` may have a path before ``/v1``.

    Raises:
        ConfigurationError: ``url`` is not one.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigurationError(f"ORCHESTRATOR_URL={url!r}: must be an http(s) URL")
    with httpx2.Client(
        base_url=url,
        headers={"X-API-Key": api_key} if api_key else {},
        timeout=_TIMEOUT,
        # A proxy of the environment cannot reach this machine's own loopback.
        trust_env=host not in ("localhost", "127.0.0.1", "::1"),
    ) as http:
        yield http


class ApiClient:
    """Calls the API and reads its answers. Every method raises ``ClientError``."""

    def __init__(self, http: httpx2.Client, sleep: Callable[[float], None] = time.sleep) -> None:
        self._http = http
        self._sleep = sleep

    @property
    def base_url(self) -> str:
        """The API's URL, without a final slash."""
        return str(self._http.base_url).rstrip("/")

    def submit(self, request: TaskRequest) -> Acceptance:
        """Submit a task."""
        body = request.model_dump(exclude_none=True)
        response = self._request("POST", "/v1/agent/execute", body)
        return _parse_document(Acceptance, response)

    def get_task(self, task_id: str) -> Task:
        """Read a task."""
        response = self._request("GET", f"/v1/tasks/{task_id}")
        return _parse_document(Task, response)

    def wait_for_end(self, task_id: str) -> Task:
        """Read a task again and again until it has ended."""
        failures = 0
        while True:
            try:
                task = self.get_task(task_id)
            except ApiUnavailableError:
                failures += 1
                if failures >= _MAX_FAILURES:
                    raise
            else:
                failures = 0
                if task.status in FINAL_STATUSES:
                    return task
            self._sleep(_POLL_SECONDS)

    def follow(self, task_id: str) -> Iterator[TaskEvent]:
        """All events of a task from its first to its last, over as many connections as needed.

        It ends after the final status, or when the server says that there is nothing more.
        """
        last_event_id = ""
        retry_seconds = _DEFAULT_RETRY_SECONDS
        failures = 0
        while True:
            parser = EventStreamParser(last_event_id)
            failure: Exception | None = None
            try:
                for event in self._stream(task_id, parser):
                    failures = 0
                    parsed = _parse_event(event)
                    if parsed is not None:
                        yield parsed
                    if isinstance(parsed, StatusChange) and parsed.status in FINAL_STATUSES:
                        return
            except _StreamOverError:
                return
            except (httpx2.TransportError, ApiUnavailableError) as error:
                failure = error
            last_event_id = parser.last_event_id
            if parser.retry_milliseconds is not None:
                retry_seconds = parser.retry_milliseconds / 1000
            failures += 1
            if failures >= _MAX_FAILURES:
                reason = failure or "the stream keeps ending early"
                raise ApiUnavailableError(f"lost the event stream of {self.base_url}: {reason}")
            # A server that wants no wait still gets one, once it has failed.
            self._sleep(max(retry_seconds, _MIN_RETRY_SECONDS * failures))

    def _stream(self, task_id: str, parser: EventStreamParser) -> Iterator[ServerSentEvent]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if parser.last_event_id:
            headers["Last-Event-ID"] = parser.last_event_id
        path = f"/v1/tasks/{task_id}/events"
        with self._http.stream("GET", path, headers=headers, timeout=_STREAM_TIMEOUT) as response:
            if response.status_code == httpx2.codes.NO_CONTENT:
                raise _StreamOverError
            if response.status_code != httpx2.codes.OK:
                response.read()
                raise _refusal(response)
            for chunk in response.iter_bytes():
                yield from parser.feed(chunk)

    def _request(
        self, method: str, path: str, body: dict[str, str] | None = None
    ) -> httpx2.Response:
        try:
            response = self._http.request(method, path, json=body)
        except httpx2.ConnectError as error:
            raise ApiUnavailableError(
                f"cannot reach {self.base_url}: {error}; is it running (orchestrator up)?"
            ) from None
        except httpx2.TransportError as error:
            reason = str(error) or type(error).__name__
            raise ApiUnavailableError(f"no answer from {self.base_url}: {reason}") from None
        if not response.is_success:
            raise _refusal(response)
        return response


class _StreamOverError(Exception):
    """The server has no more events: reconnecting would bring none."""


def _parse_event(event: ServerSentEvent) -> TaskEvent | None:
    """The event as ours; None for a kind this version does not know."""
    match event.event:
        case "message":
            return _parse(StatusChange, event.data)
        case "token":
            return _parse(Token, event.data)
        case "step":
            return _parse(Step, event.data)
        case _:
            return None


def _parse_document(model: type[_Document], response: httpx2.Response) -> _Document:
    return _parse(model, response.text).model_copy(update={"raw": response.text})


def _parse(model: type[_Model], text: str) -> _Model:
    try:
        return model.model_validate_json(text)
    except ValidationError:
        raise ClientError(
            "the answer is not the orchestrator's; does --url point at its API?"
        ) from None


def _refusal(response: httpx2.Response) -> ClientError:
    passing = response.is_server_error or response.status_code == httpx2.codes.TOO_MANY_REQUESTS
    return (ApiUnavailableError if passing else ClientError)(_explain(response))


def _explain(response: httpx2.Response) -> str:
    status = f"{response.status_code} {response.reason_phrase}".strip()
    try:
        problem = ProblemAnswer.model_validate_json(response.text).error
    except ValidationError:
        return f"{status} from {response.url}"
    request_id = f" (request {problem.request_id})" if problem.request_id else ""
    return f"{status}: {problem.message} [{problem.code}]{request_id}"
