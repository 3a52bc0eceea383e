"""One run of the demo on a stage that is up.

1. The configuration file is applied. 2. The trace is driven through the gateway. 3. The captured exports and a week of
history go through the collector. 4. Wait until all is stored and judged. 5. Verify, compare, sum up.
"""

import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import uvloop
from rich.console import Console

from llmobs.core.clock import now_ns
from llmobs.core.semconv import SOURCE_GATEWAY
from llmobs.ops.demo import stored
from llmobs.ops.demo.backfill import batches, hours_before
from llmobs.ops.demo.bars import Bars, bars
from llmobs.ops.demo.checks import Check, Evidence, checks
from llmobs.ops.demo.children import get_json
from llmobs.ops.demo.driver import Answered, drive
from llmobs.ops.demo.expected import Expectation
from llmobs.ops.demo.exports import cases, exports, span_count
from llmobs.ops.demo.plan import TRIAL, TRIAL_REQUESTS, WORKSHOP, Call, plan
from llmobs.ops.demo.posting import Posted, post_batches, post_exports
from llmobs.ops.demo.stage import Stage
from llmobs.ops.demo.stored import Connection
from llmobs.ops.demo.summary import Summary
from llmobs.ops.demo.trace import read_trace
from llmobs.ops.demo.wire import Prompts, Wire
from llmobs.pricing.book import PriceBook

