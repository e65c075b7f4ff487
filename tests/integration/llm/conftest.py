"""A scripted model on a real socket, and clients that talk to it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from app.llm.openai_client import OpenAIClient
from tests.support.model_server import ModelServer

KEY = "sk-test-0123456789"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """The scripted model."""
    with ModelServer() as running:
        yield running


@pytest.fixture
async def client(server: ModelServer) -> AsyncIterator[OpenAIClient]:
    """Without retries, so that a failure shows at once."""
    made = OpenAIClient(api_key=KEY, base_url=server.base_url, timeout_seconds=10, max_retries=0)
    yield made
    await made.close()
