"""Business events worth keeping in the store beside what goes to stdout."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

LogLevel = Literal["DEBUG", "INFO", "WARN", "ERROR"]


class LogEntry(BaseModel):
    """One document of ``logs``. ``context`` holds ids: task, session, agent, request, endpoint."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    timestamp: datetime
    level: LogLevel
    message: str
    context: dict[str, str | int | None]
    schema_version: Literal[1] = 1
