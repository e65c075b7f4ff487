"""The one error tree.

Every error that may reach a client or decide about a retry is an ``AppError``. It is read at two
edges only: ``app.api.errors`` turns it into an HTTP response, ``app.services.execution`` decides
from ``retryable`` whether the attempt may be repeated.
"""

from typing import ClassVar


class AppError(Exception):
    """Base of all errors with a meaning outside the module that raises them.

    ``code`` is the stable, upper-case name clients may switch on; ``http_status`` is used when the
    error ends a request; ``retryable`` says whether the same work may succeed if tried again.
    """

    code: ClassVar[str] = "INTERNAL_ERROR"
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigurationError(AppError):
    """The environment holds a value the program cannot start with. The message is one line."""

    code = "CONFIGURATION_ERROR"


class AuthenticationError(AppError):
    """No API key, or one that is not known. The code is the reference contract's."""

    code = "HTTP_ERROR"
    http_status = 401


class InvalidRequestError(AppError):
    """The request is well-formed, but one of its values cannot be used."""

    code = "VALIDATION_ERROR"
    http_status = 422


class TaskNotFoundError(AppError):
    """No such task, or one of another owner: the two are not told apart."""

    code = "TASK_NOT_FOUND"
    http_status = 404


class SessionNotFoundError(AppError):
    """The session belongs to another owner."""

    code = "SESSION_NOT_FOUND"
    http_status = 404


class StoreUnavailableError(AppError):
    """The store did not answer in time or refused the operation for a passing reason."""

    code = "STORE_UNAVAILABLE"
    http_status = 503
    retryable = True


class EventBusUnavailableError(AppError):
    """Redis did not answer; nothing that is stored depends on it."""

    code = "EVENT_BUS_UNAVAILABLE"
    http_status = 503
    retryable = True


class UnknownTaskTypeError(AppError):
    """The router found no agent for the task, or was not confident enough."""

    code = "UNKNOWN_TASK_TYPE"
    http_status = 422


class TaskDeadlineExceededError(AppError):
    """The task's overall deadline passed before it ended."""

    code = "DEADLINE_EXCEEDED"
    http_status = 504


class AttemptsExhaustedError(AppError):
    """Every allowed attempt was used, and the last ended with the loss of its worker."""

    code = "ATTEMPTS_EXHAUSTED"


class LLMError(AppError):
    """The model provider failed in a way that another attempt will not mend."""

    code = "LLM_ERROR"
    http_status = 502


class LLMUnavailableError(LLMError):
    """Timeout, connection failure, rate limit or server error of the model provider."""

    code = "LLM_UNAVAILABLE"
    http_status = 503
    retryable = True


class LLMResponseError(LLMError):
    """The model answered with something that cannot be used: empty, cut short or off-schema."""

    code = "LLM_INVALID_RESPONSE"
    retryable = True


class LLMRefusalError(LLMError):
    """The model, or its provider's content filter, declined to answer."""

    code = "LLM_REFUSED"


class SearchUnavailableError(AppError):
    """The web search provider failed; the caller decides whether to go on without it."""

    code = "SEARCH_UNAVAILABLE"
    http_status = 503
    retryable = True
