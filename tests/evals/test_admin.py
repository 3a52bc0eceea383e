"""Judgements and scores in the admin and over REST: found by their ids, and what becomes of them with their judge."""

import pytest
from django.test import Client
from django.utils import timezone

from llmobs.evals.models import Judge, Judgement, Score
from llmobs.tenants.models import User
from tests.tenants.cast import make_cast

pytestmark = pytest.mark.django_db
TRACE = b"\1" * 16


@pytest.fixture
def judged() -> tuple[Judge, Judgement, Score]:
    cast = make_cast()
    judge = Judge.objects.create(
        tenant=cast.acme, name="j", model="m", key=cast.acme_key, sample="0.1", criteria=["good"]
    )
    of = {"tenant": cast.acme, "judge": judge, "trace_id": TRACE, "span_id": TRACE[:8]}
    judgement = Judgement.objects.create(**of, start=timezone.now())
    return judge, judgement, Score.objects.create(**of, name="helpful", value=7, source="judge")


@pytest.fixture
def operator(judged: tuple[Judge, Judgement, Score]) -> Client:
    client = Client()
    client.force_login(User.objects.get(is_staff=True))
    return client


def test_each_opens_by_its_id_and_a_score_still_does_when_its_judge_has_gone(
    operator: Client, judged: tuple[Judge, Judgement, Score]
) -> None:
    judge, judgement, score = judged
    for address in (f"judgement/{judgement.pk}", f"score/{score.pk}"):
        assert TRACE.hex() in operator.get(f"/admin/evals/{address}/change/").content.decode()
    assert operator.post(f"/admin/evals/judge/{judge.pk}/delete/", {"post": "yes"}).status_code == 302
    assert Judgement.objects.count() == 0
    assert TRACE.hex() in operator.get(f"/admin/evals/score/{score.pk}/change/").content.decode()


def test_a_judge_that_is_deleted_over_rest_leaves_its_scores(
    operator: Client, judged: tuple[Judge, Judgement, Score]
) -> None:
    assert operator.delete(f"/api/v1/judges/{judged[0].pk}/").status_code == 204
    assert Judgement.objects.count() == 0
    (shown,) = operator.get("/api/v1/scores/").json()["results"]
    assert (shown["id"], shown["name"], shown["judge"]) == (judged[2].pk, "helpful", None)
