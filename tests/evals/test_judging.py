"""A sample of answers is judged through a model's own SDK; each row ends as a score or with its reason."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest
from django.utils import timezone
from pytest_django import Settings

from llmobs.core.clock import now_ns
from llmobs.evals.judging import CLAIM_LASTS, MOST_ATTEMPTS, PAUSE, claim
from llmobs.evals.models import Judge, Judgement, Score
from llmobs.evals.tasks import judge_waiting, sample_all
from llmobs.ops.simulator.faults import Faults
from llmobs.ops.simulator.running import Running, running
from llmobs.providers.models import Provider
from llmobs.spans.record import Span
from llmobs.tenants.models import Key, Tenant
from tests.ingest.making import call, commit

CRITERIA = ["helpful and actionable", "no invented facts"]


@pytest.fixture
def gateway(settings: Settings) -> Iterator[Running]:
    """The simulator in the gateway's place: it speaks both formats and answers judges."""
    with running() as simulator:
        settings.GATEWAY_URL = simulator.url
        yield simulator


@pytest.fixture
def judge(pg: psycopg.Connection) -> Judge:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    payer = Tenant.objects.create(slug="judges", name="Judges")
    key = Key.objects.create(tenant=payer, name="prod", prefix="p", secret_hash="h")
    for dialect in ("openai", "anthropic"):
        Provider.objects.create(name=dialect, dialect=dialect, base_url="http://127.0.0.1:1")
    return Judge.objects.create(
        name="helpful", tenant=tenant, model="gpt-4o-mini", key=key, sample=Decimal(1), criteria=CRITERIA
    )


def answered(judge: Judge, **changes: object) -> Span:
    return call(judge.tenant_id, start_ns=now_ns(), **changes)


@pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-sonnet-4-5"])
def test_an_answer_gets_its_score_by_the_sdk_of_the_judges_model(
    pg: psycopg.Connection, judge: Judge, gateway: Running, model: str
) -> None:
    Judge.objects.update(model=model)
    span = answered(judge)
    commit(pg, span)
    assert (sample_all(), judge_waiting()) == (1, 1)
    score = Score.objects.get()
    assert (bytes(score.trace_id), bytes(score.span_id or b""), score.source) == (span.trace_id, span.span_id, "judge")
    assert 1 <= (score.value or 0) <= 10
    assert score.label in ("PASS", "FAIL")
    assert [one["criterion"] for one in score.details["criteria"]] == CRITERIA
    assert Judgement.objects.get().state == Judgement.State.DONE


def test_no_answer_is_sampled_or_judged_twice(pg: psycopg.Connection, judge: Judge, gateway: Running) -> None:
    commit(pg, answered(judge))
    assert (sample_all(), sample_all()) == (1, 0)
    assert (judge_waiting(), judge_waiting()) == (1, 0)


def test_the_sample_is_the_judges_share_and_the_same_for_the_same_traces(pg: psycopg.Connection, judge: Judge) -> None:
    Judge.objects.update(sample=Decimal("0.25"))
    commit(pg, *(answered(judge, trace_id=n.to_bytes(16, "big")) for n in range(400)))
    chosen = sample_all()
    assert 60 <= chosen <= 140
    traces = set(Judgement.objects.values_list("trace_id", flat=True))
    Judgement.objects.all().delete()
    assert sample_all() == chosen
    assert set(Judgement.objects.values_list("trace_id", flat=True)) == traces


def test_only_answered_calls_of_the_rules_tenant_and_feature_are_sampled(pg: psycopg.Connection, judge: Judge) -> None:
    Judge.objects.update(feature="support")
    stranger = Tenant.objects.create(slug="stranger", name="Stranger")
    commit(
        pg,
        answered(judge),
        answered(judge, status="failed", usage=None),
        answered(judge, is_call=False, usage=None),
        call(stranger.pk, start_ns=now_ns()),
        call(judge.tenant_id, start_ns=now_ns() - 60_000_000_000),  # before the judge was made
    )
    assert sample_all() == 1


def test_a_judges_own_calls_are_never_judged(pg: psycopg.Connection, judge: Judge) -> None:
    span = answered(judge)
    span.attribution = type(span.attribution)(feature="judge", key_id=judge.key_id)
    commit(pg, span)
    assert sample_all() == 0


