"""Keeps the tracer that LangGraph brings along quiet, unless the operator wants it.

LangSmith uploads prompts and answers when variables of its own say so. Its older names may be left
over from other projects on the same machine, so only the documented one counts here.
"""

import os
from contextlib import AbstractContextManager

from langsmith import tracing_context

from app.core.errors import ConfigurationError

TRACING_VARIABLE = "LANGSMITH_TRACING"
_OBSOLETE_VARIABLES = ("LANGCHAIN_TRACING", "LANGCHAIN_HANDLER")
_OFF = frozenset({"", "0", "false", "False"})


def allowed_tracing() -> AbstractContextManager[None]:
    """Traces what runs inside if ``LANGSMITH_TRACING`` is ``true``, else nothing."""
    return tracing_context(enabled=_wanted())


def check_tracing_variables() -> None:
    """Refuse what LangGraph would refuse only later, in every single task.

    Raises:
        ConfigurationError: a variable of the tracer's first version is set.
    """
    for name in _OBSOLETE_VARIABLES:
        if os.environ.get(name, "") not in _OFF and not _wanted():
            raise ConfigurationError(
                f"{name} is set, which LangGraph no longer supports: unset it "
                f"(traces are asked for with {TRACING_VARIABLE}=true)"
            )


def _wanted() -> bool:
    return os.environ.get(TRACING_VARIABLE, "").casefold() == "true"
