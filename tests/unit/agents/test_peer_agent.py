"""The graph: steps are recorded before they count, reused when repeated, and errors come out."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from app.agents.assembly import build_peer_agent
from app.agents.peer_agent import PeerAgent, compile_graph
from app.agents.registry import AgentRegistry
from app.agents.routing import RoutingDecision, TaskClassification
from app.agents.spec import Agent, AgentTask
from app.core.config import load_settings
from app.core.errors import LLMUnavailableError, UnknownTaskTypeError
from app.llm.offline import OfflineClient
from tests.support.agents import AnsweringAgent, FailingAgent, WaitingAgent
from tests.support.steps import USAGE, RecordedEvents, StepsInMemory

TASK = AgentTask(task_id="t1", session_id="s1", text="Write code")
START = datetime(2026, 1, 1, tzinfo=UTC)


class CountingRouter:
    """Always the same decision."""

    def __init__(self, agent_name: str = "CodeAgent", confidence: float = 0.9) -> None:
        self.calls = 0
        self._classification = TaskClassification(
            agent_name=agent_name, agent_type="code", confidence=confidence, reasoning="because"
        )

    async def classify(self, text: str) -> RoutingDecision:
        """Decide."""
        self.calls += 1
        return RoutingDecision(
            classification=self._classification, router="llm", model="peer", usage=USAGE
        )


class Clock:
    """A second passes at each look."""

    def __init__(self) -> None:
        self._now = START

    def __call__(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


def peer(agent: Agent, router: CountingRouter | None = None) -> PeerAgent:
    agents = {"CodeAgent": agent, "ContentAgent": AnsweringAgent("wrong agent")}
    return PeerAgent(AgentRegistry(), agents, router or CountingRouter(), 0.6, Clock())


async def test_a_task_is_classified_routed_and_done() -> None:
    steps, events = StepsInMemory(), RecordedEvents()
    outcome = await peer(AnsweringAgent("a", "b")).run(TASK, steps=steps, events=events)

    assert outcome.output.content == "ab"
    assert outcome.classification.agent_name == "CodeAgent"
    assert events.text == "ab"
    assert events.steps == [
        (
            "task_classified",
            {"agent_name": "CodeAgent", "agent_type": "code", "confidence": 0.9, "router": "llm"},
        ),
        ("agent_started", {"agent_name": "CodeAgent", "agent_type": "code"}),
    ]
    router_run, executor_run = outcome.runs
    assert (router_run.run_id, executor_run.run_id) == ("t1:router", "t1:CodeAgent")
    assert (router_run.agent_name, router_run.agent_role) == ("PeerAgent", "router")
    assert router_run.duration_ms == executor_run.duration_ms == 1000
    assert json.loads(router_run.output) == {
        "agent_name": "CodeAgent",
        "agent_type": "code",
        "confidence": 0.9,
        "reasoning": "because",
        "router": "llm",
    }
    assert outcome.usage == USAGE
    assert list(steps.runs.values()) == [router_run, executor_run]


async def test_a_repeated_attempt_pays_for_no_finished_step_again() -> None:
    steps, router = StepsInMemory(), CountingRouter()
    agent = FailingAgent(LLMUnavailableError("down"))
    worker = peer(agent, router)

    with pytest.raises(LLMUnavailableError, match="down"):
        await worker.run(TASK, steps=steps, events=RecordedEvents())
    second = await worker.run(TASK, steps=steps, events=RecordedEvents())
    third = await worker.run(TASK, steps=steps, events=RecordedEvents())

    assert router.calls == 1
    assert agent.calls == 2
    assert third == second


async def test_the_record_of_another_attempt_counts_even_if_it_came_in_between() -> None:
    class Overtaken(StepsInMemory):
        async def find(self, role: object, agent_name: str) -> None:
            return None  # as if the other attempt recorded just after we looked

    first, steps = StepsInMemory(), Overtaken()
    await peer(AnsweringAgent("theirs")).run(TASK, steps=first, events=RecordedEvents())
    steps.runs = first.runs
    outcome = await peer(
        AnsweringAgent("ours"), CountingRouter("ContentAgent", confidence=0.1)
    ).run(TASK, steps=steps, events=RecordedEvents())
    assert outcome.output.content == "theirs"
    assert outcome.classification.agent_name == "CodeAgent"


@pytest.mark.parametrize("router", [CountingRouter("Unknown"), CountingRouter(confidence=0.59)])
async def test_an_unknown_task_is_refused_after_its_classification_was_recorded(
    router: CountingRouter,
) -> None:
    steps, agent = StepsInMemory(), AnsweringAgent()
    with pytest.raises(UnknownTaskTypeError):
        await peer(agent, router).run(TASK, steps=steps, events=RecordedEvents())
    assert [run.run_id for run in steps.runs.values()] == ["t1:router"]
    assert agent.calls == 0


@pytest.mark.parametrize("requested", ["CodeAgent", "code"])
async def test_an_agent_the_caller_asked_for_needs_no_router(requested: str) -> None:
    router = CountingRouter()
    task = AgentTask(task_id="t1", session_id=None, text="x", requested_agent=requested)
    outcome = await peer(AnsweringAgent(), router).run(
        task, steps=StepsInMemory(), events=RecordedEvents()
    )
    assert router.calls == 0
    assert outcome.classification.agent_name == "CodeAgent"
    assert outcome.classification.confidence == 1.0
    assert json.loads(outcome.runs[0].output)["router"] == "caller"
    assert outcome.runs[0].model == "offline"


async def test_an_agent_the_caller_asked_for_in_vain_is_refused() -> None:
    task = AgentTask(task_id="t1", session_id=None, text="x", requested_agent="poet")
    with pytest.raises(UnknownTaskTypeError, match="'poet'"):
        await peer(AnsweringAgent()).run(task, steps=StepsInMemory(), events=RecordedEvents())


async def test_an_agent_s_error_comes_out_as_the_very_same_object() -> None:
    error = LLMUnavailableError("down")
    agent = FailingAgent(error)
    with pytest.raises(LLMUnavailableError) as caught:
        await peer(agent).run(TASK, steps=StepsInMemory(), events=RecordedEvents())
    assert caught.value is error
    assert agent.calls == 1


async def test_cancelling_a_task_reaches_its_agent_and_comes_out() -> None:
    agent, steps = WaitingAgent(), StepsInMemory()
    running = asyncio.create_task(peer(agent).run(TASK, steps=steps, events=RecordedEvents()))
    await asyncio.wait_for(agent.started.wait(), 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert agent.was_cancelled
    assert [run.run_id for run in steps.runs.values()] == ["t1:router"]


async def test_a_deadline_around_a_run_is_a_timeout() -> None:
    agent = WaitingAgent()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await peer(agent).run(TASK, steps=StepsInMemory(), events=RecordedEvents())
    assert agent.was_cancelled


async def test_tasks_at_the_same_time_do_not_see_each_other() -> None:
    worker = peer(AnsweringAgent("x"))
    logs = [StepsInMemory() for _ in range(20)]
    await asyncio.gather(
        *(
            worker.run(
                AgentTask(task_id=f"t{n}", session_id=None, text=f"text {n}"),
                steps=log,
                events=RecordedEvents(),
            )
            for n, log in enumerate(logs)
        )
    )
    for number, log in enumerate(logs):
        assert {run.task_id for run in log.runs.values()} == {f"t{number}"}


def test_the_graph_is_compiled_once_and_has_the_three_nodes() -> None:
    assert compile_graph() is compile_graph()
    edges = [(edge.source, edge.target) for edge in compile_graph().get_graph().edges]
    assert edges == [
        ("__start__", "classify_task"),
        ("classify_task", "route_to_agent"),
        ("route_to_agent", "execute_agent"),
        ("execute_agent", "__end__"),
    ]


async def test_offline_the_assembled_agent_works_without_any_model() -> None:
    worker = build_peer_agent(load_settings(), OfflineClient(), None)
    task = AgentTask(task_id="t1", session_id=None, text="Write a blog article about bicycles")
    outcome = await worker.run(task, steps=StepsInMemory(), events=RecordedEvents())
    assert outcome.output.model == "offline"
    assert [run.model for run in outcome.runs] == ["offline", "offline"]
    assert json.loads(outcome.runs[0].output)["router"] == "local"
