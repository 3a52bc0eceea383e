"""The checks of the demo: they pass when all agrees, and each notices its own fault."""

from dataclasses import replace
from typing import Any

import pytest

from llmobs.ops.demo.checks import Evidence, checks
from llmobs.ops.demo.driver import Answered
from llmobs.ops.demo.expected import Expectation
from llmobs.ops.demo.plan import ATLAS, CONVERSATION_MODEL, TRIAL, Call
from llmobs.ops.demo.stored import BilledResponse, Refusal
from llmobs.pricing.book import PriceBook

# 374 tokens in at 150 nano-USD, 44 out at 600
COST = 82_500
EXPECTATION = Expectation(PriceBook(), 1_795_000_000_000_000_000)
CALL = Call(0, ATLAS, "openai", CONVERSATION_MODEL, "support", "user", "session", 374, 44, False, False, 0.0)
BILLED = BilledResponse(ATLAS, 1, 374, 44, COST, 1, False)
REFUSAL = Refusal(TRIAL, "trial", limit=100_000, base=10_000, pending=5_000, held=5_000, requested=90_000)


def evidence() -> Evidence:
    trial = replace(CALL, tenant=TRIAL)
    return Evidence(
        answers=[
            Answered(CALL, 200, 1, "", "one", 374, 44, COST),
            Answered(trial, 200, 1, "", "two", 374, 44, COST),
            Answered(trial, 429, 1, "budget_exhausted"),
        ],
        spans={(ATLAS, False): 1, (TRIAL, False): 1, (TRIAL, True): 1},
        billed={"one": BILLED, "two": replace(BILLED, tenant=TRIAL)},
        refusals=[REFUSAL],
        overspent=[],
        trial_spent_nanousd=COST,
        trial_limit_nanousd=100_000,
        provider_bill=_bill(),
        otlp_spans=346,
        otlp_spans_due=346,
        rejected_spans=0,
        judgements={"done": 1},
        dead_letters=0,
        verify_differences=[],
    )


def _bill(output_tokens: int = 44, cost_usd: str = "0.000165") -> dict[str, Any]:
    line = {"model": CONVERSATION_MODEL, "input_tokens": 374, "output_tokens": output_tokens, "cost_usd": "0.0000825"}
    return {"requests": 2, "cost_usd": cost_usd, "responses": {"one": line, "two": line}}


def failed(given: Evidence) -> list[str]:
    return [check.claim for check in checks(given, EXPECTATION) if not check.holds]


def test_all_claims_hold_when_everything_agrees() -> None:
    assert failed(evidence()) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"provider_bill": _bill(cost_usd="0.000165001")}, "the simulator's own bill"),
        ({"provider_bill": _bill(output_tokens=45)}, "billed as the simulator billed it"),
        ({"billed": {"one": BILLED}}, "exactly one bill"),
        ({"billed": {"one": replace(BILLED, bills=2), "two": replace(BILLED, tenant=TRIAL)}}, "exactly one bill"),
        ({"spans": {(ATLAS, False): 2, (TRIAL, False): 1, (TRIAL, True): 1}}, "exactly one gateway span"),
        ({"refusals": [replace(REFUSAL, requested=1)]}, "at each refusal"),
        ({"refusals": []}, "at each refusal"),
        ({"overspent": ["forge/hourly "]}, "overspent"),
        ({"trial_spent_nanousd": 100_001}, "overspent"),
        ({"otlp_spans": 345}, "stored once"),
        ({"rejected_spans": 1}, "stored once"),
        ({"judgements": {"done": 1, "failed": 1}}, "was judged"),
        ({"dead_letters": 1}, "dead letters"),
        ({"verify_differences": ["bill = span: …"]}, "verify"),
    ],
)
def test_each_fault_is_noticed(fault: dict[str, Any], words: str) -> None:
    assert any(words in claim for claim in failed(replace(evidence(), **fault)))


@pytest.mark.parametrize(
    ("route", "degraded", "holds"), [("coder", "fallback", True), ("coder", "", False), ("", "fallback", False)]
)
def test_who_answered_in_the_place_of_whom_is_compared(route: str, degraded: str, holds: bool) -> None:
    given = evidence()
    first = replace(given.answers[0], call=replace(CALL, route=route), degraded=degraded)
    failures = failed(replace(given, answers=[first, *given.answers[1:]]))
    assert failures == ([] if holds else ["where the route's first provider is down, the second answers"])


def test_a_caller_who_was_told_another_cost_is_noticed() -> None:
    given = evidence()
    wrong = replace(given, answers=[replace(given.answers[0], cost_nanousd=COST + 1), *given.answers[1:]])
    assert failed(wrong) == ["each caller was told its own usage and cost"]


def test_a_call_that_failed_is_noticed() -> None:
    given = evidence()
    wrong = replace(given, answers=[*given.answers, Answered(CALL, 503, 1, "budget_unavailable")])
    assert "every call was served, or refused by the trial's budget" in failed(wrong)
