"""The conversation of a session."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

MessageRole = Literal["user", "system", "assistant", "tool"]


class Message(BaseModel):
    """One document of ``messages``; ``_id`` is ``{task_id}:{role}``, so a retry adds nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    message_id: str
    session_id: str | None
    task_id: str
    role: MessageRole
    agent_name: str | None = None
    content: str
    created_at: datetime
    schema_version: Literal[1] = 1
