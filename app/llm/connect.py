"""Makes the model client and the web search that the settings ask for.

The SDKs are imported only here and only when used, so that an offline process pays for neither.
"""

from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.llm.client import LLMClient
from app.llm.offline import OfflineClient
from app.llm.tools.web_search import WebSearch

_NO_KEY = "not-needed"
"""The SDK insists on a key; servers on one's own machine usually want none."""


def connect_llm(settings: Settings) -> LLMClient:
    """The client for ``OPENAI_BASE_URL`` and ``OPENAI_API_KEY``; offline where both are unset."""
    if settings.offline:
        return OfflineClient()
    from app.llm.openai_client import OpenAIClient

    key = settings.openai_api_key
    return OpenAIClient(
        api_key=_NO_KEY if key is None else key.get_secret_value(),
        base_url=settings.openai_base_url,
        timeout_seconds=settings.llm_timeout_seconds,
        max_retries=settings.llm_max_retries,
    )


def connect_search(settings: Settings) -> WebSearch | None:
    """The web search, or ``None`` where none is configured.

    Raises:
        ConfigurationError: ``TAVILY_API_KEY`` is set, but its package is not installed.
    """
    if settings.web_search_provider == "none" or settings.tavily_api_key is None:
        return None
    try:
        from app.llm.tools.tavily import TavilySearch
    except ModuleNotFoundError as error:
        if error.name != "tavily":
            raise
        raise ConfigurationError(
            "TAVILY_API_KEY is set, but the package for it is missing: "
            "pip install 'agent-orchestrator[search]'"
        ) from None
    return TavilySearch(
        api_key=settings.tavily_api_key.get_secret_value(), base_url=settings.tavily_base_url
    )
