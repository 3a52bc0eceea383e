"""Real clients in front of a running gateway, whose providers are the simulator; each asks models of both formats."""

from collections.abc import Iterator

import anthropic
import openai
import pytest

from tests.gateway.conftest import gateway, providers, secret, shared_gateway, simulator, tenant, world
from tests.gateway.running import Gateway

__all__ = ["gateway", "providers", "secret", "shared_gateway", "simulator", "tenant", "world"]

GPT, CLAUDE, EMBEDDER = "gpt-4o-mini", "claude-sonnet-4-5", "text-embedding-3-small"


@pytest.fixture(params=[GPT, CLAUDE])
def model(request: pytest.FixtureRequest) -> str:
    """A model whose provider speaks the client's own format, then one whose provider does not."""
    return str(request.param)


@pytest.fixture
def openai_client(gateway: Gateway, secret: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(gateway: Gateway, secret: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key=secret, max_retries=0) as client:
        yield client
