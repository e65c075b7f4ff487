"""Structured logs: JSON lines for machines, readable text on a terminal, no secrets in either."""

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, clear_contextvars
from structlog.typing import FilteringBoundLogger, Processor

from app.core.config import MASK, Settings

__all__ = [
    "FilteringBoundLogger",
    "bind_contextvars",
    "clear_contextvars",
    "configure_logging",
    "get_logger",
    "log_context",
    "mask_url",
]

_SECRET_KEY = re.compile(
    r"(api[-_]?key|authorization|password|passwd|secret|token)$", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://[^/\s:@]*):[^/\s@]+@", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What could drive an operator's terminal; line breaks and tabs are a stack's own."""
_QUERY_KEY = re.compile(r"((?:x-)?api-key=)[^&\s\"']+", re.IGNORECASE)
_NOISY = (
    "httpx",
    "httpx2",
    "httpcore",
    "httpcore2",
    "openai",
    "pymongo",
    "kombu",
    "amqp",
    "asyncio",
    # Its lines hold the whole query, API key included; `request_handled` stands in for them.
    "uvicorn.access",
)
_UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access")


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry ``logger=name``."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


@contextmanager
def log_context(**fields: object) -> Iterator[None]:
    """Put ``fields`` on every line logged inside, in this task and those it starts."""
    with bound_contextvars(**fields):
        yield


def _escape(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"


def mask_url(text: str) -> str:
    """Hide passwords in URLs and API keys in query strings anywhere in ``text``."""
    return _QUERY_KEY.sub(rf"\1{MASK}", _URL_PASSWORD.sub(rf"\g<scheme>:{MASK}@", text))


class SecretMasker:
    """Structlog processor that hides secrets by key name, by URL shape and by known value."""

    def __init__(self, secrets: frozenset[str]) -> None:
        self._secrets = sorted(secrets, key=len, reverse=True)

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        for key, value in event.items():
            event[key] = MASK if value and _SECRET_KEY.search(key) else self._mask(value)
        return event

    def _mask(self, value: object) -> object:
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, MASK)
            return _CONTROL.sub(_escape, mask_url(value))
        if isinstance(value, Mapping):
            return {
                key: MASK if item and _SECRET_KEY.search(str(key)) else self._mask(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._mask(item) for item in value]
        return value


def _known_secrets(settings: Settings) -> frozenset[str]:
    keys = [settings.openai_api_key, settings.tavily_api_key, *settings.api_keys]
    return frozenset(key.get_secret_value() for key in keys if key is not None)


def configure_logging(settings: Settings, *, process: str) -> None:
    """Route structlog and the standard library's logging to stdout in one format.

    Args:
        settings: ``log_level`` and ``log_format`` decide; secrets in it are masked by value.
        process: put on every line, e.g. ``api`` or ``worker``.
    """
    console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stdout.isatty()
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        SecretMasker(_known_secrets(settings)),
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _stamp_process(process),
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _UVICORN:
        # Started from its own command line, uvicorn writes past us.
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _stamp_process(process: str) -> Processor:
    def stamp(
        _logger: object, _method: str, event: MutableMapping[str, object]
    ) -> MutableMapping[str, object]:
        event["process"] = process
        return event

    return stamp
