"""Bad input: a clear 4xx in the one shape, and nothing stored."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from tests.integration.conftest import make_settings
from tests.support.api_server import running_api
from tests.support.errors import error_of
from tests.support.store_file import count_documents
from tests.support.valkey import ValkeyServer

ENDPOINT = "/v1/agent/execute"
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class ApiUnderTest:
    """An API that the tests of this module share: they leave nothing behind, as they check."""

    client: httpx2.Client
    store: Path

    def count(self) -> dict[str, int]:
        """How many documents each collection holds."""
        return count_documents(self.store)


@pytest.fixture(scope="module")
def api(
    tmp_path_factory: pytest.TempPathFactory, shared_valkey: ValkeyServer
) -> Iterator[ApiUnderTest]:
    settings = make_settings(tmp_path_factory.mktemp("api"), shared_valkey.url)
    with running_api(settings) as url, httpx2.Client(base_url=url, timeout=15) as client:
        # With a document in every collection that accepting touches, an update would show too.
        accepted = client.post(ENDPOINT, json={"task": "write a poem", "session_id": "known"})
        assert accepted.status_code == 200
        yield ApiUnderTest(client, settings.sqlite_path)


def with_task(**fields: object) -> bytes:
    return json.dumps({"task": "write a poem", **fields}).encode()


BAD_BODIES: dict[str, tuple[bytes, str, str]] = {
    "empty task": (b'{"task": ""}', "body.task", "at least 1 character"),
    "blank task": (b'{"task": " \\n\\t\\u00a0\\u2003 "}', "body.task", "must not be blank"),
    "missing task": (b'{"session_id": "s"}', "body.task", "required"),
    "null task": (b'{"task": null}', "body.task", "valid string"),
    "number for a task": (b'{"task": 5}', "body.task", "valid string"),
    "list for a task": (b'{"task": ["write a poem"]}', "body.task", "valid string"),
    "object for a task": (b'{"task": {"$ne": 1}}', "body.task", "valid string"),
    "not a number": (b'{"task": NaN}', "body.task", "valid string"),
    "NUL in the task": (b'{"task": "a\\u0000b"}', "body.task", "U+0000"),
    "lone surrogate": (b'{"task": "a\\ud800b"}', "body.task", "unicode"),
    "surrogates in the wrong order": (b'{"task": "\\udc00\\ud800"}', "body.task", "unicode"),
    "unknown field": (with_task(priority=1), "body.priority", "not permitted"),
    "misspelt field": (with_task(sesion_id="s"), "body.sesion_id", "not permitted"),
    "field that only documents have": (with_task(owner_id="x"), "body.owner_id", "not permitted"),
    "lone surrogate in a field's name": (with_task(**{"\ud800": 1}), "body", "unicode"),
    "number for a session": (with_task(session_id=5), "body.session_id", "valid string"),
    "empty session": (with_task(session_id=""), "body.session_id", "at least 1"),
    "session with a space": (with_task(session_id="a b"), "body.session_id", "match"),
    "session with a newline": (with_task(session_id="ab\n"), "body.session_id", "match"),
    "session with NUL": (with_task(session_id="a\0"), "body.session_id", "match"),
    "session with a slash": (with_task(session_id="a/../b"), "body.session_id", "match"),
    "session that looks like an operator": (
        with_task(session_id="$ne"),
        "body.session_id",
        "match",
    ),
    "session of 129 characters": (with_task(session_id="a" * 129), "body.session_id", "at most"),
    "unknown agent": (with_task(agent="weather"), "body.agent", "must be one of content, code"),
    "empty agent": (with_task(agent=""), "body.agent", "at least 1"),
    "blank agent": (with_task(agent=" "), "body.agent", "must be one of content, code"),
    "the router as an agent": (with_task(agent="PeerAgent"), "body.agent", "must be one of"),
    "number for an agent": (with_task(agent=1), "body.agent", "valid string"),
    "no body": (b"", "body", "required"),
    "broken JSON": (b'{"task": "write', "body", "not valid JSON"),
    "two documents": (b'{"task": "a"}{"task": "b"}', "body", "not valid JSON"),
    "no UTF-8": (b'{"task": "\xff\xfe\xfa"}', "body", "not valid JSON"),
    "endless nesting": (b"[" * 100_000, "body", "not valid JSON"),
    "endless number": (b'{"task": ' + b"1" * 10_000 + b"}", "body", "not valid JSON"),
    "a list": (b'[{"task": "write a poem"}]', "body", "must be a JSON object"),
    "a string": (b'"write a poem"', "body", "must be a JSON object"),
    "null": (b"null", "body", "must be a JSON object"),
}


@pytest.mark.parametrize(("body", "field", "hint"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_body_that_is_wrong_is_refused_and_nothing_is_stored(
    api: ApiUnderTest, body: bytes, field: str, hint: str
) -> None:
    before = api.count()
    response = api.client.post(ENDPOINT, content=body, headers=JSON)
    error = error_of(response, 422, "VALIDATION_ERROR")
    assert field in error["message"]
    assert hint in error["message"]
    assert api.count() == before


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 32_769, id="one byte too many"),
        pytest.param("x" * 32_767 + "ş", id="as many characters as bytes are allowed"),
        pytest.param("🚲" * 8_193, id="few characters of many bytes"),
    ],
)
def test_the_limit_of_a_task_counts_bytes(api: ApiUnderTest, text: str) -> None:
    before = api.count()
    error = error_of(api.client.post(ENDPOINT, json={"task": text}), 422, "VALIDATION_ERROR")
    assert error["message"] == "body.task: must not be longer than 32768 bytes"
    assert api.count() == before


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "nonsense",
        None,
    ],
)
def test_a_body_that_is_not_declared_as_json_is_refused(
    api: ApiUnderTest, content_type: str | None
) -> None:
    # This is also what keeps a foreign web page from posting tasks through a browser.
    before = api.count()
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = api.client.post(ENDPOINT, content=b'{"task": "write a poem"}', headers=headers)
    error = error_of(response, 422, "VALIDATION_ERROR")
    assert error["message"] == "body: must be a JSON object, sent as application/json"
    assert api.count() == before


def test_every_wrong_field_is_named(api: ApiUnderTest) -> None:
    response = api.client.post(ENDPOINT, json={"task": "", "agent": 1, "color": "red"})
    error = error_of(response, 422, "VALIDATION_ERROR")
    named = {detail["field"]: detail["message"] for detail in error["details"]}
    assert set(named) == {"body.task", "body.agent", "body.color"}
    assert all(f"{field}: {message}" in error["message"] for field, message in named.items())


def test_what_was_sent_is_not_echoed(api: ApiUnderTest) -> None:
    response = api.client.post(ENDPOINT, json={"task": ["s3cret"], "agent": {"key": "s3cret"}})
    error_of(response, 422, "VALIDATION_ERROR")
    assert "s3cret" not in response.text


def test_an_answer_stays_small_however_much_is_wrong(api: ApiUnderTest) -> None:
    many = {f"{number}{'x' * 1000}": 1 for number in range(200)}
    response = api.client.post(ENDPOINT, json=many)
    error_of(response, 422, "VALIDATION_ERROR")
    assert len(response.content) < 10_000


class TestBodiesOverTheLimit:
    """256 KiB, announced or not."""

    def test_the_largest_body_is_read(self, api: ApiUnderTest) -> None:
        body = b'{"task": 5}'.ljust(262_144)
        error_of(api.client.post(ENDPOINT, content=body, headers=JSON), 422, "VALIDATION_ERROR")

    @pytest.mark.parametrize("size", [262_145, 20_000_000])
    def test_an_announced_body_is_refused(self, api: ApiUnderTest, size: int) -> None:
        before = api.count()
        body = b'{"task": "write a poem"}'.ljust(size)
        refused = api.client.post(ENDPOINT, content=body, headers=JSON)
        error = error_of(refused, 413, "REQUEST_TOO_LARGE")
        assert "262144 bytes" in error["message"]
        assert api.count() == before

    @pytest.mark.parametrize("pieces", [27, 2_000])
    def test_a_body_in_chunks_of_unknown_number_is_refused(
        self, api: ApiUnderTest, pieces: int
    ) -> None:
        before = api.count()

        def body() -> Iterator[bytes]:
            yield b'{"task": "write a poem"}'
            for _ in range(pieces):
                yield b" " * 10_000

        refused = api.client.post(ENDPOINT, content=body(), headers=JSON)
        assert "content-length" not in refused.request.headers
        error_of(refused, 413, "REQUEST_TOO_LARGE")
        assert api.count() == before

    def test_a_small_body_in_chunks_is_taken(self, api: ApiUnderTest) -> None:
        chunks = (piece.encode() for piece in ('{"ta', 'sk": 5', "}"))
        error_of(api.client.post(ENDPOINT, content=chunks, headers=JSON), 422, "VALIDATION_ERROR")

    def test_the_limit_holds_for_every_method_and_path(self, api: ApiUnderTest) -> None:
        body = b" " * 300_000
        for method, path in (("GET", "/v1/tasks"), ("PUT", "/v1/tasks"), ("POST", "/nowhere")):
            refused = api.client.request(method, path, content=body)
            error_of(refused, 413, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize("suffix", ["", "/events"])
@pytest.mark.parametrize(
    "task_id",
    ["nope", "1", "e2f9d474-0a6b-4a3b-8df2-1e1a4f6b6c8", "%00", "%F0%9F%9A%B2", "a" * 5000, "$ne"],
)
def test_a_malformed_task_id_is_refused(api: ApiUnderTest, task_id: str, suffix: str) -> None:
    error = error_of(api.client.get(f"/v1/tasks/{task_id}{suffix}"), 422, "VALIDATION_ERROR")
    assert error["message"].startswith("path.task_id: input should be a valid UUID")


@pytest.mark.parametrize("suffix", ["", "/events"])
def test_a_task_that_is_not_there_is_not_found(api: ApiUnderTest, suffix: str) -> None:
    task_id = uuid4()
    error = error_of(api.client.get(f"/v1/tasks/{task_id}{suffix}"), 404, "TASK_NOT_FOUND")
    assert error["message"] == f"Task {task_id} was not found."


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "query.status"),
        ("status=", "query.status"),
        ("status=COMPLETED", "query.status"),
        ("agent_type=" + "a" * 65, "query.agent_type"),
        ("session_id=a%20b", "query.session_id"),
        ("session_id=%00", "query.session_id"),
        ("session_id=" + "a" * 129, "query.session_id"),
        ("page=0", "query.page"),
        ("page=-1", "query.page"),
        ("page=x", "query.page"),
        ("page=1.5", "query.page"),
        ("page=", "query.page"),
        ("page=1000001", "query.page"),
        ("page=" + "9" * 30, "query.page"),
        ("page_size=0", "query.page_size"),
        ("page_size=101", "query.page_size"),
        ("page_size=x", "query.page_size"),
    ],
)
def test_a_listing_refuses_what_it_does_not_know(api: ApiUnderTest, query: str, field: str) -> None:
    error = error_of(api.client.get(f"/v1/tasks?{query}"), 422, "VALIDATION_ERROR")
    assert error["message"].startswith(f"{field}: ")


@pytest.mark.parametrize("agent_type", ["%00", "$ne", "%F0%9F%9A%B2", "%ff", "' OR 1=1 --"])
def test_an_odd_filter_finds_nothing(api: ApiUnderTest, agent_type: str) -> None:
    response = api.client.get(f"/v1/tasks?agent_type={agent_type}")
    assert (response.status_code, response.json()) == (200, [])
