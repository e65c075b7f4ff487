"""The body of every error response."""

from pydantic import BaseModel, ConfigDict, Field


class ErrorDetail(BaseModel):
    """One thing that is wrong with a request."""

    field: str = Field(description="Where: a path into the body, or a parameter's name.")
    message: str = Field(description="What is wrong with it.")


class ErrorBody(BaseModel):
    """What went wrong."""

    code: str = Field(description="Stable name of the error, to switch on.")
    message: str = Field(description="One sentence for a person.")
    request_id: str | None = Field(
        None, description="Also in the X-Request-Id header and the logs."
    )
    details: list[ErrorDetail] | None = Field(
        None, description="For 422: each wrong field; absent otherwise."
    )


class ErrorResponse(BaseModel):
    """The one shape of errors."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "code": "TASK_NOT_FOUND",
                        "message": "Task 5f0c… was not found.",
                        "request_id": "0d9a0c7e-8f55-4e0c-8f0b-0f4f5a3f3c52",
                    }
                }
            ]
        }
    )

    error: ErrorBody
