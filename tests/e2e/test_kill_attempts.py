"""A gateway is killed in the middle of a call's second attempt: nothing stays held, and what was begun is billed."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import psycopg
import pytest

from tests.e2e.conftest import Platform, answers, wait_until
from tests.e2e.test_kill import held, wait_written
from tests.gateway.faulty import Fault, Faulty, faulty, hang, saying, status

ROUTES = """
providers:
  - {{name: one, dialect: openai, base_url: "{one}", prices_like: openai, retries: 1}}
  - {{name: two, dialect: openai, base_url: "{two}", prices_like: openai}}
routes:
  - {{name: retried, candidates: [{{provider: one, model: gpt-4o-mini}}]}}
  - name: hedged
    hedge_after_ms: 50
    candidates: [{{provider: one, model: gpt-4o-mini}}, {{provider: two, model: gpt-4o-mini}}]
  - name: cascaded
    strategy: cascade
    candidates: [{{provider: one, model: gpt-4o-mini}}, {{provider: two, model: gpt-4o-mini}}]
"""
BILLS = """
SELECT provider_name, kind, cost_nanousd, held_nanousd FROM bill WHERE feature = %s ORDER BY begin_at, provider_name
"""


@dataclass
class FarEnds:
    one: Faulty
    two: Faulty


@pytest.fixture(scope="module")
def far_ends(platform: Platform) -> Iterator[FarEnds]:
    with faulty() as one, faulty() as two:
        file = platform.data / "routes.yaml"
        file.write_text(ROUTES.format(one=one.url, two=two.url))
        applied = platform.manage("apply", str(file))
        assert applied.returncode == 0, applied.stdout + applied.stderr
        yield FarEnds(one, two)


@pytest.mark.parametrize(
    ("route", "one", "two", "expected"),
    [
        ("retried", [status(500), hang], [hang], [("one", "abandoned")]),
        ("hedged", [hang], [hang], [("one", "abandoned"), ("two", "abandoned")]),
        ("cascaded", [saying("I am not sure.")], [hang], [("one", "measured"), ("two", "abandoned")]),
    ],
)
def test_a_gateway_that_dies_between_attempts_leaves_a_bill_for_each(
    platform: Platform,
    far_ends: FarEnds,
    route: str,
    one: list[Fault],
    two: list[Fault],
    expected: list[tuple[str, str]],
) -> None:
    """S3-10, S4-04: a Begin without End is billed at its hold, what had ended as it ended."""
    far_ends.one.script, far_ends.two.script = list(one), list(two)
    far_ends.one.heads.clear()
    far_ends.two.heads.clear()
    wait_until(lambda: answers(f"{platform.gateway_url}/readyz"), 240, "a gateway is ready")
    caller = threading.Thread(target=_call, args=(platform, route))
    caller.start()
    try:
        wait_until(lambda: far_ends.one.requests + far_ends.two.requests == 2, 120, "the second attempt is under way")
    finally:
        for pid in platform.pids("gateway"):
            os.kill(pid, signal.SIGKILL)
        caller.join()
    wait_written(platform)
    with psycopg.connect(platform.database_url, autocommit=True) as conn:

        def bills() -> list[tuple[str, str, int, int]]:
            return conn.execute(BILLS, (route,)).fetchall()

        wait_until(lambda: len(bills()) == len(expected), 120, "what was abandoned is billed")
        assert [(provider, kind) for provider, kind, _, _ in bills()] == expected
        assert all(cost == most > 0 for _, kind, cost, most in bills() if kind == "abandoned")
    assert held(platform) == 0
    verified = platform.manage("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def _call(platform: Platform, route: str) -> None:
    body = {"model": route, "messages": [{"role": "user", "content": "one two"}], "max_tokens": 20}
    headers = {"authorization": f"Bearer {platform.key}", "x-llmobs-feature": route}
    with contextlib.suppress(httpx2.HTTPError):
        httpx2.post(f"{platform.gateway_url}/v1/chat/completions", json=body, headers=headers, timeout=60)
