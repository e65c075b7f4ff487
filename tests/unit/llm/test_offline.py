"""The client without a model, and which client the settings lead to."""

import subprocess
import sys

import pytest
from pydantic import BaseModel

from app.core.config import load_settings
from app.core.errors import ConfigurationError
from app.llm.client import ChatMessage, ChatRequest
from app.llm.connect import connect_llm, connect_search
from app.llm.offline import OfflineClient
from app.llm.openai_client import OpenAIClient

REQUEST = ChatRequest(model="any", messages=[ChatMessage("user", "hello")])


class Shape(BaseModel):
    sides: int


@pytest.mark.parametrize("outline", ["# A\n\n- b  c\n", "", "\n\n", "one", " lead and trail \t"])
async def test_the_outline_is_handed_back_and_streamed_without_a_change(outline: str) -> None:
    pieces: list[str] = []

    async def on_token(text: str) -> None:
        pieces.append(text)

    answer = await OfflineClient().complete(REQUEST, outline=outline, on_token=on_token)
    assert answer.text == outline == "".join(pieces)
    assert (answer.model, answer.usage.total) == ("offline", 0)


async def test_a_structured_outline_is_handed_back() -> None:
    answer = await OfflineClient().parse(REQUEST, Shape, outline=Shape(sides=3))
    assert answer.parsed == Shape(sides=3)
    assert answer.text == '{"sides":3}'
    assert answer.model == "offline"


async def test_without_key_and_address_the_client_is_the_offline_one() -> None:
    client = connect_llm(load_settings())
    assert client.is_offline
    assert await client.check()
    await client.close()


@pytest.mark.parametrize(
    "settings", [{"openai_api_key": "sk-x"}, {"openai_base_url": "http://127.0.0.1:1/v1"}]
)
async def test_with_either_of_them_a_model_is_asked(settings: dict[str, object]) -> None:
    client = connect_llm(load_settings(**settings))
    assert isinstance(client, OpenAIClient)
    assert not client.is_offline
    await client.close()
    await client.close()


@pytest.mark.parametrize(
    "settings", [{}, {"tavily_api_key": "tvly-x", "web_search_provider": "none"}]
)
def test_search_is_off_unless_a_key_is_set_and_it_is_wanted(settings: dict[str, object]) -> None:
    assert connect_search(load_settings(**settings)) is None


def test_a_missing_search_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "app.llm.tools.tavily", raising=False)
    monkeypatch.setitem(sys.modules, "tavily", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'agent-orchestrator\[search\]'"):
        connect_search(load_settings(tavily_api_key="tvly-x"))


def test_an_offline_process_loads_neither_sdk() -> None:
    script = (
        "import sys; from app.core.config import Settings;"
        "from app.llm.connect import connect_llm, connect_search;"
        "settings = Settings(_env_file=None); connect_llm(settings); connect_search(settings);"
        "print([name for name in ('openai', 'tavily', 'tiktoken') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_importing_the_search_opens_no_connection() -> None:
    script = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('a connection was opened')\n"
        "socket.socket.connect = socket.socket.connect_ex = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "import app.llm.tools.tavily\n"
        "print('tavily' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "True"
