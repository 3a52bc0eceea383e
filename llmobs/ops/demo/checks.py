"""What must hold after the run, each as one named check: three sums that agree, one bill each, no overspending."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmobs.core.money import exact_usd, parse_usd
from llmobs.ops.demo.driver import Answered
from llmobs.ops.demo.expected import Expectation
from llmobs.ops.demo.plan import ATLAS, JUDGES, TRIAL
from llmobs.ops.demo.stored import BilledResponse, Refusal

MOST_NAMED = 3  # examples in a sentence
# One in a hundred of every other call is judged: of so many none is left out by chance.
SAMPLED_FOR_SURE = 5_000


@dataclass(frozen=True, slots=True)
class Check:
    """One claim, whether it holds, and the figures that say so."""

    claim: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the checks compare. `provider_bill` is the simulator's /bill?detail=1, None with real providers."""

    answers: Sequence[Answered]
    spans: dict[tuple[str, bool], int]  # of the gateway, by tenant and whether refused
    billed: dict[str, BilledResponse]
    refusals: Sequence[Refusal]
    overspent: Sequence[str]
    trial_spent_nanousd: int
    trial_limit_nanousd: int
    provider_bill: dict[str, Any] | None
    otlp_spans: int
    otlp_spans_due: int
    rejected_spans: int
    judgements: dict[str, int]
    dead_letters: int
    verify_differences: Sequence[str]


def checks(evidence: Evidence, expectation: Expectation) -> list[Check]:
    """All claims of the summary."""
    found = [_answers(evidence), _spans(evidence), _one_bill(evidence), *_refused(evidence), *_rest(evidence)]
    if evidence.provider_bill is not None:
        found[2:2] = [*_simulated(evidence, evidence.provider_bill, expectation), _fallbacks(evidence)]
    return found


def _fallbacks(evidence: Evidence) -> Check:
    """Of the simulator alone: a real provider is not down for us."""
    asked = [answer for answer in evidence.answers if answer.call.route]
    answered = sum(answer.is_served and answer.degraded == "fallback" for answer in asked)
    others = [answer for answer in evidence.answers if answer.degraded and not answer.call.route]
    return Check(
        "where the route's first provider is down, the second answers",
        answered == len(asked) and not others,
        f"{answered} of {len(asked)} calls",
    )


def _answers(evidence: Evidence) -> Check:
    bad = Counter(
        f"{answer.status} {answer.reason}".strip()
        for answer in evidence.answers
        if not answer.is_served and not (answer.is_refused and answer.call.tenant == TRIAL)
    )
    return Check("every call was served, or refused by the trial's budget", not bad, _counted(bad) or "no other answer")


def _simulated(evidence: Evidence, bill: dict[str, Any], expectation: Expectation) -> Iterator[Check]:
    served = [answer for answer in evidence.answers if answer.is_served]
    responses: dict[str, Any] = bill["responses"]
    ours = sum(response.cost_nanousd or 0 for response in evidence.billed.values())
    theirs = parse_usd(bill["cost_usd"])
    yield Check("our cost = the simulator's own bill", ours == theirs, f"{exact_usd(ours)} and {exact_usd(theirs)} USD")
    recomputed = expectation.cost_of(answer.call for answer in served)
    without_judges = sum(r.cost_nanousd or 0 for r in evidence.billed.values() if r.tenant != JUDGES)
    yield Check(
        "our cost = the trace at the price book's prices (judges apart)",
        recomputed == without_judges,
        f"{exact_usd(without_judges)} and {exact_usd(recomputed)} USD",
    )
    differing = [
        response_id for response_id, line in responses.items() if not _same(line, evidence.billed.get(response_id))
    ]
    differing += [response_id for response_id in evidence.billed if response_id not in responses]
    yield Check(
        "each response is billed as the simulator billed it",
        not differing,
        _named(differing, f"{len(responses)} alike"),
    )
    told = [answer.response_id for answer in served if not _was_told(answer, evidence, expectation)]
    yield Check("each caller was told its own usage and cost", not told, _named(told, f"{len(served)} alike"))


