"""``orchestrator submit`` against an API that is a function."""

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping

import httpx2
import pytest

from app.client.api import ApiClient, open_http_client
from app.client.submit import submit_task
from app.client.wire import TaskRequest
from app.core.errors import ConfigurationError

TASK_ID = "0b5f3c8e-0000-4000-8000-000000000000"
ACCEPTED = {"task_id": TASK_ID, "session_id": "s", "status": "queued", "api_version": "v1"}

Stream = Iterable[bytes] | int
"""The chunks of one connection, or the status of an answer without any."""


def status(event_id: str, name: str) -> bytes:
    return f'id: {event_id}\ndata: {{"task_id":"{TASK_ID}","status":"{name}"}}\n\n'.encode()


def token(event_id: str, text: str) -> bytes:
    return f"id: {event_id}\nevent: token\ndata: {json.dumps({'text': text})}\n\n".encode()


def broken_after(*chunks: bytes) -> Iterator[bytes]:
    yield from chunks
    raise httpx2.ReadError("connection reset by peer")


def completed(raw_output: str) -> dict[str, object]:
    result = {"summary": "s", "raw_output": raw_output, "model": "offline", "citations": []}
    return {"task_id": TASK_ID, "status": "completed", "selected_agent": "CodeAgent",
            "result": result, "error": None}  # fmt: skip


class Api:
    """Serves one task: each connection to its events takes the next stream."""

    def __init__(
        self, *streams: Stream, tasks: Iterable[Mapping[str, object] | int] = (completed("x"),)
    ) -> None:
        self.submitted: list[dict[str, str]] = []
        self.resumed_from: list[str | None] = []
        self.waits: list[float] = []
        self._streams = list(streams)
        self._tasks = list(tasks)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            self.submitted.append(json.loads(request.content))
            return httpx2.Response(202, json=ACCEPTED)
        if request.url.path.endswith("/events"):
            self.resumed_from.append(request.headers.get("Last-Event-ID"))
            stream = self._streams.pop(0)
            if isinstance(stream, int):
                return httpx2.Response(stream)
            return httpx2.Response(200, content=iter(stream))
        task = self._tasks.pop(0) if len(self._tasks) > 1 else self._tasks[0]
        return httpx2.Response(task) if isinstance(task, int) else httpx2.Response(200, json=task)


Handler = Callable[[httpx2.Request], httpx2.Response]


def submit(
    handler: Handler,
    *,
    follow: bool = True,
    as_json: bool = False,
    request: TaskRequest | None = None,
) -> tuple[int, str, str]:
    out, log = io.StringIO(), io.StringIO()
    sleep = handler.waits.append if isinstance(handler, Api) else (lambda _seconds: None)
    with httpx2.Client(transport=httpx2.MockTransport(handler), base_url="http://api") as http:
        code = submit_task(
            ApiClient(http, sleep),
            request or TaskRequest(task="write code"),
            follow=follow,
            as_json=as_json,
            out=out,
            log=log,
        )
    return code, out.getvalue(), log.getvalue()


def test_only_what_was_asked_for_is_sent() -> None:
    api = Api()

    submit(api, follow=False, request=TaskRequest(task="t", agent="CodeAgent"))

    assert api.submitted == [{"task": "t", "agent": "CodeAgent"}]


def test_without_follow_the_task_and_how_to_follow_it_are_told() -> None:
    code, out, _ = submit(Api(), follow=False)

    assert code == 0
    assert TASK_ID in out
    assert f"curl -N http://api/v1/tasks/{TASK_ID}/events" in out


def test_json_without_follow_is_the_acceptance_on_one_line() -> None:
    code, out, log = submit(Api(), follow=False, as_json=True)

    assert (code, json.loads(out), log) == (0, ACCEPTED, "")
    assert out.count("\n") == 1


def test_tokens_are_shown_as_they_come_and_the_same_result_is_not_repeated() -> None:
    step = b'event: step\ndata: {"name":"task_classified","agent_name":"CodeAgent"}\n\n'
    stream = [status("1-0", "queued"), status("2-0", "processing"), step,
              token("2-1", "print("), token("2-2", "1)"), status("3-0", "completed")]  # fmt: skip

    code, out, log = submit(Api(stream, tasks=[completed("print(1)")]))

    assert (code, out) == (0, "print(1)\n")
    assert [line.strip() for line in log.splitlines()] == [
        f"task {TASK_ID}",
        "queued",
        "processing",
        "task classified: CodeAgent",
        "completed by CodeAgent (offline)",
    ]


def test_a_result_that_differs_from_the_tokens_follows_them() -> None:
    stream = [token("2-1", '{"code": 1}'), status("3-0", "completed")]

    _, out, _ = submit(Api(stream, tasks=[completed("### Code")]))

    assert out == '{"code": 1}\n\n### Code\n'


