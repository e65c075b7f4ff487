"""Against an OpenAI-compatible server, with web search: the same system, one variable more."""

from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from tests.support.model_server import MODEL, ModelServer, Reply
from tests.support.sse import statuses, watch
from tests.support.system import RunningSystem, running_system
from tests.support.tasks_over_http import client_of, get_task, post_task

MODEL_KEY = "sk-end-to-end-0123456789"
SEARCH_KEY = "tvly-end-to-end-0123456789"


@pytest.fixture(scope="module")
def scripted() -> Iterator[ModelServer]:
    """Model and web search in one; what it streams takes long enough to be seen in pieces."""
    with ModelServer(token_delay=0.005) as server:
        yield server


@pytest.fixture(scope="module")
def system(
    scripted: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningSystem]:
    """A system that asks it."""
    with running_system(
        tmp_path_factory.mktemp("model") / "data",
        OPENAI_BASE_URL=scripted.base_url,
        OPENAI_API_KEY=MODEL_KEY,
        TAVILY_BASE_URL=scripted.root_url,
        TAVILY_API_KEY=SEARCH_KEY,
    ) as system:
        yield system


@pytest.fixture
async def client(system: RunningSystem) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of that system."""
    async with client_of(system.url) as client:
        yield client


async def test_the_model_routes_and_its_words_are_streamed_as_they_come(
    client: httpx2.AsyncClient, scripted: ModelServer
) -> None:
    task_id = await post_task(client, "Write an article about the tides")
    events = await watch(client, task_id)
    task = await get_task(client, task_id)

    assert statuses(events) == ["queued", "processing", "completed"]
    assert {event.event for event in events} == {None, "step", "token"}
    classified = next(event.json for event in events if event.event == "step")
    assert (classified["agent_name"], classified["router"]) == ("ContentAgent", "llm")
    tokens = [event.json["text"] for event in events if event.event == "token"]
    assert len(tokens) > 3
    assert "".join(tokens) == task["result"]["raw_output"]
    asked = [call for call in scripted.calls if "the tides" in call.user]
    assert [call.schema for call in asked] == ["TaskClassification", "SearchQuery", None, None]
    assert asked[-1].stream


async def test_usage_is_recorded_for_every_step_and_summed_up(client: httpx2.AsyncClient) -> None:
    task_id = await post_task(client, "Write a Python function that adds two numbers")
    await watch(client, task_id)
    task = await get_task(client, task_id)

    assert (task["selected_agent"], task["result"]["code_language"]) == ("CodeAgent", "python")
    assert {run["model"] for run in task["agent_runs"]} == {MODEL}
    usages = [run["token_usage"] for run in task["agent_runs"]]
    assert all(usage["prompt"] > 0 and usage["completion"] > 0 for usage in usages)
    assert task["cost"]["total_tokens"] == sum(usage["total"] for usage in usages)


async def test_only_what_the_search_returned_is_cited(
    client: httpx2.AsyncClient, scripted: ModelServer
) -> None:
    article = (
        "# Moss\n\nIt is green [1].\n\n## References\n\n1. Invented: https://invented.example/1"
    )
    # The search query, the search and then the article: no router is asked where an agent is named.
    scripted.script(Reply(), Reply(), Reply.text(article))
    task_id = await post_task(client, "Write an article about moss", agent="content")
    events = await watch(client, task_id)
    task = await get_task(client, task_id)

    assert [citation["url"] for citation in task["result"]["citations"]] == [
        "https://example.com/1",
        "https://example.com/2",
    ]
    written = task["result"]["raw_output"]
    assert "https://example.com/1" in written.partition("## References")[2]
    assert "invented.example" not in written
    assert "invented.example" not in "".join(event.data or "" for event in events)
    assert task["agent_runs"][1]["tools_used"] == ["web_search"]


async def test_readiness_names_the_models_and_no_key_is_logged(
    client: httpx2.AsyncClient, system: RunningSystem
) -> None:
    model = (await client.get("/health/ready")).json()["model"]
    provider = (await client.get("/v1/system/metrics")).json()["api_health"]

    assert model["mode"] == "provider"
    assert provider == {
        "status": "healthy",
        "dependencies": {"mongo": "up", "redis": "up", "llm_provider": "up"},
    }
    log = system.log_file.read_text()
    assert MODEL_KEY not in log
    assert SEARCH_KEY not in log
