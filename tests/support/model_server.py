"""A scripted OpenAI-compatible server, on a real socket of 127.0.0.1, that also answers Tavily.

In a test::

    with ModelServer() as server:
        server.script(Reply.error(429, headers={"Retry-After": "0"}), Reply.text("Hello"))

As a process, where it also serves as a demo model: ``python -m tests.support.model_server``.
Its script is then set by ``POST /__script`` and its calls are read from ``GET /__calls``.
"""

import argparse
import asyncio
import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, Self

from tests.support.model_answers import answer_json, article, pieces_of, search_results

CHAT_PATH = "/v1/chat/completions"
SEARCH_PATH = "/search"
MODEL = "scripted-model"
_MAX_BODY_BYTES = 4 * 1024 * 1024
_HEAD_LIMIT = 64 * 1024

Kind = Literal[
    "answer",  # a good answer, ``content`` or the default one
    "error",  # HTTP status ``status`` with an OpenAI error object
    "reset",  # the connection is torn down before any answer
    "hang",  # nothing is ever sent
    "cut",  # a stream that ends early, but cleanly: no finish reason
    "break",  # a stream whose connection is torn down in the middle
    "stream_error",  # an error object in the middle of a stream
    "malformed",  # a body that is no JSON
    "refusal",  # the model's own refusal
    "empty",  # no choices
]


