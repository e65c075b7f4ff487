"""The model port over any OpenAI-compatible server, by chat completions.

Nothing a server says is trusted to be well formed, and nothing it says about keys is repeated: an
error's message holds a status, a short code and, where it helps an operator, the server's own
sentence with the key cut out.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import openai
from openai import AsyncOpenAI, omit
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam
from pydantic import BaseModel, ValidationError

from app.core.config import MASK
from app.core.errors import LLMError, LLMRefusalError, LLMResponseError, LLMUnavailableError
from app.llm.client import (
    ChatMessage,
    ChatRequest,
    Completion,
    ParsedCompletion,
    Schema,
    TokenSink,
)
from app.models.domain.agent_run import TokenUsage

CONNECT_TIMEOUT_SECONDS = 10.0
CHECK_TIMEOUT_SECONDS = 2.0
_SHOWN_CHARACTERS = 200
_PLAIN_CODE = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_EXPLAINED_STATUSES = frozenset({400, 404, 413, 422})
"""Of these the server's sentence is shown: it names a wrong model or a prompt that is too long."""
_PASSING_STATUSES = frozenset({408, 409, 425, 429})
_MAX_JSON_STARTS = 64
_CUT = "cut"
"""Our own finish reason, for a stream that ended without one."""


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class _Answer(BaseModel):
    """What we need of a chat completion; servers differ in the rest."""

    choices: list[_Choice] = []
    model: str | None = None
    usage: _Usage | None = None


@dataclass(frozen=True)
class _Delta:
    """What one chunk of a stream adds; the chunk with the usage adds no text."""

    text: str
    refusal: str
    finish_reason: str | None
    model: str | None
    usage: TokenUsage | None


class OpenAIClient:
    """Asks a chat-completions server. One per process; safe for concurrent calls.

    Args:
        api_key: Sent as the bearer token.
        base_url: The server; ``None`` is OpenAI itself.
        timeout_seconds: Longest silence within one call.
        max_retries: Repeats of a call after a passing failure, with the SDK's backoff, which
            honours ``Retry-After``. A stream that has begun is never repeated.
    """

    def __init__(
        self, *, api_key: str, base_url: str | None, timeout_seconds: float, max_retries: int
    ) -> None:
        self._api_key = api_key
        self._client = AsyncOpenAI(
            api_key=api_key,
            base_url=base_url,
            timeout=openai.Timeout(
                timeout_seconds, connect=min(timeout_seconds, CONNECT_TIMEOUT_SECONDS)
            ),
            max_retries=max_retries,
        )

    @property
    def is_offline(self) -> bool:
        """Never: a model stands behind this client."""
        return False

    async def complete(
        self,
        request: ChatRequest,
        *,
        outline: str,  # noqa: ARG002 - the offline client's part of the port
        on_token: TokenSink | None = None,
    ) -> Completion:
        """Free text; streamed to ``on_token`` piece by piece if given."""
        if on_token is not None:
            return await self._stream(request, on_token)
        async with self._translated_errors():
            raw = await self._client.chat.completions.with_raw_response.create(
                model=request.model,
                messages=_wire_messages(request.messages),
                temperature=omit if request.temperature is None else request.temperature,
            )
            return _completion(raw.content, request.model)

    async def parse(
        self,
        request: ChatRequest,
        schema: type[Schema],
        *,
        outline: Schema,  # noqa: ARG002 - the offline client's part of the port
    ) -> ParsedCompletion[Schema]:
        """Text that follows ``schema``, also from servers that ignore ``response_format``."""
        async with self._translated_errors():
            # Raw, because the SDK's own parsing loses an answer that is off-schema.
            raw = await self._client.chat.completions.with_raw_response.parse(
                model=request.model,
                messages=_wire_messages(request.messages),
                temperature=omit if request.temperature is None else request.temperature,
                response_format=schema,
            )
            answer = _completion(raw.content, request.model)
        return ParsedCompletion(
            parsed=read_json_object(answer.text, schema),
            text=answer.text,
            model=answer.model,
            usage=answer.usage,
        )

    async def check(self) -> bool:
        """Whether the server answers a list of its models within two seconds."""
        client = self._client.with_options(timeout=CHECK_TIMEOUT_SECONDS, max_retries=0)
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                await client.models.list()
        except openai.NotFoundError:
            return True  # a compatible server without that list still answers
        except (openai.OpenAIError, TimeoutError, ValueError):
            return False
        return True

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        await self._client.close()

    async def _stream(self, request: ChatRequest, on_token: TokenSink) -> Completion:
        pieces: list[str] = []
        refusal: list[str] = []
        model, usage, finish_reason = request.model, TokenUsage(), None
        async with aclosing(self._deltas(request)) as deltas:
            async for delta in deltas:
                model = delta.model or model
                usage = delta.usage or usage
                finish_reason = delta.finish_reason or finish_reason
                refusal.append(delta.refusal)
                if delta.text:
                    pieces.append(delta.text)
                    await on_token(delta.text)
        text = "".join(pieces)
        _check_usable(text, "".join(refusal), finish_reason or _CUT)
        return Completion(text=text, model=model, usage=usage)

    async def _deltas(self, request: ChatRequest) -> AsyncGenerator[_Delta, None]:
        async with self._translated_errors():
            stream = await self._client.chat.completions.create(
                model=request.model,
                messages=_wire_messages(request.messages),
                temperature=omit if request.temperature is None else request.temperature,
                stream=True,
                stream_options={"include_usage": True},
            )
            async with stream:
                async for chunk in stream:
                    yield _delta(chunk)

    @asynccontextmanager
    async def _translated_errors(self) -> AsyncIterator[None]:
        # `from None` throughout: a server may repeat the key in its answer, and a task's stored
        # stack trace would show the cause.
        try:
            yield
        except openai.APIStatusError as error:
            raise self._status_error(error) from None
        except openai.APITimeoutError:
            raise LLMUnavailableError("The model provider did not answer in time") from None
        except openai.APIConnectionError:
            raise LLMUnavailableError("The connection to the model provider failed") from None
        except openai.APIResponseValidationError:
            raise LLMResponseError("The model provider's answer is no chat completion") from None
        except openai.APIError as error:  # an error object sent in the middle of a stream
            raise LLMUnavailableError(
                f"The model provider broke off its answer{self._code_of(error)}"
            ) from None
        except openai.OpenAIError as error:
            raise LLMError(f"The model call failed: {type(error).__name__}") from None
        except (ValueError, AttributeError, TypeError):
            # The SDK builds its objects unchecked: a malformed answer shows up on first use.
            raise LLMResponseError("The model provider's answer is malformed") from None

    def _status_error(self, error: openai.APIStatusError) -> LLMError:
        status, code = error.status_code, self._code_of(error)
        message = f"The model provider answered {status}{code}"
        if error.code == "content_filter":
            return LLMRefusalError("The provider's content filter refused the prompt")
        if error.code == "insufficient_quota":
            return LLMError(message)  # a 429 that waiting does not mend
        if status in _PASSING_STATUSES or status >= 500:
            return LLMUnavailableError(message)
        if status in _EXPLAINED_STATUSES and isinstance(error.body, dict):
            sentence = " ".join(str(error.body.get("message", "")).split())
            message = f"{message}: {self._without_key(sentence)[:_SHOWN_CHARACTERS]}"
        return LLMError(message)

    def _code_of(self, error: openai.APIError) -> str:
        code = self._without_key(error.code or error.type or "")
        return f" ({code})" if _PLAIN_CODE.fullmatch(code) else ""

    def _without_key(self, text: str) -> str:
        return text.replace(self._api_key, MASK)


