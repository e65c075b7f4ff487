"""LangGraph brings along a tracer that uploads prompts: it must not, unless it is asked to.

Each run is a process of its own, because the tracer reads its environment once per process.
"""

import os
import subprocess
import sys

import pytest

from app.agents.assembly import build_peer_agent
from app.core.config import load_settings
from app.core.errors import ConfigurationError
from app.llm.offline import OfflineClient
from tests.support.model_server import ModelServer

RUN_ONE_TASK = """
import asyncio
from langchain_core.tracers.langchain import wait_for_all_tracers
from app.agents.assembly import build_peer_agent
from app.agents.spec import AgentTask
from app.core.config import Settings
from app.llm.offline import OfflineClient
from tests.support.steps import RecordedEvents, StepsInMemory

peer = build_peer_agent(Settings(_env_file=None), OfflineClient(), None)
task = AgentTask(task_id="t", session_id=None, text="secret", requested_agent="code")
asyncio.run(peer.run(task, steps=StepsInMemory(), events=RecordedEvents()))
wait_for_all_tracers()
"""


def requests_sent(server: ModelServer, **variables: str) -> int:
    """How many requests reach the tracer's server while one task runs."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LANGSMITH", "LANGCHAIN"))}
    tracer = {"LANGSMITH_API_KEY": "x", "LANGSMITH_ENDPOINT": server.root_url}
    subprocess.run(
        [sys.executable, "-c", RUN_ONE_TASK],
        env=clean | tracer | variables,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return server.requests


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"LANGCHAIN_TRACING_V2": "true"},
        {"LANGSMITH_TRACING_V2": "true"},
        {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "true"},
    ],
)
def test_no_trace_is_sent_by_default_or_by_a_variable_left_over_from_elsewhere(
    server: ModelServer, variables: dict[str, str]
) -> None:
    assert requests_sent(server, **variables) == 0


def test_an_operator_who_asks_for_traces_gets_them(server: ModelServer) -> None:
    assert requests_sent(server, LANGSMITH_TRACING="true") > 0


@pytest.mark.parametrize("name", ["LANGCHAIN_TRACING", "LANGCHAIN_HANDLER"])
def test_a_variable_that_would_break_every_task_is_refused_at_the_start(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "true")
    with pytest.raises(ConfigurationError, match=f"{name} is set.*unset it"):
        build_peer_agent(load_settings(), OfflineClient(), None)
    monkeypatch.setenv(name, "false")
    build_peer_agent(load_settings(), OfflineClient(), None)
