"""A simulator and the official clients right in front of it."""

from collections.abc import Iterator

import anthropic
import openai
import pytest

from llmobs.ops.simulator.running import Running, running


@pytest.fixture
def simulator() -> Iterator[Running]:
    with running() as it:
        yield it


@pytest.fixture
def openai_client(simulator: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{simulator.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(simulator: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=simulator.url, api_key="any", max_retries=0) as client:
        yield client