@dataclass(frozen=True)
class Reply:
    """How to answer one request."""

    kind: Kind = "answer"
    content: str | None = None
    status: int = 200
    code: str | None = None
    finish_reason: str = "stop"
    headers: Mapping[str, str] = field(default_factory=dict)
    usage: bool = True

    @classmethod
    def text(cls, content: str) -> "Reply":
        """Answer with exactly this."""
        return cls(content=content)

    @classmethod
    def error(
        cls, status: int, *, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> "Reply":
        """Answer with an HTTP error."""
        return cls(kind="error", status=status, code=code, headers=headers or {})


@dataclass(frozen=True)
class Call:
    """One request as it came. ``schema`` is the name of the JSON schema asked for."""

    path: str
    authorization: str | None = None
    model: str | None = None
    stream: bool = False
    schema: str | None = None
    temperature: float | None = None
    system: str = ""
    user: str = ""


@dataclass
class Script:
    """What to answer: the queue first, then the first rule whose text is in the prompt."""

    queue: list[Reply] = field(default_factory=list)
    rules: list[tuple[str, Reply]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, call: Call) -> Reply:
        """Count the call and decide about its answer."""
        with self.lock:
            self.calls.append(call)
            if self.queue:
                return self.queue.pop(0)
            prompt = f"{call.system}\n{call.user}\n{call.schema or ''}"
            return next((reply for text, reply in self.rules if text in prompt), Reply())


class ModelServer:
    """The server, in a thread with a loop of its own.

    Args:
        port: Where to listen; 0 picks a free one.
        token_delay: Seconds between two pieces of a stream.
    """

    def __init__(self, port: int = 0, *, token_delay: float = 0.0) -> None:
        self.port = port
        self._token_delay = token_delay
        self._script = Script()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(10):
            raise RuntimeError("the model server did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    @property
    def root_url(self) -> str:
        """Without a path: what ``TAVILY_BASE_URL`` is set to."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What ``OPENAI_BASE_URL`` is set to."""
        return f"{self.root_url}/v1"

    @property
    def calls(self) -> list[Call]:
        """The requests so far, in order of arrival."""
        with self._script.lock:
            return list(self._script.calls)

    @property
    def requests(self) -> int:
        """How many requests came to any path, known or not."""
        with self._script.lock:
            return self._script.requests

    def script(self, *replies: Reply) -> None:
        """Answer the next requests with these, one each."""
        with self._script.lock:
            self._script.queue.extend(replies)

    def rule(self, text: str, reply: Reply) -> None:
        """Answer every request whose prompt, or whose schema's name, holds ``text``."""
        with self._script.lock:
            self._script.rules.append((text, reply))

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        await serve(self._script, self.port, self._token_delay, self._announce, self._stopped)

    def _announce(self, port: int) -> None:
        self.port = port
        self._started.set()


async def serve(
    script: Script,
    port: int,
    token_delay: float,
    announce: Callable[[int], None],
    stopped: asyncio.Event,
) -> None:
    """Serve until ``stopped`` is set, then drop what is still connected."""
    open_connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_connections.add(task)
        try:
            await _Connection(reader, writer, script, token_delay).run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or we are stopping
        finally:
            open_connections.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=_HEAD_LIMIT)
    announce(server.sockets[0].getsockname()[1])
    await stopped.wait()
    server.close()
    for task in list(open_connections):
        task.cancel()
    await asyncio.gather(*open_connections, return_exceptions=True)
    await server.wait_closed()


class _Connection:
    """One client's connection: a request after the other."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        script: Script,
        token_delay: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._script = script
        self._token_delay = token_delay

    async def run(self) -> None:
        while True:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request_line, *lines = head.rstrip("\r\n").split("\r\n")
            method, target, _ = request_line.split(" ", 2)
            headers = {
                k.strip().lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)
            }
            length = min(int(headers.get("content-length", "0")), _MAX_BODY_BYTES)
            body = await self._reader.readexactly(length)
            if not await self._respond(method, target.partition("?")[0], headers, body):
                return

    async def _respond(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> bool:
        """Answer; return whether the connection lives on."""
        with self._script.lock:
            self._script.requests += 1
        if (method, path) == ("GET", "/v1/models"):
            await self._json({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        elif (method, path) == ("GET", "/__calls"):
            await self._json(_describe(self._script))
        elif (method, path) == ("POST", "/__script"):
            _read_script(self._script, json.loads(body))
            await self._json({"ok": True})
        elif (method, path) in {("POST", CHAT_PATH), ("POST", SEARCH_PATH)}:
            request = json.loads(body)
            call = _call_of(path, headers, request)
            return await self._play(self._script.take(call), call, request)
        else:
            await self._json({"error": {"message": "no such path"}}, status=404)
        return True

    async def _play(self, reply: Reply, call: Call, request: Mapping[str, object]) -> bool:
        match reply.kind:
            case "reset":
                self._writer.transport.abort()
                return False
            case "hang":
                await self._reader.read()  # until the client has had enough
                return False
            case "error":
                error = {"message": "scripted error", "type": "scripted", "code": reply.code}
                await self._json({"error": error}, status=reply.status, headers=reply.headers)
                return True
            case "malformed":
                await self._send(200, "application/json", b'{"choices": [', reply.headers)
                return True
            case _ if call.path == SEARCH_PATH:
                await self._json(
                    search_results(call.user)
                    if reply.content is None
                    else json.loads(reply.content)
                )
                return True
            case _ if call.stream:
                return await self._stream(reply, call)
            case _:
                await self._json(_completion(reply, call))
                return True

    async def _stream(self, reply: Reply, call: Call) -> bool:
        self._writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        pieces = pieces_of(_content(reply, call))
        broken = reply.kind in {"cut", "break", "stream_error"}
        for piece in pieces[: len(pieces) // 2] if broken else pieces:
            await self._event(_chunk({"content": piece}))
            if self._token_delay:
                await asyncio.sleep(self._token_delay)
        if reply.kind == "break":
            self._writer.transport.abort()
            return False
        if reply.kind == "stream_error":
            await self._event({"error": {"message": "scripted error", "type": "server_error"}})
        elif reply.kind == "empty":
            await self._event(_chunk(None))
        elif reply.kind == "refusal":
            await self._event(_chunk({"refusal": "I cannot help with that."}))
        if not broken and reply.kind != "empty":
            await self._event(_chunk({}, finish_reason=reply.finish_reason))
        if not broken and reply.usage:
            await self._event(_chunk(None) | {"usage": _usage(call, "".join(pieces))})
        if not broken:
            await self._chunk(b"data: [DONE]\n\n")
        await self._chunk(b"")
        return True

    async def _event(self, data: Mapping[str, object]) -> None:
        await self._chunk(b"data: " + json.dumps(data).encode() + b"\n\n")

    async def _chunk(self, data: bytes) -> None:
        self._writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self._writer.drain()

    async def _json(
        self,
        data: object,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        await self._send(status, "application/json", json.dumps(data).encode(), headers or {})

    async def _send(
        self, status: int, content_type: str, body: bytes, headers: Mapping[str, str]
    ) -> None:
        lines = {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._writer.write(f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + body)
        await self._writer.drain()


def _call_of(path: str, headers: Mapping[str, str], request: Mapping[str, object]) -> Call:
    call = Call(path=path, authorization=headers.get("authorization"))
    if path == SEARCH_PATH:
        return replace(call, user=str(request.get("query", "")))
    messages = _mappings(request.get("messages"))
    response_format = request.get("response_format")
    schema = response_format.get("json_schema") if isinstance(response_format, dict) else None
    temperature = request.get("temperature")
    return replace(
        call,
        model=str(request.get("model")),
        stream=bool(request.get("stream")),
        schema=str(schema.get("name")) if isinstance(schema, dict) else None,
        temperature=float(temperature) if isinstance(temperature, int | float) else None,
        system="\n".join(str(m.get("content")) for m in messages if m.get("role") == "system"),
        user="\n".join(str(m.get("content")) for m in messages if m.get("role") == "user"),
    )


def _mappings(value: object) -> list[Mapping[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _content(reply: Reply, call: Call) -> str:
    if reply.kind in {"refusal", "empty"}:
        return ""
    if reply.content is not None:
        return reply.content
    return article(call.user) if call.schema is None else answer_json(call.schema, call.user)


def _completion(reply: Reply, call: Call) -> dict[str, object]:
    content = _content(reply, call)
    message = {
        "role": "assistant",
        "content": content,
        "refusal": "I cannot help with that." if reply.kind == "refusal" else None,
    }
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [] if reply.kind == "empty" else [choice],
        "usage": _usage(call, content) if reply.usage else None,
    }


def _chunk(
    delta: Mapping[str, object] | None, *, finish_reason: str | None = None
) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": MODEL,
        "choices": [] if delta is None else [choice],
    }


def _usage(call: Call, content: str) -> dict[str, int]:
    prompt, completion = len(f"{call.system} {call.user}".split()), len(content.split())
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _describe(script: Script) -> dict[str, object]:
    with script.lock:
        calls = list(script.calls)
    return {
        "total": len(calls),
        "by_path": dict(Counter(call.path for call in calls)),
        # The key that came in stays in: a test may log this answer.
        "calls": [asdict(replace(call, authorization=None)) for call in calls],
    }


def _read_script(script: Script, data: Mapping[str, object]) -> None:
    """``{"queue": [reply...], "rules": [{"text": ..., "reply": {...}}], "reset": true}``."""
    with script.lock:
        if data.get("reset"):
            script.queue.clear()
            script.rules.clear()
            script.calls.clear()
        script.queue.extend(_replies(data.get("queue")))
        for rule in _mappings(data.get("rules")):
            script.rules.extend(
                (str(rule["text"]), reply) for reply in _replies([rule.get("reply")])
            )


def _replies(value: object) -> Iterator[Reply]:
    for item in _mappings(value):
        yield Reply(**item)  # type: ignore[arg-type]  # a wrong field fails loudly here


async def _main(port: int, token_delay: float) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)

    def announce(chosen: int) -> None:
        sys.stdout.write(f"model server on http://127.0.0.1:{chosen}/v1\n")
        sys.stdout.flush()

    await serve(Script(), port, token_delay, announce, stopped)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument(
        "--token-delay", type=float, default=0.0, help="seconds between two pieces of a stream"
    )
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.port, arguments.token_delay))
