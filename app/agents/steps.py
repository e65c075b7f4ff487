"""A task's steps as records, and records as what the step came to. Pure."""

from datetime import datetime, timedelta

from app.agents.registry import AgentRegistry
from app.agents.routing import RouterName, RoutingDecision, TaskClassification
from app.agents.spec import AgentOutput, AgentSpec, AgentTask
from app.core.errors import UnknownTaskTypeError
from app.llm.client import OFFLINE_MODEL
from app.models.domain.agent_run import AgentRun, run_id_of

PEER_AGENT_NAME = "PeerAgent"
_MILLISECOND = timedelta(milliseconds=1)


class RecordedClassification(TaskClassification):
    """What a router's run holds as its output."""

    router: RouterName


def requested_decision(requested_agent: str, registry: AgentRegistry) -> RoutingDecision:
    """The decision where the caller named the agent: no model is asked.

    Raises:
        UnknownTaskTypeError: there is no agent of that name or type.
    """
    spec = registry.find(requested_agent)
    if spec is None:
        names = ", ".join(known.name for known in registry.specs)
        raise UnknownTaskTypeError(
            f"There is no agent called {requested_agent!r}. The agents are {names}."
        )
    return RoutingDecision(
        classification=TaskClassification(
            agent_name=spec.name,
            agent_type=spec.type,
            confidence=1.0,
            reasoning="The caller asked for this agent.",
        ),
        router="caller",
        model=OFFLINE_MODEL,
    )


def router_run(
    task: AgentTask, decision: RoutingDecision, *, started_at: datetime, finished_at: datetime
) -> AgentRun:
    """The record of a routing decision."""
    recorded = RecordedClassification(
        **decision.classification.model_dump(), router=decision.router
    )
    return AgentRun(
        run_id=run_id_of(task.task_id, "router", PEER_AGENT_NAME),
        task_id=task.task_id,
        session_id=task.session_id,
        agent_name=PEER_AGENT_NAME,
        agent_role="router",
        input=task.text,
        output=recorded.model_dump_json(),
        model=decision.model,
        started_at=started_at,
        finished_at=finished_at,
        duration_ms=_milliseconds(started_at, finished_at),
        token_usage=decision.usage,
        attempt=task.attempt,
    )


def decision_of(run: AgentRun) -> RoutingDecision:
    """The routing decision that ``run`` records."""
    recorded = RecordedClassification.model_validate_json(run.output)
    return RoutingDecision(
        classification=TaskClassification(**recorded.model_dump(exclude={"router"})),
        router=recorded.router,
        model=run.model,
        usage=run.token_usage,
    )


def executor_run(
    task: AgentTask,
    spec: AgentSpec,
    output: AgentOutput,
    *,
    started_at: datetime,
    finished_at: datetime,
) -> AgentRun:
    """The record of an agent's work, complete enough to rebuild its output."""
    return AgentRun(
        run_id=run_id_of(task.task_id, "executor", spec.name),
        task_id=task.task_id,
        session_id=task.session_id,
        agent_name=spec.name,
        agent_role="executor",
        input=task.text,
        output=output.content,
        summary=output.summary,
        code_language=output.code_language,
        citations=output.citations,
        model=output.model,
        tools_used=output.tools_used,
        started_at=started_at,
        finished_at=finished_at,
        duration_ms=_milliseconds(started_at, finished_at),
        token_usage=output.usage,
        attempt=task.attempt,
    )


def output_of(run: AgentRun) -> AgentOutput:
    """The output that ``run`` records."""
    return AgentOutput(
        content=run.output,
        summary=run.summary or "",
        model=run.model,
        citations=run.citations,
        code_language=run.code_language,
        usage=run.token_usage,
        tools_used=run.tools_used,
    )


def _milliseconds(started_at: datetime, finished_at: datetime) -> int:
    return max(0, (finished_at - started_at) // _MILLISECOND)
