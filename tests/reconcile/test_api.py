"""REST: reports go in by operators, what a month came to comes out to those whose account it is alone."""

from decimal import Decimal
from typing import Any

import psycopg
import pytest

from llmobs.reconcile.matching import reconcile_month
from llmobs.reconcile.models import Account, Report
from tests.reconcile.made import AT, make_account, take_in
from tests.reconcile.planted import MONTH, Planted, commit_planted, plant
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast, make_key, with_key

Connection = psycopg.Connection[Any]
API = "/api/v1/reconcile"
CSV = 'date,line_item,amount\n2026-10-02,"gpt-4o, input",0.10\n'


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    make_key(None, "root", "root")
    return make_cast()


@pytest.fixture
def planted(cast: Cast, pg: Connection) -> Planted:
    made = plant(tenant_ids=(cast.acme.pk,))
    commit_planted(pg, made)
    reports = made.reports("json")
    account_id = make_account(pg, "openai")
    for what in ("usage", "cost"):
        take_in(pg, account_id, reports["openai", what])
    with pg.transaction():
        reconcile_month(pg, account_id, MONTH, AT)
    return made


def test_a_report_goes_in_once(cast: Cast) -> None:
    given = {"provider": "openai", "content": CSV, "name": "costs.csv"}
    first = with_key("root").post(f"{API}/reports/", given, format="json")
    second = with_key("root").post(f"{API}/reports/", given, format="json")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert (first.json()["kind"], first.json()["row_count"], first.json()["actor"]) == ("cost", 1, "key operator/root")


def test_what_is_no_report_is_told_by_field(cast: Cast) -> None:
    answer = with_key("root").post(f"{API}/reports/", {"provider": "openai", "content": "x"}, format="json")
    assert assert_problem(answer, 400)["errors"][0]["field"] == "content"
    assert Report.objects.count() == 0


def test_a_tenant_gives_no_reports(cast: Cast) -> None:
    for caller in (with_key("acme"), as_person(cast.alice)):
        answer = caller.post(f"{API}/reports/", {"provider": "openai", "content": CSV}, format="json")
        assert_problem(answer, 403)


def test_a_month_adds_up(cast: Cast, planted: Planted) -> None:
    """PAINS 11: the residual is a figure, and it is nothing."""
    (month,) = with_key("root").get(f"{API}/?month=2026-10").json()["results"]
    sums = {each["name"]: Decimal(each["amount_usd"]) for each in month["differences"]}
    assert sums["outside"] == planted.expected["outside"]
    assert sum(sums.values()) == Decimal(month["theirs_usd"]) - Decimal(month["ours_usd"])
    assert (month["residual_usd"], month["compared_days"], month["missing"]) == ("0", 31, {"cost": [], "usage": []})


def test_the_parts_are_listed_page_by_page(cast: Cast, planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.api.reconcile.MOST_ROWS", 2)
    client, found = with_key("root"), []
    url = f"{API}/differences/?month=2026-10&account=openai&name=outside"
    while url:
        page = client.get(url).json()
        found += page["results"]
        url = page["next"]
    assert sum(Decimal(each["amount_usd"]) for each in found) == planted.expected["outside"]
    assert {each["detail"]["key"] for each in found} == {"key_laptop"}
    assert len({each["id"] for each in found}) == len(found) == 6


@pytest.mark.parametrize("path", ["", "reports/", "differences/?month=2026-10&account=openai"])
def test_a_stranger_sees_nothing(cast: Cast, planted: Planted, path: str) -> None:
    Account.objects.update(tenant=cast.acme)
    join = "&" if "?" in path else "?"
    for caller in (with_key("globex"), as_person(cast.charlie)):
        answer = caller.get(f"{API}/{path}{join}month=2026-10")
        assert answer.status_code == 404 or answer.json()["results"] == []
    assert_problem(with_key("globex").get(f"{API}/{path}{join}tenant=acme"), 404)
    own = with_key("acme").get(f"{API}/{path}{join}month=2026-10")
    assert own.json()["results"] != []


@pytest.mark.parametrize(
    "asked",
    ["?month=2026-13", "differences/", "differences/?account=openai&name=x", "differences/?account=openai&cursor=x"],
)
def test_what_is_asked_wrongly_is_told(cast: Cast, planted: Planted, asked: str) -> None:
    assert_problem(with_key("root").get(f"{API}/{asked}"), 400)
