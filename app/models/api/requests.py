"""What clients send. Unknown fields are refused, and types are not bent to fit."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

SessionId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$",
        description="A conversation to go on with, or to begin under this name.",
    ),
]


class ExecuteTaskRequest(BaseModel):
    """A task in plain words."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"task": "Python ile bir dosyayı okuyup yazan kod yaz"},
                {
                    "task": "Write a blog article about the history of the bicycle",
                    "session_id": "df4595b5-34c8-4a05-9e07-c2835c7f20ea",
                    "agent": "content",
                },
            ]
        },
    )

    task: str = Field(
        min_length=1,
        description="What is to be done, in any language; at most TASK_MAX_BYTES bytes of UTF-8.",
    )
    session_id: SessionId | None = None
    agent: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="Type or name of the agent to use, instead of letting the router choose.",
    )

    @field_validator("task")
    @classmethod
    def _is_text(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be blank")
        if "\0" in value:
            raise ValueError("must not contain the character U+0000")
        return value