def read_json_object(text: str, schema: type[Schema]) -> Schema | None:
    """The first JSON object in ``text`` that fits ``schema``, or ``None``.

    Models that were not held to a schema put prose or a code fence around their JSON.
    """
    try:
        return schema.model_validate_json(text)
    except ValidationError:
        pass
    for candidate in _json_objects(text):
        try:
            return schema.model_validate(candidate)
        except ValidationError:
            continue
    return None


def _json_objects(text: str) -> Iterator[object]:
    decoder = json.JSONDecoder()
    start = text.find("{")
    for _ in range(_MAX_JSON_STARTS):
        if start < 0:
            return
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield value
        start = text.find("{", end)


def _delta(chunk: ChatCompletionChunk) -> _Delta:
    choice = chunk.choices[0] if chunk.choices else None
    usage = chunk.usage
    return _Delta(
        text=(choice and choice.delta.content) or "",
        refusal=(choice and choice.delta.refusal) or "",
        finish_reason=choice.finish_reason if choice else None,
        model=chunk.model,
        usage=_token_usage(_Usage.model_validate(usage.model_dump())) if usage else None,
    )


def _completion(body: bytes, requested_model: str) -> Completion:
    try:
        answer = _Answer.model_validate_json(body)
    except ValidationError:
        raise LLMResponseError("The model provider's answer is malformed") from None
    if not answer.choices:
        raise LLMResponseError("The model provider's answer holds no choices")
    choice = answer.choices[0]
    text = choice.message.content or ""
    _check_usable(text, choice.message.refusal or "", choice.finish_reason)
    usage = TokenUsage() if answer.usage is None else _token_usage(answer.usage)
    return Completion(text=text, model=answer.model or requested_model, usage=usage)


def _check_usable(text: str, refusal: str, finish_reason: str | None) -> None:
    if refusal:
        raise LLMRefusalError(f"The model declined: {refusal[:_SHOWN_CHARACTERS]}")
    if finish_reason == "content_filter":
        raise LLMRefusalError("The provider's content filter stopped the answer")
    if finish_reason == _CUT:
        raise LLMResponseError("The model's stream ended before its answer did")
    if finish_reason == "length":
        raise LLMResponseError("The model's answer was cut off at its length limit")
    if not text.strip():
        raise LLMResponseError("The model's answer is empty")


def _token_usage(usage: _Usage) -> TokenUsage:
    total = usage.total_tokens or usage.prompt_tokens + usage.completion_tokens
    return TokenUsage(prompt=usage.prompt_tokens, completion=usage.completion_tokens, total=total)


def _wire_messages(messages: Sequence[ChatMessage]) -> list[ChatCompletionMessageParam]:
    return [_wire_message(message) for message in messages]


def _wire_message(message: ChatMessage) -> ChatCompletionMessageParam:
    match message.role:
        case "system":
            return {"role": "system", "content": message.content}
        case "user":
            return {"role": "user", "content": message.content}
        case "assistant":
            return {"role": "assistant", "content": message.content}