# What is on its way to the database must move within this time, else the wait ends and the checks say what lacks.
STALLED_SECONDS = 30.0
MOST_JUDGING_SECONDS = 90.0
# The sampler comes by every five seconds: after two rounds it has seen every call.
SAMPLED_AFTER_SECONDS = 11.0
POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures and whether they add up."""

    summary: Summary
    checks: list[Check]

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.holds]


def run(stage: Stage, console: Console, started: float) -> Outcome:
    """Do it all; `started` is the monotonic clock when the demo began. Raises ChildError, PostingError."""
    with psycopg.connect(stage.place.connections().database_url, autocommit=True) as conn, bars(console) as shown:
        return _Run(stage, conn, shown).outcome(started)


class _Run:
    def __init__(self, stage: Stage, conn: Connection, shown: Bars) -> None:
        self._stage, self._conn, self._shown = stage, conn, shown
        self._name = secrets.token_hex(3)  # makes prompts and sessions of this run its own

    def outcome(self, started: float) -> Outcome:
        wishes = self._stage.wishes
        conversation, code = read_trace("conv", wishes.most), read_trace("code", wishes.most)
        expectation = Expectation(PriceBook(), now_ns())
        trials = min(TRIAL_REQUESTS, len(conversation))
        # An earlier run on this data folder has used its budget up: this one gets the same again.
        limit = stored.cost_of_tenant(self._conn, TRIAL) + expectation.trial_limit(conversation, trials)
        self._stage.configure(limit)
        since = datetime.now(UTC)
        answers = uvloop.run(self._drive(plan(conversation, code, wishes.seconds, self._name, trials)))
        ended = time.monotonic()
        posted = uvloop.run(self._post())
        self._wait_until_stored(since, len(answers), posted)
        self._wait_for_judges(since, ended)
        evidence = self._evidence(since, answers, posted, limit)
        return Outcome(self._summary(since, evidence, started), checks(evidence, expectation))

    async def _drive(self, calls: list[Call]) -> list[Answered]:
        host, port = self._stage.gateway
        wire = Wire(f"{host}:{port}", self._stage.keys, Prompts(self._name))
        with self._shown.bar("the trace through the gateway", len(calls)) as step:
            return await drive(calls, wire, (host, port), lambda _: step(1))

    async def _post(self) -> Posted:
        gateway, keys, spans = self._stage.gateway, self._stage.keys, self._stage.wishes.history_spans
        captured = await post_exports(exports(), gateway, keys[WORKSHOP])
        if not spans:
            return captured
        # From the whole trace, however little of it was driven: an hour is the same in every run.
        made = batches(read_trace("conv"), read_trace("code"), hours_before(time.time()), spans)
        with self._shown.bar("a week of history through the collector", spans) as step:
            history = await post_batches(made, gateway, keys, step)
        return Posted(history.spans, captured.rejected + history.rejected)

    def _wait_until_stored(self, since: datetime, calls: int, posted: Posted) -> None:
        """Until every call and every posted span is stored, or nothing has moved for a while."""
        due = calls + posted.spans + span_count()
        seen, moved = 0, time.monotonic()
        with self._shown.bar("stored", due) as step:
            while seen < due and time.monotonic() - moved < STALLED_SECONDS:
                gateway, otlp = stored.progress(self._conn, since)
                now = min(gateway, calls) + min(otlp, due - calls)
                if now != seen:
                    step(now - seen)
                    seen, moved = now, time.monotonic()
                time.sleep(POLL_SECONDS)

    def _wait_for_judges(self, since: datetime, ended: float) -> None:
        """Until no sampled answer waits for its judge, and the judges' own calls are stored."""
        until = time.monotonic() + MOST_JUDGING_SECONDS
        with self._shown.bar("judged") as step:
            while time.monotonic() < until:
                if time.monotonic() - ended > SAMPLED_AFTER_SECONDS and self._is_judged(since):
                    step(1)
                    break
                time.sleep(POLL_SECONDS)

    def _is_judged(self, since: datetime) -> bool:
        states = stored.judgements(self._conn, since)
        return not states.get("pending") and not states.get("running") and self._is_billed(since)

    def _is_billed(self, since: datetime) -> bool:
        """As many responses are billed as the simulator has sent."""
        url = self._stage.simulator_url
        return not url or stored.bills(self._conn, since) >= int(get_json(f"{url}/bill")["requests"])

    def _evidence(self, since: datetime, answers: list[Answered], posted: Posted, limit: int) -> Evidence:
        with self._shown.bar("verified") as step:
            said = self._stage.command(["verify", "--json", "--ledger"], good=(0, 1))
            step(1)
        url = self._stage.simulator_url
        return Evidence(
            answers=answers,
            spans=stored.gateway_spans(self._conn, since),
            billed=stored.billed_responses(self._conn, since),
            refusals=stored.refusals(self._conn, since),
            overspent=stored.overspent_budgets(self._conn),
            trial_spent_nanousd=stored.cost_of_tenant(self._conn, TRIAL),
            trial_limit_nanousd=limit,
            provider_bill=get_json(f"{url}/bill?detail=1") if url else None,
            otlp_spans=stored.spans_of_tenant(self._conn, WORKSHOP),
            otlp_spans_due=span_count(),
            rejected_spans=posted.rejected,
            judgements=stored.judgements(self._conn, since),
            dead_letters=stored.dead_letters(self._conn),
            verify_differences=json.loads(said.strip().splitlines()[-1])["differences"],
        )

    def _summary(self, since: datetime, evidence: Evidence, started: float) -> Summary:
        return Summary(
            requests=len(evidence.answers),
            refused=sum(answer.is_refused for answer in evidence.answers),
            spans=sum(evidence.spans.values()),
            cost_by_tenant=stored.cost_by_tenant(self._conn, since, SOURCE_GATEWAY),
            provider_bill_usd=str(evidence.provider_bill["cost_usd"]) if evidence.provider_bill else None,
            otlp_cost_nanousd=stored.cost_of_tenant(self._conn, WORKSHOP),
            p95_ms=stored.p95_ms(self._conn, since),
            budgets_stopped=len({(refusal.tenant, refusal.budget) for refusal in evidence.refusals}),
            judged=evidence.judgements.get("done", 0),
            otlp_cases=len(cases()),
            verify_differences=len(evidence.verify_differences),
            dashboard_url=self._stage.dashboard_url,
            seconds=Decimal(time.monotonic() - started).quantize(Decimal("0.1")),
        )
