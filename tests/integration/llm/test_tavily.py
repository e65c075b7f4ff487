"""Tavily's client against a server of ours."""

import json
from collections.abc import AsyncIterator

import pytest

from app.core.errors import SearchUnavailableError
from app.llm.tools.tavily import TavilySearch
from tests.support.model_server import ModelServer, Reply

KEY = "tvly-test-0123456789"


@pytest.fixture
async def search(server: ModelServer) -> AsyncIterator[TavilySearch]:
    made = TavilySearch(api_key=KEY, base_url=server.root_url, timeout_seconds=5)
    yield made
    await made.close()


async def test_hits_come_back_best_first(server: ModelServer, search: TavilySearch) -> None:
    results = await search.search("bees", max_results=1)
    assert [(result.title, result.url) for result in results] == [
        ("bees - part 1", "https://example.com/1")
    ]
    assert server.calls[0].user == "bees"
    assert search.source == "tavily"


@pytest.mark.parametrize(
    "reply",
    [
        Reply.error(400),
        Reply.error(401),
        Reply.error(429),
        Reply.error(432),
        Reply.error(500),
        Reply(kind="reset"),
        Reply(kind="malformed"),
        Reply.text("[]"),
        Reply.text('{"results": 1}'),
        Reply.text(json.dumps({"results": [{"url": 5}]})),
    ],
)
async def test_every_failure_is_a_search_that_is_unavailable(
    server: ModelServer, search: TavilySearch, reply: Reply
) -> None:
    server.script(reply)
    with pytest.raises(SearchUnavailableError) as caught:
        await search.search("bees")
    assert KEY not in caught.value.message


async def test_a_silent_provider_is_given_up_in_time(server: ModelServer) -> None:
    search = TavilySearch(api_key=KEY, base_url=server.root_url, timeout_seconds=0.1)
    server.script(Reply(kind="hang"))
    with pytest.raises(SearchUnavailableError):
        await search.search("bees")
    await search.close()
    await search.close()
