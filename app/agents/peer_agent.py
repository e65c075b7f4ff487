"""The peer agent: a graph that classifies a task, picks its agent and has it do the work.

Each paid step is looked up in the task's step log first and recorded before it is acted upon, so
that a repeated attempt goes on where the last one stopped. The graph has no checkpointer and no
retry policy: what is durable is in the store, and the caller decides about attempts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from app.agents.registry import AgentRegistry
from app.agents.routing import Router, RoutingDecision, TaskClassification, choose_agent
from app.agents.spec import Agent, AgentOutput, AgentSpec, AgentTask, EventSink, StepLog
from app.agents.steps import (
    PEER_AGENT_NAME,
    decision_of,
    executor_run,
    output_of,
    requested_decision,
    router_run,
)
from app.agents.tracing import allowed_tracing
from app.core.clock import Clock, utc_now
from app.models.domain.agent_run import AgentRun, TokenUsage


class PeerAgentState(TypedDict, total=False):
    """What the nodes hand on to each other."""

    router_run: AgentRun
    decision: RoutingDecision
    spec: AgentSpec
    executor_run: AgentRun
    output: AgentOutput


@dataclass(frozen=True)
class PeerAgentContext:
    """What one run of the graph works with."""

    task: AgentTask
    steps: StepLog
    events: EventSink
    registry: AgentRegistry
    agents: Mapping[str, Agent]
    router: Router
    min_confidence: float
    clock: Clock


PeerAgentGraph = CompiledStateGraph[
    PeerAgentState, PeerAgentContext, PeerAgentState, PeerAgentState
]


@dataclass(frozen=True)
class PeerAgentOutcome:
    """A finished task: how it was routed, what came of it, and the recorded steps in order."""

    classification: TaskClassification
    output: AgentOutput
    runs: tuple[AgentRun, ...]

    @property
    def usage(self) -> TokenUsage:
        """Tokens of all steps, those of earlier attempts included."""
        return sum((run.token_usage for run in self.runs), TokenUsage())


class PeerAgent:
    """Runs tasks through the graph. One per process; safe for concurrent tasks.

    Args:
        registry: The agents' specs.
        agents: The agents themselves, by their spec's name.
        router: Classifies tasks whose caller named no agent.
        min_confidence: Below it a classification counts as unknown.
        clock: Gives the steps' times.
    """

    def __init__(
        self,
        registry: AgentRegistry,
        agents: Mapping[str, Agent],
        router: Router,
        min_confidence: float,
        clock: Clock = utc_now,
    ) -> None:
        self._registry = registry
        self._agents = agents
        self._router = router
        self._min_confidence = min_confidence
        self._clock = clock
        self._graph = compile_graph()

    async def run(self, task: AgentTask, *, steps: StepLog, events: EventSink) -> PeerAgentOutcome:
        """Route the task and have it done, reusing the steps that ``steps`` holds.

        Raises:
            UnknownTaskTypeError: no agent fits, or none is called as the caller asked.
            AppError: a step failed; it comes out as the step raised it.
        """
        context = PeerAgentContext(
            task=task,
            steps=steps,
            events=events,
            registry=self._registry,
            agents=self._agents,
            router=self._router,
            min_confidence=self._min_confidence,
            clock=self._clock,
        )
        with allowed_tracing():
            state = await self._graph.ainvoke(PeerAgentState(), context=context)
        return PeerAgentOutcome(
            classification=state["decision"].classification,
            output=state["output"],
            runs=(state["router_run"], state["executor_run"]),
        )


@cache
def compile_graph() -> PeerAgentGraph:
    """The graph, compiled once per process; everything a run needs comes with its context."""
    graph = StateGraph(PeerAgentState, context_schema=PeerAgentContext)
    graph.add_node("classify_task", classify_task)
    graph.add_node("route_to_agent", route_to_agent)
    graph.add_node("execute_agent", execute_agent)
    graph.add_edge(START, "classify_task")
    graph.add_edge("classify_task", "route_to_agent")
    graph.add_edge("route_to_agent", "execute_agent")
    graph.add_edge("execute_agent", END)
    return graph.compile(name="peer_agent")


async def classify_task(
    state: PeerAgentState,  # noqa: ARG001 - the first node has nothing to read
    runtime: Runtime[PeerAgentContext],
) -> PeerAgentState:
    """Find out which agent the task is for."""
    context = runtime.context
    task = context.task
    run = await context.steps.find("router", PEER_AGENT_NAME)
    if run is None:
        started_at = context.clock()
        if task.requested_agent is not None:
            decision = requested_decision(task.requested_agent, context.registry)
        else:
            decision = await context.router.classify(task.text)
        run = await context.steps.add(
            router_run(task, decision, started_at=started_at, finished_at=context.clock())
        )
    decision = decision_of(run)
    classification = decision.classification
    await context.events.step(
        "task_classified",
        {
            "agent_name": classification.agent_name,
            "agent_type": classification.agent_type,
            "confidence": classification.confidence,
            "router": decision.router,
        },
    )
    return {"router_run": run, "decision": decision}


async def route_to_agent(
    state: PeerAgentState, runtime: Runtime[PeerAgentContext]
) -> PeerAgentState:
    """Turn the classification into an agent, or refuse the task."""
    context = runtime.context
    classification = state["decision"].classification
    return {"spec": choose_agent(classification, context.registry.specs, context.min_confidence)}


async def execute_agent(
    state: PeerAgentState, runtime: Runtime[PeerAgentContext]
) -> PeerAgentState:
    """Have the agent do the task."""
    context, spec = runtime.context, state["spec"]
    run = await context.steps.find("executor", spec.name)
    if run is None:
        await context.events.step(
            "agent_started", {"agent_name": spec.name, "agent_type": spec.type}
        )
        started_at = context.clock()
        output = await context.agents[spec.name].run(context.task, context.events)
        run = await context.steps.add(
            executor_run(
                context.task, spec, output, started_at=started_at, finished_at=context.clock()
            )
        )
    return {"executor_run": run, "output": output_of(run)}
