"""Prices over REST: operators change them, everyone sees the shared and their own, a stranger nothing of another's."""

from typing import Any

import pytest
from django.utils import timezone

from llmobs.pricing.models import Price
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast, make_key, with_key

MODELS = "/api/v1/models/"
FROM = "2026-11-01T00:00:00Z"
SHEET = f"provider,model,effective_from,input_usd_per_mtok\nlocal,llama,{FROM},1\n"


@pytest.fixture
def cast(db: None) -> Cast:
    cast = make_cast()
    make_key(None, "ops", "operator")
    Price.objects.create(
        tenant=cast.acme, provider="local", model="own", effective_from=timezone.now(), input_usd_per_mtok="1"
    )
    Price.objects.create(provider="local", model="shared", effective_from=timezone.now(), input_usd_per_mtok="1")
    return cast


def test_a_sheet_goes_out_with_what_the_caller_sees(cast: Cast) -> None:
    own, strangers = with_key("acme").get(f"{MODELS}export/"), as_person(cast.charlie).get(f"{MODELS}export/")
    assert own["content-type"] == "text/csv; charset=utf-8"
    assert (b"acme,local,own" in own.content, b",local,shared" in own.content) == (True, True)
    assert (b"own" in strangers.content, b",local,shared" in strangers.content) == (False, True)


def test_an_operator_brings_a_sheet_in_and_nobody_else(cast: Cast) -> None:
    def brought(word: str, query: str = "") -> Any:
        return with_key(word).post(f"{MODELS}import/{query}", SHEET, content_type="text/csv")

    assert_problem(brought("acme", "?apply=1"), 403)
    assert_problem(as_person(cast.alice).post(f"{MODELS}import/", SHEET, content_type="text/csv"), 403)
    shown = brought("operator")
    assert shown.status_code == 200
    assert not Price.objects.filter(model="llama").exists()
    answer = brought("operator", "?apply=1").json()
    assert (answer["is_applied"], answer["unchanged"], answer["new"][0]["model"]) == (True, 0, "llama")
    assert Price.objects.filter(model="llama").exists()


def test_a_mistake_in_a_sheet_is_a_problem_with_its_line(cast: Cast) -> None:
    wrong = with_key("operator").post(f"{MODELS}import/", SHEET + f"local,x,{FROM},one\n", content_type="text/csv")
    assert [each["field"] for each in assert_problem(wrong, 400)["errors"]] == ["line 3 input_usd_per_mtok"]


def test_units_and_tiers_are_checked(cast: Cast) -> None:
    body = {"provider": "local", "model": "m", "effective_from": FROM, "input_usd_per_mtok": "1"}
    operator = with_key("operator")
    wrong = operator.post(MODELS, {**body, "units": {"smells_usd_per_mtok": "1"}}, format="json")
    assert_problem(wrong, 400)
    made = operator.post(MODELS, {**body, "tiers": {"batch": {"times": "0.5"}}}, format="json")
    assert made.status_code == 201
