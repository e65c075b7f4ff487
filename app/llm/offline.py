"""The model port where no model is configured.

It never pretends: it hands back the outline its caller made, under the model name ``offline``.
"""

import re

from app.llm.client import (
    OFFLINE_MODEL,
    ChatRequest,
    Completion,
    ParsedCompletion,
    Schema,
    TokenSink,
)

_PIECE = re.compile(r"\s*\S+\s*|\s+")


class OfflineClient:
    """Answers every request with the outline given, at no cost and with no I/O."""

    @property
    def is_offline(self) -> bool:
        """Always."""
        return True

    async def complete(
        self,
        request: ChatRequest,  # noqa: ARG002 - there is no model to ask
        *,
        outline: str,
        on_token: TokenSink | None = None,
    ) -> Completion:
        """The outline; word by word to ``on_token``, so that streaming can be tried out too."""
        if on_token is not None:
            for piece in _PIECE.findall(outline):
                await on_token(piece)
        return Completion(text=outline, model=OFFLINE_MODEL)

    async def parse(
        self,
        request: ChatRequest,  # noqa: ARG002 - there is no model to ask
        schema: type[Schema],  # noqa: ARG002 - the outline has it already
        *,
        outline: Schema,
    ) -> ParsedCompletion[Schema]:
        """The outline."""
        return ParsedCompletion(parsed=outline, text=outline.model_dump_json(), model=OFFLINE_MODEL)

    async def check(self) -> bool:
        """Always true: there is no provider that could fail to answer."""
        return True

    async def close(self) -> None:
        """Nothing to let go of."""
