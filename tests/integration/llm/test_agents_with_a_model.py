"""The whole way from a task to an answer, over a model on a socket; and the server as a process."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from urllib.request import Request, urlopen

import pytest

from app.agents.assembly import build_peer_agent
from app.agents.peer_agent import PeerAgent
from app.agents.spec import AgentTask
from app.core.config import load_settings
from app.core.errors import UnknownTaskTypeError
from app.llm.connect import connect_llm, connect_search
from tests.support.model_server import CHAT_PATH, SEARCH_PATH, ModelServer
from tests.support.steps import RecordedEvents, StepsInMemory


@pytest.fixture
async def peer(server: ModelServer) -> AsyncIterator[PeerAgent]:
    settings = load_settings(
        openai_base_url=server.base_url,
        tavily_api_key="tvly-x",
        tavily_base_url=server.root_url,
        llm_max_retries=0,
    )
    llm, search = connect_llm(settings), connect_search(settings)
    assert search is not None
    yield build_peer_agent(settings, llm, search)
    await search.close()
    await llm.close()


def task(text: str) -> AgentTask:
    return AgentTask(task_id="t1", session_id=None, text=text)


async def test_an_article_is_routed_searched_written_and_referenced(
    server: ModelServer, peer: PeerAgent
) -> None:
    events = RecordedEvents()
    outcome = await peer.run(
        task("Write a blog article about bees"), steps=StepsInMemory(), events=events
    )
    assert outcome.output.content.startswith("# Write a blog article about bees")
    assert [citation.url for citation in outcome.output.citations] == [
        "https://example.com/1",
        "https://example.com/2",
    ]
    assert events.step_names == ["task_classified", "agent_started", "search_completed"]
    assert events.text == outcome.output.content
    assert outcome.usage.total > 0
    assert [call.path for call in server.calls] == [CHAT_PATH, CHAT_PATH, SEARCH_PATH, CHAT_PATH]
    assert [call.model for call in server.calls if call.path == CHAT_PATH] == [
        "gpt-4.1-mini",
        "gpt-4.1",
        "gpt-4.1",
    ]
    assert server.calls[0].temperature == 0.0


async def test_code_is_routed_and_written(server: ModelServer, peer: PeerAgent) -> None:
    events = RecordedEvents()
    outcome = await peer.run(
        task("Python ile bir dosyayı okuyup yazan kod yaz"), steps=StepsInMemory(), events=events
    )
    assert outcome.output.code_language == "python"
    assert outcome.output.content.startswith("### Description\n\n")
    assert [call.schema for call in server.calls] == ["TaskClassification", "GeneratedCode"]


async def test_a_greeting_is_refused(peer: PeerAgent) -> None:
    with pytest.raises(UnknownTaskTypeError):
        await peer.run(task("hello"), steps=StepsInMemory(), events=RecordedEvents())


def test_as_a_process_the_server_is_scripted_and_read_over_http() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.model_server", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        address = re.search(r"http://127\.0\.0\.1:\d+", output.readline())
        assert address is not None
        root = address[0]

        def send(path: str, data: object = None) -> dict[str, object]:
            body = None if data is None else json.dumps(data).encode()
            request = Request(root + path, data=body)
            with urlopen(request, timeout=5) as response:
                answer = json.load(response)
            assert isinstance(answer, dict)
            return answer

        send("/__script", {"rules": [{"text": "ping", "reply": {"content": "pong"}}]})
        prompt = {"model": "m", "messages": [{"role": "user", "content": "ping"}]}
        assert "pong" in json.dumps(send(CHAT_PATH, prompt))
        assert send("/__calls")["by_path"] == {CHAT_PATH: 1}
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
