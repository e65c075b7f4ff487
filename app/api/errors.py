"""Errors as responses: one shape for every status, with the request's id."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from structlog.contextvars import get_contextvars

from app.core.errors import AppError, StoreUnavailableError
from app.core.logging import get_logger
from app.models.api.errors import ErrorBody, ErrorDetail, ErrorResponse

logger = get_logger("errors")

STORE_RETRY_AFTER_SECONDS = 2
_FRAMEWORK_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}
MAX_DETAILS = 20
MAX_FIELD_LENGTH = 128
NOT_JSON = ErrorDetail(field="body", message="is not valid JSON")


def error_response(
    status: int,
    code: str,
    message: str,
    *,
    details: Sequence[ErrorDetail] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The response for an error; it carries the id of the request being handled."""
    body = ErrorResponse(
        error=ErrorBody(
            code=code,
            message=message,
            request_id=get_contextvars().get("request_id"),
            details=list(details) if details else None,
        )
    )
    return JSONResponse(body.model_dump(exclude_none=True), status_code=status, headers=headers)


def install_error_handlers(app: FastAPI) -> None:
    """Answer every exception in our shape."""
    app.add_exception_handler(AppError, _handle_app_error)
    app.add_exception_handler(RequestValidationError, _handle_invalid_request)
    app.add_exception_handler(HTTPException, _handle_http_exception)


def internal_error_response() -> JSONResponse:
    """The answer to a fault of ours; what it was is in the log only."""
    return error_response(500, "INTERNAL_ERROR", "Something went wrong on our side.")


async def _handle_app_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, AppError):
        raise error
    if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request_failed", code=error.code, error=error.message)
    headers = {}
    if isinstance(error, StoreUnavailableError):
        headers["Retry-After"] = str(STORE_RETRY_AFTER_SECONDS)
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "ApiKey"
    return error_response(error.http_status, error.code, error.message, headers=headers)


async def _handle_invalid_request(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    # A body may have thousands of unknown fields with names as long as itself.
    return _validation_error([_detail(item) for item in error.errors()[:MAX_DETAILS]])


def _validation_error(details: Sequence[ErrorDetail]) -> JSONResponse:
    message = "; ".join(f"{detail.field}: {detail.message}" for detail in details[:3])
    return error_response(422, "VALIDATION_ERROR", message, details=details)


def _detail(item: Mapping[str, Any]) -> ErrorDetail:
    # The input itself is left out: it may be large, and it may be a secret.
    if item["type"] == "json_invalid":
        return NOT_JSON
    if item["type"] == "model_attributes_type":
        return ErrorDetail(field="body", message="must be a JSON object, sent as application/json")
    place = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    return ErrorDetail(field=place[:MAX_FIELD_LENGTH], message=message[:1].lower() + message[1:])


async def _handle_http_exception(_request: Request, error: Exception) -> JSONResponse:
    # Raised by the framework only: no such route, no such method, a body that cannot be read.
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.BAD_REQUEST:
        # Not even the JSON parser got through: no UTF-8, or nested beyond all measure.
        return _validation_error([NOT_JSON])
    # By our own names: those of HTTPStatus differ between versions of Python.
    code = _FRAMEWORK_CODES.get(status.value, "HTTP_ERROR")
    return error_response(status.value, code, f"{status.phrase}.", headers=error.headers)