def _same(line: dict[str, Any], billed: BilledResponse | None) -> bool:
    return (
        billed is not None
        and (billed.requests, billed.bills) == (1, 1)
        and (billed.input_tokens, billed.output_tokens) == (line["input_tokens"], line["output_tokens"])
        and billed.cost_nanousd == (None if line["cost_usd"] is None else parse_usd(line["cost_usd"]))
    )


def _was_told(answer: Answered, evidence: Evidence, expectation: Expectation) -> bool:
    """A stream without `include_usage` tells no usage, but its cost."""
    call = answer.call
    due = (call.input_tokens, call.output_tokens)
    tells_usage = not call.is_stream or call.wants_usage or call.dialect == "anthropic"
    return (
        answer.response_id in evidence.billed
        and (answer.input_tokens, answer.output_tokens) == (due if tells_usage else (None, None))
        and answer.cost_nanousd == expectation.cost(call.model, *due)
    )


def _spans(evidence: Evidence) -> Check:
    due = Counter((a.call.tenant, not a.is_served) for a in evidence.answers)
    kept = {key: count for key, count in evidence.spans.items() if key[0] != JUDGES}
    return Check(
        "every call has exactly one gateway span",
        kept == dict(due),
        f"{sum(kept.values())} spans, {sum(due.values())} calls",
    )


def _one_bill(evidence: Evidence) -> Check:
    """By response id, against what the callers got."""
    served = Counter(answer.response_id for answer in evidence.answers if answer.is_served)
    wrong = [i for i, n in served.items() if n != 1 or i not in evidence.billed or evidence.billed[i].bills != 1]
    extra = [i for i, bill in evidence.billed.items() if i not in served and bill.tenant != JUDGES]
    return Check(
        "every served call has exactly one bill", not wrong and not extra, _named(wrong + extra, f"{len(served)} bills")
    )


def _refused(evidence: Evidence) -> Iterator[Check]:
    refused = [answer for answer in evidence.answers if answer.is_refused]
    trials = sum(answer.call.tenant == TRIAL for answer in evidence.answers)
    yield Check("the trial's budget stopped it", 0 < len(refused) < trials, f"{len(refused)} of {trials} calls refused")
    early = [r for r in evidence.refusals if not r.was_due]
    yield Check(
        "at each refusal spent + held + its own hold would have passed the limit",
        not early and len(evidence.refusals) == len(refused),
        f"{len(evidence.refusals)} refusals, {len(early)} of them too early",
    )
    yield Check(
        "no budget that blocks was overspent",
        not evidence.overspent and evidence.trial_spent_nanousd <= evidence.trial_limit_nanousd,
        _named(
            list(evidence.overspent),
            f"trial: {exact_usd(evidence.trial_spent_nanousd)} of {exact_usd(evidence.trial_limit_nanousd)} USD",
        ),
    )


def _rest(evidence: Evidence) -> Iterator[Check]:
    yield Check(
        "every exported span is stored once",
        evidence.otlp_spans == evidence.otlp_spans_due and not evidence.rejected_spans,
        f"{evidence.otlp_spans} of {evidence.otlp_spans_due}, {evidence.rejected_spans} rejected",
    )
    done = evidence.judgements.get("done", 0)
    served = sum(answer.is_served and answer.call.tenant == ATLAS for answer in evidence.answers)
    others = {state: count for state, count in evidence.judgements.items() if state != "done" and count}
    yield Check(
        "every sampled answer was judged",
        (done > 0 or served < SAMPLED_FOR_SURE) and not others,
        f"{done} judged{_and_counted(others)}",
    )
    yield Check("no dead letters", not evidence.dead_letters, f"{evidence.dead_letters}")
    yield Check(
        "verify finds no difference",
        not evidence.verify_differences,
        _named(list(evidence.verify_differences), "0 differences"),
    )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} × {what}" for what, count in counts.items())


def _and_counted(counts: dict[str, int]) -> str:
    return f", {_counted(counts)}" if counts else ""


def _named(wrong: list[str], otherwise: str) -> str:
    if not wrong:
        return otherwise
    more = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
    return f"{len(wrong)}: {'; '.join(wrong[:MOST_NAMED])}{more}"
