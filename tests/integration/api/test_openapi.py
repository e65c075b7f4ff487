"""The OpenAPI document: complete, and the same in the repository as on the wire."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

ROOT = Path(__file__).parents[3]
OPERATIONS = {
    ("/v1/agent/execute", "post"): "executeTask",
    ("/v1/tasks", "get"): "listTasks",
    ("/v1/tasks/{task_id}", "get"): "getTask",
    ("/v1/tasks/{task_id}/events", "get"): "streamTaskEvents",
    ("/v1/system/metrics", "get"): "getSystemMetrics",
    ("/health", "get"): "getHealth",
    ("/health/live", "get"): "getLiveness",
    ("/health/ready", "get"): "getReadiness",
    ("/metrics", "get"): "getPrometheusMetrics",
}
KEYED = {"executeTask", "listTasks", "getTask", "streamTaskEvents", "getSystemMetrics"}
ERROR_STATUSES = {"401", "404", "405", "413", "422", "500", "503"}


def load() -> dict[str, Any]:
    text = (ROOT / "docs" / "openapi.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def operations() -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for path, item in load()["paths"].items():
        for method, operation in item.items():
            yield (path, method), operation


async def test_the_document_served_is_the_one_in_the_repository(
    client: httpx2.AsyncClient,
) -> None:
    assert (await client.get("/openapi.json")).json() == load()


def test_generated_files_are_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, "scripts/generate.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_every_operation_has_an_id_of_its_own() -> None:
    found = {place: operation["operationId"] for place, operation in operations()}
    assert found == OPERATIONS
    assert len(set(found.values())) == len(found)


def test_every_operation_says_what_it_does() -> None:
    for _, operation in operations():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]


def test_every_operation_documents_its_errors_in_the_one_shape() -> None:
    shape = {"$ref": "#/components/schemas/ErrorResponse"}
    for _, operation in operations():
        assert set(operation["responses"]) >= ERROR_STATUSES
        for status in ERROR_STATUSES:
            content = operation["responses"][status].get("content", {})
            is_probe = operation["operationId"] in {"getHealth", "getReadiness"}
            if status == "503" and is_probe:
                continue
            assert content["application/json"]["schema"] == shape


def test_operations_that_need_a_key_say_so_and_the_others_do_not() -> None:
    assert {
        operation["operationId"] for _, operation in operations() if operation.get("security")
    } == KEYED
    [scheme] = load()["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "X-API-Key")


def test_the_task_to_be_posted_has_examples() -> None:
    schema = load()["components"]["schemas"]["ExecuteTaskRequest"]
    assert schema["required"] == ["task"]
    assert schema["additionalProperties"] is False
    assert all("task" in example for example in schema["examples"])


def test_the_event_stream_is_described_with_the_data_of_its_messages() -> None:
    stream = load()["paths"]["/v1/tasks/{task_id}/events"]["get"]
    assert {"200", "204"} <= set(stream["responses"])
    content = stream["responses"]["200"]["content"]
    assert set(content) == {"text/event-stream"}
    described = content["text/event-stream"]
    assert set(described["schema"]["x-event-data"]) == {"message", "token", "step"}
    assert described["example"].startswith("retry: ")
    parameters = {(item["in"], item["name"]) for item in stream["parameters"]}
    assert parameters == {
        ("path", "task_id"),
        ("query", "X-API-Key"),
        ("query", "last_event_id"),
        ("header", "last-event-id"),
    }


@pytest.mark.parametrize("path", ["/v1/agent/execute", "/v1/tasks", "/v1/tasks/{task_id}"])
def test_success_has_a_schema(path: str) -> None:
    [operation] = load()["paths"][path].values()
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]