def test_an_answer_that_was_not_kept_is_skipped_with_its_reason(pg: psycopg.Connection, judge: Judge) -> None:
    commit(pg, answered(judge, input=None, output=None))
    assert sample_all() == 1
    row = Judgement.objects.get()
    assert (row.state, row.reason) == (Judgement.State.SKIPPED, "its messages are not kept (content policy)")


def test_a_refusal_is_tried_again_later_and_fails_with_its_reason(
    pg: psycopg.Connection, judge: Judge, gateway: Running
) -> None:
    gateway.simulator.faults = Faults(fail_rate=1.0, status=529)
    commit(pg, answered(judge))
    sample_all()
    for _ in range(MOST_ATTEMPTS):
        assert judge_waiting() == 1
        Judgement.objects.update(claimed_at=timezone.now() - PAUSE * 2)
    row = Judgement.objects.get()
    assert (row.state, row.attempts) == (Judgement.State.FAILED, MOST_ATTEMPTS)
    assert "HTTP 529" in row.reason
    assert Score.objects.count() == 0


def test_what_a_killed_worker_had_claimed_is_taken_again_after_a_while(pg: psycopg.Connection, judge: Judge) -> None:
    commit(pg, answered(judge))
    sample_all()
    now = timezone.now()
    assert claim(now) is not None
    assert claim(now + timedelta(minutes=1)) is None
    assert claim(now + CLAIM_LASTS + timedelta(seconds=1)) is not None


def test_every_tenants_judgements_are_taken_and_its_oldest_first(pg: psycopg.Connection, judge: Judge) -> None:
    other = Tenant.objects.create(slug="other", name="Other")
    rows = [
        Judgement.objects.create(
            judge=judge, tenant=tenant, trace_id=bytes([n]) * 16, span_id=bytes([n]) * 8, start=timezone.now()
        )
        for n, tenant in enumerate([judge.tenant, other, judge.tenant, other])
    ]
    now = timezone.now()
    taken = [found for _ in rows if (found := claim(now)) is not None]
    assert claim(now) is None
    assert {row.pk for row in taken} == {row.pk for row in rows}
    for tenant in (judge.tenant, other):
        own = [row.pk for row in taken if row.tenant_id == tenant.pk]
        assert own == sorted(own)


def test_two_judges_of_one_tenant_sample_the_same_answers(pg: psycopg.Connection, judge: Judge) -> None:
    Judge.objects.create(
        name="polite", tenant=judge.tenant, model="gpt-4o-mini", key=judge.key, sample=Decimal(1), criteria=CRITERIA
    )
    commit(pg, *(answered(judge, trace_id=n.to_bytes(16, "big")) for n in range(20)))
    assert (sample_all(), sample_all()) == (40, 0)
    assert Judgement.objects.values("pk").distinct().count() == 40


def test_a_deleted_judges_judgements_go_with_it_and_its_scores_stay(pg: psycopg.Connection, judge: Judge) -> None:
    commit(pg, answered(judge))
    sample_all()
    Score.objects.create(tenant=judge.tenant, trace_id=b"t" * 16, name="helpful", value=8, source="judge", judge=judge)
    judge.delete()
    assert Judgement.objects.count() == 0
    assert [(score.name, score.judge_id) for score in Score.objects.all()] == [("helpful", None)]


def test_a_deleted_tenants_judgements_and_scores_go_with_it(pg: psycopg.Connection, judge: Judge) -> None:
    commit(pg, answered(judge))
    sample_all()
    Score.objects.create(tenant=judge.tenant, trace_id=b"t" * 16, name="helpful", value=8, source="judge", judge=judge)
    judge.tenant.delete()
    assert (Judge.objects.count(), Judgement.objects.count(), Score.objects.count()) == (0, 0, 0)


def test_a_model_that_nobody_serves_is_skipped_with_its_reason(pg: psycopg.Connection, judge: Judge) -> None:
    Judge.objects.update(model="no-such-model")
    commit(pg, answered(judge))
    sample_all()
    judge_waiting()
    assert Judgement.objects.get().reason == "no provider or route serves the judge's model no-such-model"
