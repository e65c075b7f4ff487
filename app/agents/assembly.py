"""Puts the peer agent together. Called once per worker process by its composition root."""

from app.agents.llm_router import LLMRouter
from app.agents.local_router import LocalRouter
from app.agents.peer_agent import PeerAgent
from app.agents.registry import AgentRegistry
from app.agents.routing import Router
from app.agents.spec import AgentDependencies
from app.agents.tracing import check_tracing_variables
from app.core.clock import Clock, utc_now
from app.core.config import Settings
from app.llm.client import LLMClient
from app.llm.tools.web_search import WebSearch


def build_peer_agent(
    settings: Settings,
    llm: LLMClient,
    search: WebSearch | None,
    *,
    registry: AgentRegistry | None = None,
    clock: Clock = utc_now,
) -> PeerAgent:
    """The peer agent over all agents of ``registry``; the local router routes where offline.

    Raises:
        ConfigurationError: the environment asks LangGraph for what it no longer does.
    """
    check_tracing_variables()
    registry = registry or AgentRegistry()
    dependencies = AgentDependencies(settings=settings, llm=llm, search=search)
    router: Router
    if llm.is_offline:
        router = LocalRouter(registry.specs)
    else:
        router = LLMRouter(llm, registry.specs, model=settings.llm_peer_model)
    return PeerAgent(
        registry,
        {spec.name: spec.build(dependencies) for spec in registry.specs},
        router,
        settings.router_min_confidence,
        clock,
    )
