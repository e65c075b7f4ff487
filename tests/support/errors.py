"""The one shape of error responses."""

from typing import Any

import httpx2


def error_of(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The error in a response, once everything that all errors share is checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) - {"details"} == {"code", "message", "request_id"}
    assert error["code"] == code
    assert error["message"]
    assert error["request_id"] == response.headers["x-request-id"]
    return error
