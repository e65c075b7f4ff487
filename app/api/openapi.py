"""What the OpenAPI document says beyond the routes themselves."""

from typing import Any

from app.models.api.errors import ErrorResponse

DESCRIPTION = """Post a task in plain words; an LLM router hands it to the agent that fits, a worker
does it, and you watch it happen.

A task that was accepted is durable and ends as `completed`, `failed` or `cancelled`, whatever dies
meanwhile. Every error has the same shape and carries the request's id.
"""

COMMON_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": description}
    for status, description in {
        401: "No API key, or one that is not known.",
        404: "No such thing, or another owner's.",
        405: "The path has no such method.",
        413: "The body is over REQUEST_MAX_BYTES.",
        422: "The request is not as described here.",
        500: "A fault of ours; the log has it under the request's id.",
        503: "The store does not answer; what was asked may or may not have been done.",
    }.items()
}