def test_tokens_of_an_attempt_that_was_given_up_do_not_count_as_the_answer() -> None:
    stream = [token("2-1", "half an ans"), status("3-0", "queued"), status("4-0", "processing"),
              token("4-1", "answer"), status("5-0", "completed")]  # fmt: skip

    _, out, _ = submit(Api(stream, tasks=[completed("answer")]))

    assert out == "half an ans\nanswer\n"


def test_json_with_follow_is_the_final_task_and_nothing_else() -> None:
    stream = [token("2-1", "text"), status("3-0", "completed")]

    code, out, log = submit(Api(stream), as_json=True)

    assert (code, json.loads(out), log) == (0, completed("x"), "")


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_task_that_does_not_complete_gives_exit_code_1_and_its_reason(end: str) -> None:
    error = {"type": "UnknownTaskTypeError", "message": "no agent fits"}
    task = {"task_id": TASK_ID, "status": end, "result": None, "error": error}

    code, _, log = submit(Api([status("3-0", end)], tasks=[task]))

    assert code == 1
    assert f"{end}: UnknownTaskTypeError: no agent fits" in log


def test_a_dropped_stream_is_resumed_after_the_last_event_seen() -> None:
    first = broken_after(b"retry: 1500\n\n", status("2-0", "processing"), token("2-1", "a"))
    second = [token("2-2", "b"), status("3-0", "completed")]
    api = Api(first, second, tasks=[completed("ab")])

    code, out, _ = submit(api)

    assert (code, out) == (0, "ab\n")
    assert api.resumed_from == [None, "2-1"]
    assert api.waits == [1.5]


def test_a_stream_that_ends_early_is_resumed_too() -> None:
    api = Api([status("1-0", "queued")], 503, [status("2-0", "completed")])

    code, _, _ = submit(api)

    assert code == 0
    assert api.resumed_from == [None, "1-0", "1-0"]


def test_204_means_that_the_task_document_has_the_rest() -> None:
    code, out, _ = submit(Api(204, tasks=[completed("answer")]))

    assert (code, out) == (0, "answer\n")


def test_the_task_is_polled_until_it_has_ended() -> None:
    processing = {"task_id": TASK_ID, "status": "processing"}

    code, _, _ = submit(Api(204, tasks=[processing, 503, processing, completed("x")]))

    assert code == 0


def test_an_api_that_stays_away_is_given_up_with_one_line() -> None:
    code, out, log = submit(Api(*[503] * 100))

    assert (code, out) == (2, "")
    assert log.splitlines()[-1].startswith("orchestrator: lost the event stream of http://api: 503")
    assert log.endswith(f"(the task {TASK_ID} goes on)\n")


def refuse(_request: httpx2.Request) -> httpx2.Response:
    problem = {"code": "HTTP_ERROR", "message": "Missing API key.", "request_id": "r-1"}
    return httpx2.Response(401, json={"error": problem})


def serve_html(_request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, html="<h1>It works!</h1>")


def fail_as_a_proxy_does(_request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(502, html="<h1>Bad gateway</h1>")


def drop_connection(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("Connection refused", request=request)


def say_nothing(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ReadTimeout("", request=request)


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (refuse, "401 Unauthorized: Missing API key. [HTTP_ERROR] (request r-1)"),
        (serve_html, "the answer is not the orchestrator's; does --url point at its API?"),
        (fail_as_a_proxy_does, "502 Bad Gateway from http://api/v1/agent/execute"),
        (drop_connection,
         "cannot reach http://api: Connection refused; is it running (orchestrator up)?"),
        (say_nothing, "no answer from http://api: ReadTimeout"),
    ],
)  # fmt: skip
def test_a_problem_is_one_line_and_exit_code_2(handler: Handler, message: str) -> None:
    assert submit(handler) == (2, "", f"orchestrator: {message}\n")


def test_a_refused_stream_is_not_tried_again() -> None:
    code, _, log = submit(Api(404))

    assert code == 2
    assert "404 Not Found" in log


def test_control_characters_of_an_answer_do_not_reach_the_terminal() -> None:
    answer = "a\x1b]0;title\x07b\r\nc\td\x9b31m"

    _, out, _ = submit(Api([token("2-1", answer), status("3-0", "completed")],
                           tasks=[completed(answer)]))  # fmt: skip

    assert out == "a]0;titleb\nc\td31m\n"


def test_ctrl_c_leaves_the_task_running_and_says_so() -> None:
    def interrupted(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return httpx2.Response(202, json=ACCEPTED)
        raise KeyboardInterrupt

    code, _, log = submit(interrupted)

    assert code == 130
    assert f"the task {TASK_ID} goes on without us" in log


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "http://[::1"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must be an http"), open_http_client(url, None):
        pass


def test_the_key_goes_into_a_header() -> None:
    with open_http_client("https://api.example", "secret") as http:
        assert http.headers["X-API-Key"] == "secret"
