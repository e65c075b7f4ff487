"""Which agents there are. A new one is a module with a ``SPEC`` and a line in ``BUILTIN_AGENTS``.

The API process reads this catalogue too: nothing here may import a graph or a model library.
"""

from collections.abc import Iterable

from app.agents.builtin import code, content
from app.agents.routing import UNKNOWN_AGENT_NAME, UNKNOWN_AGENT_TYPE
from app.agents.spec import AgentSpec
from app.core.errors import ConfigurationError

BUILTIN_AGENTS: tuple[AgentSpec, ...] = (
    content.SPEC,
    code.SPEC,
)


class AgentRegistry:
    """The catalogue of agents, in the order given.

    Raises:
        ConfigurationError: two agents share a name or a type, or one is called unknown.
    """

    def __init__(self, specs: Iterable[AgentSpec] = BUILTIN_AGENTS) -> None:
        self.specs = tuple(specs)
        self._by_key: dict[str, AgentSpec] = {}
        reserved = {UNKNOWN_AGENT_NAME.casefold(), UNKNOWN_AGENT_TYPE.casefold()}
        for spec in self.specs:
            for key in {spec.name.casefold(), spec.type.casefold()}:
                if key in reserved:
                    raise ConfigurationError(
                        f"No agent may be called {key!r}: it means none of them"
                    )
                other = self._by_key.setdefault(key, spec)
                if other is not spec:
                    raise ConfigurationError(
                        f"Two agents are called {key!r}: {other.name} ({other.type}) "
                        f"and {spec.name} ({spec.type})"
                    )

    def find(self, name_or_type: str) -> AgentSpec | None:
        """The agent with this name or type, in upper or lower case."""
        return self._by_key.get(name_or_type.strip().casefold())
