"""A session: tasks of one conversation, all of one owner."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class SessionMetadata(BaseModel):
    """Who opened the session, as far as known."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    user_id: str | None = None
    ip: str | None = None


class Session(BaseModel):
    """One document of ``sessions``; ``_id`` equals ``session_id``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    session_id: str
    owner_id: str | None = None
    created_at: datetime
    updated_at: datetime
    metadata: SessionMetadata = SessionMetadata()
    last_task_id: str | None = None
    schema_version: Literal[1] = 1
