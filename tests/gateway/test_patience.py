"""How long a call waits: the caller's word, else the provider's own patience, else the key's."""

import time
from typing import Any

import httpx2 as httpx
import pytest

from tests.gateway.far_end import answering
from tests.gateway.running import Gateway
from tests.gateway.world import World

BODY: dict[str, Any] = {"model": "slow/m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}


@pytest.mark.parametrize(("is_stream", "field"), [(False, "whole_seconds"), (True, "first_byte_seconds")])
def test_a_provider_that_hangs_is_left_after_its_own_patience(
    gateway: Gateway, http: httpx.Client, world: World, is_stream: bool, field: str
) -> None:
    with answering(hangs=True) as far_end:
        world.provider("slow", "openai", f"{far_end.url}/v1", retries=0, **{field: 0.2})
        gateway.wait_for_config(world.version())
        began = time.monotonic()
        answer = http.post("/v1/chat/completions", json={**BODY, "stream": is_stream})
        took = time.monotonic() - began
    assert (answer.status_code, answer.headers["x-llmobs-reason"]) == (504, "provider_timeout")
    assert 0.2 <= took < 14.0  # the key's own patience is 15 and 600 s


def test_the_callers_word_goes_before_the_providers_patience(
    gateway: Gateway, http: httpx.Client, world: World
) -> None:
    with answering(hangs=True) as far_end:
        world.provider("slow", "openai", f"{far_end.url}/v1", retries=0, whole_seconds=60)
        gateway.wait_for_config(world.version())
        began = time.monotonic()
        answer = http.post("/v1/chat/completions", json=BODY, headers={"x-llmobs-timeout": "0.2"})
        took = time.monotonic() - began
    assert answer.headers["x-llmobs-reason"] == "provider_timeout"
    assert took < 55.0
