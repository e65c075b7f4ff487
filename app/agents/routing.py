"""The routing decision: pure values and one pure function."""

from collections.abc import Iterable
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from app.agents.spec import AgentSpec
from app.core.errors import UnknownTaskTypeError
from app.models.domain.agent_run import TokenUsage

UNKNOWN_AGENT_NAME = "Unknown"
UNKNOWN_AGENT_TYPE = "unknown"
RouterName = Literal["llm", "local", "caller"]


class TaskClassification(BaseModel):
    """Which agent a task is for. Also the schema a model has to answer in."""

    model_config = ConfigDict(frozen=True)

    agent_name: str = Field(description="Name of the chosen agent, or Unknown")
    agent_type: str = Field(description="Type of the chosen agent, or unknown")
    confidence: float = Field(ge=0, le=1, description="How sure the choice is, from 0 to 1")
    reasoning: str = Field(description="One short sentence: why this agent")


class RoutingDecision(BaseModel):
    """A classification and how it came about.

    ``router`` is ``llm``, ``local`` (no model configured) or ``caller`` (the request named the
    agent); ``model`` is ``"offline"`` unless a model was asked.
    """

    model_config = ConfigDict(frozen=True)

    classification: TaskClassification
    router: RouterName
    model: str
    usage: TokenUsage = TokenUsage()


class Router(Protocol):
    """Decides which agent a task is for."""

    async def classify(self, text: str) -> RoutingDecision:
        """Classify the task ``text``; raise an ``LLMError`` where a model is asked and fails."""
        ...


def choose_agent(
    classification: TaskClassification, specs: Iterable[AgentSpec], min_confidence: float
) -> AgentSpec:
    """The agent that a classification leads to.

    Raises:
        UnknownTaskTypeError: it names no agent, or its confidence is below ``min_confidence``.
    """
    by_name = {spec.name: spec for spec in specs}
    chosen = by_name.get(classification.agent_name)
    if chosen is None:
        raise UnknownTaskTypeError(
            f"No agent fits this task. The agents are {', '.join(by_name)}. "
            f"The router's reason: {classification.reasoning}"
        )
    if classification.confidence < min_confidence:
        raise UnknownTaskTypeError(
            f"The router chose {chosen.name} with confidence {classification.confidence:.2f}, "
            f"below the required {min_confidence:.2f}. "
            "Say more clearly what is wanted, or name the agent in the request."
        )
    return chosen
