"""What surrounds every request: its id, its log line, its metrics, and the limit of its body."""

import re
import time

from sse_starlette.sse import SendTimeoutError
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import error_response, internal_error_response
from app.api.prometheus import HTTP_DURATION, HTTP_REQUESTS
from app.core.ids import new_id
from app.core.logging import get_logger, log_context

logger = get_logger("http")

REQUEST_ID_HEADER = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_UNLOGGED = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})


class RequestContextMiddleware:
    """Outermost: gives the request an id, logs and counts it, and turns a fault into a 500.

    The id is the client's ``X-Request-Id`` if that is harmless, else a new one; it is on every log
    line of the request, in the response, and travels with the task to the worker.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        offered = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = offered if _REQUEST_ID.fullmatch(offered) else new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500
        responding = False

        async def send_with_id(message: Message) -> None:
            nonlocal status, responding
            if message["type"] == "http.response.start":
                responding, status = True, message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        started = time.perf_counter()
        with log_context(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except SendTimeoutError:
                # A reader of events that takes nothing more; it can resume where it stopped.
                logger.info("slow_reader_dropped", path=scope["path"])
            except Exception:
                # Whatever it was is our fault, and the client is owed an answer in our shape.
                logger.exception("request_crashed", path=scope["path"])
                if responding:
                    raise
                await internal_error_response()(scope, receive, send_with_id)
            finally:
                _report(scope, status, time.perf_counter() - started)


def _report(scope: Scope, status: int, seconds: float) -> None:
    # The route's template, not the path: ids would make a label of each request.
    route = scope.get("route")
    endpoint = getattr(route, "path", "unmatched")
    HTTP_REQUESTS.labels(scope["method"], endpoint, str(status)).inc()
    HTTP_DURATION.labels(scope["method"], endpoint).observe(seconds)
    if endpoint not in _UNLOGGED:
        # Without the query, which may hold an API key.
        logger.info(
            "request_handled",
            method=scope["method"],
            path=scope["path"],
            endpoint=endpoint,
            status_code=status,
            duration_ms=round(seconds * 1000, 1),
        )


class BodyLimitMiddleware:
    """Answers 413 to a body over the limit, without reading it to the end."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdigit() or int(announced) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        # The announcement may be missing or a lie, so count. A request is read whole before it is
        # acted on, so refusing in the middle leaves nothing half done.
        messages: list[Message] = []
        size = 0
        while True:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                await self._refuse(scope, receive, send)
                return
            if message["type"] != "http.request" or not message.get("more_body", False):
                break
        queue = iter(messages)

        async def replay() -> Message:
            return next(queue, None) or await receive()

        await self._app(scope, replay, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = error_response(
            413,
            "REQUEST_TOO_LARGE",
            f"The request body is larger than {self._max_bytes} bytes.",
            # What the client still sends is not read, so the connection cannot be used again.
            headers={"Connection": "close"},
        )
        await response(scope, receive, send)
