"""The OpenAI client against a server that misbehaves in every way seen in the wild."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable

import pytest
from pydantic import BaseModel

from app.core.errors import (
    AppError,
    LLMError,
    LLMRefusalError,
    LLMResponseError,
    LLMUnavailableError,
)
from app.llm.client import ChatMessage, ChatRequest, Completion, ParsedCompletion
from app.llm.openai_client import OpenAIClient
from tests.support.model_server import ModelServer, Reply
from tests.support.waiting import until

KEY = "sk-test-0123456789"
REQUEST = ChatRequest(
    model="m", messages=[ChatMessage("system", "Be brief."), ChatMessage("user", "Say hello.")]
)


class Shape(BaseModel):
    sides: int


async def ignore(_text: str) -> None:
    pass


async def complete(client: OpenAIClient) -> Completion:
    return await client.complete(REQUEST, outline="")


async def stream(client: OpenAIClient) -> Completion:
    return await client.complete(REQUEST, outline="", on_token=ignore)


async def parse(client: OpenAIClient) -> ParsedCompletion[Shape]:
    return await client.parse(REQUEST, Shape, outline=Shape(sides=0))


Ask = Callable[[OpenAIClient], Awaitable[object]]
every_way = pytest.mark.parametrize("ask", [complete, stream, parse])


async def test_a_stream_arrives_piece_by_piece_with_its_usage(
    server: ModelServer, client: OpenAIClient
) -> None:
    server.script(Reply.text("Hello there,\n\ndear reader.\n"))
    pieces: list[str] = []

    async def on_token(text: str) -> None:
        pieces.append(text)

    answer = await client.complete(REQUEST, outline="", on_token=on_token)
    assert answer.text == "".join(pieces) == "Hello there,\n\ndear reader.\n"
    assert len(pieces) == 5
    assert answer.model == "scripted-model"
    assert (answer.usage.prompt, answer.usage.completion, answer.usage.total) == (4, 4, 8)
    [call] = server.calls
    assert (call.stream, call.model, call.temperature) == (True, "m", None)
    assert (call.system, call.user) == ("Be brief.", "Say hello.")
    assert call.authorization == f"Bearer {KEY}"


async def test_without_a_sink_the_answer_comes_whole(
    server: ModelServer, client: OpenAIClient
) -> None:
    server.script(Reply.text("Hello."))
    answer = await complete(client)
    assert (answer.text, answer.usage.total) == ("Hello.", 5)
    assert not server.calls[0].stream


@every_way
async def test_usage_that_is_not_reported_is_zero(
    server: ModelServer, client: OpenAIClient, ask: Ask
) -> None:
    server.script(Reply(content='{"sides": 3}', usage=False))
    answer = await ask(client)
    assert isinstance(answer, Completion | ParsedCompletion)
    assert answer.usage.total == 0


async def test_a_structured_answer_is_parsed_and_its_schema_was_asked_for(
    server: ModelServer, client: OpenAIClient
) -> None:
    server.script(Reply.text('{"sides": 3}'))
    answer = await parse(client)
    assert answer.parsed == Shape(sides=3)
    assert server.calls[0].schema == "Shape"


async def test_a_server_that_ignores_the_schema_is_understood_all_the_same(
    server: ModelServer, client: OpenAIClient
) -> None:
    server.script(Reply.text('Here you are:\n```json\n{"sides": 4}\n```'))
    assert (await parse(client)).parsed == Shape(sides=4)


async def test_an_answer_off_schema_comes_back_as_text(
    server: ModelServer, client: OpenAIClient
) -> None:
    server.script(Reply.text('{"sides": "many"}'))
    answer = await parse(client)
    assert answer.parsed is None
    assert answer.text == '{"sides": "many"}'
    assert answer.usage.total > 0


@every_way
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply.error(429), LLMUnavailableError),
        (Reply.error(500), LLMUnavailableError),
        (Reply.error(503), LLMUnavailableError),
        (Reply.error(408), LLMUnavailableError),
        (Reply(kind="reset"), LLMUnavailableError),
        (Reply.error(429, code="insufficient_quota"), LLMError),
        (Reply.error(400), LLMError),
        (Reply.error(401, code="invalid_api_key"), LLMError),
        (Reply.error(404, code="model_not_found"), LLMError),
        (Reply.error(400, code="content_filter"), LLMRefusalError),
        (Reply(kind="refusal"), LLMRefusalError),
        (Reply(content="x", finish_reason="content_filter"), LLMRefusalError),
        (Reply(content='{"sides": 1}', finish_reason="length"), LLMResponseError),
        (Reply(kind="empty"), LLMResponseError),
        (Reply.text("  \n"), LLMResponseError),
        (Reply(kind="malformed"), LLMResponseError),
    ],
)
async def test_every_failure_has_its_error(
    server: ModelServer, client: OpenAIClient, ask: Ask, reply: Reply, error: type[AppError]
) -> None:
    server.script(reply)
    with pytest.raises(LLMError) as caught:
        await ask(client)
    assert type(caught.value) is error
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("cut", LLMResponseError),
        ("break", LLMUnavailableError),
        ("stream_error", LLMUnavailableError),
    ],
)
async def test_a_stream_that_ends_in_the_middle_is_no_answer(
    server: ModelServer, client: OpenAIClient, kind: str, error: type[AppError]
) -> None:
    server.script(Reply(kind=kind, content="one two three four"))  # type: ignore[arg-type]
    with pytest.raises(LLMError) as caught:
        await stream(client)
    assert type(caught.value) is error


@every_way
async def test_a_silent_server_is_unavailable_after_the_timeout(
    server: ModelServer, ask: Ask
) -> None:
    client = OpenAIClient(api_key=KEY, base_url=server.base_url, timeout_seconds=0.1, max_retries=0)
    server.script(Reply(kind="hang"))
    with pytest.raises(LLMUnavailableError, match="in time"):
        await ask(client)
    await client.close()


@every_way
async def test_passing_failures_are_repeated_as_often_as_allowed(
    server: ModelServer, ask: Ask
) -> None:
    client = OpenAIClient(api_key=KEY, base_url=server.base_url, timeout_seconds=5, max_retries=2)
    at_once = {"retry-after-ms": "1"}
    server.script(
        Reply.error(429, headers=at_once),
        Reply.error(500, headers=at_once),
        Reply.text('{"sides": 3}'),
    )
    answer = await ask(client)
    assert isinstance(answer, Completion | ParsedCompletion)
    assert answer.text == '{"sides": 3}'
    assert len(server.calls) == 3
    await client.close()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429, 500])
async def test_a_key_that_the_server_repeats_is_in_no_message_and_no_stack(status: int) -> None:
    with ModelServer() as server:
        client = OpenAIClient(
            api_key="scripted", base_url=server.base_url, timeout_seconds=5, max_retries=0
        )
        # The scripted error's message and type both hold the word that is the key here.
        server.script(Reply.error(status, code="scripted"))
        with pytest.raises(LLMError) as caught:
            await complete(client)
        shown = "".join(traceback.format_exception(caught.value, chain=True))
        assert "scripted" not in caught.value.message
        assert "scripted" not in shown
        await client.close()


async def test_a_wrong_model_is_explained_in_the_server_s_words(
    server: ModelServer, client: OpenAIClient
) -> None:
    server.script(Reply.error(404, code="model_not_found"))
    with pytest.raises(LLMError, match=r"404 \(model_not_found\): scripted error"):
        await complete(client)


async def test_an_error_of_the_sink_is_not_taken_for_the_model_s(
    server: ModelServer, client: OpenAIClient
) -> None:
    async def broken(_text: str) -> None:
        raise ValueError("the sink's own")

    server.script(Reply.text("one two"))
    with pytest.raises(ValueError, match="the sink's own"):
        await client.complete(REQUEST, outline="", on_token=broken)


async def test_cancelling_a_call_lets_go_of_it_at_once(
    server: ModelServer, client: OpenAIClient
) -> None:
    server.script(Reply(kind="hang"))
    running = asyncio.create_task(stream(client))

    async def asked() -> bool:
        return len(server.calls) == 1

    await until(asked)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_check_asks_for_no_completion(server: ModelServer, client: OpenAIClient) -> None:
    assert await client.check()
    assert server.calls == []


async def test_a_check_of_a_server_that_is_not_there_says_so() -> None:
    client = OpenAIClient(
        api_key=KEY, base_url="http://127.0.0.1:9/v1", timeout_seconds=5, max_retries=5
    )
    assert not await client.check()
    await client.close()
