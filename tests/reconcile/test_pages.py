"""The page: what the planted month looks like, who sees it, and its form."""

import re
from typing import Any

import psycopg
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from llmobs.reconcile.matching import reconcile_month
from llmobs.reconcile.models import Account, Month, Report
from llmobs.tenants.models import AuditEntry
from tests.reconcile.made import AT, make_account, take_in
from tests.reconcile.planted import MONTH, Planted, commit_planted, plant
from tests.tenants.cast import Cast, make_cast

Connection = psycopg.Connection[Any]


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


@pytest.fixture
def planted(cast: Cast, pg: Connection) -> Planted:
    """The month, all of it acme's."""
    made = plant(tenant_ids=(cast.acme.pk,))
    commit_planted(pg, made)
    reports = made.reports("json")
    for kind in ("openai", "anthropic"):
        account_id = make_account(pg, kind)
        for what in ("usage", "cost"):
            take_in(pg, account_id, reports[kind, what])
        with pg.transaction():
            reconcile_month(pg, account_id, MONTH, AT)
    return made


def test_an_operator_sees_both_sums_and_every_name(cast: Cast, planted: Planted) -> None:
    """PAINS 10 and 11."""
    text = signed_in(cast.olga).get("/reconcile/?month=2026-10").content.decode()
    for words in ("Traffic outside the gateway", "Price differs", "Tokens differ", "Time zone", "Rounding"):
        assert words in text
    assert "Counted in another class" in text
    assert text.count(">$0.00<") == 4  # the residual of each account, twice: nothing is left


def test_a_name_opens_its_days(cast: Cast, planted: Planted) -> None:
    client = signed_in(cast.olga)
    price = client.get("/reconcile/?month=2026-10&account=anthropic&name=price").content.decode()
    assert "they bill $18, we $15 per million" in price
    assert price.count("<td>16 Oct</td>") == 1
    assert re.search(r"/explain/\?from=2026-10-16T00%3A00Z&amp;to=2026-10-17T00%3A00Z&amp;provider=anthropic", price)
    outside = client.get("/reconcile/?month=2026-10&account=openai&name=outside").content.decode()
    assert "key key_laptop" in outside


def test_a_tenant_sees_an_account_that_is_its_alone(cast: Cast, planted: Planted) -> None:
    assert "No bill to compare with yet" in signed_in(cast.alice).get("/reconcile/?month=2026-10").content.decode()
    Account.objects.filter(name="openai").update(tenant=cast.acme)
    own = signed_in(cast.alice).get("/reconcile/?month=2026-10").content.decode()
    assert "Traffic outside the gateway" in own
    assert "Counted in another class" not in own  # Anthropic's
    assert "Take in a report" not in own
    stranger = signed_in(cast.charlie).get("/reconcile/?month=2026-10&account=openai&name=outside").content.decode()
    assert "key_laptop" not in stranger


def test_a_shared_month_is_nobodys_but_the_operators(cast: Cast, planted: Planted) -> None:
    Account.objects.filter(name="openai").update(tenant=cast.acme)
    Month.objects.update(tenant_ids=[cast.acme.pk, cast.globex.pk])
    assert "Traffic outside" not in signed_in(cast.alice).get("/reconcile/?month=2026-10").content.decode()


def test_the_form_takes_a_report_in_once(cast: Cast) -> None:
    text = plant().reports("csv")["openai", "cost"].encode()

    def send(client: Client) -> Any:
        file = SimpleUploadedFile("costs.csv", text, "text/csv")
        return client.post("/reconcile/import/", {"account": "openai", "report": file}, follow=True)

    assert "taken in" in send(signed_in(cast.olga)).content.decode()
    assert "nothing changed" in send(signed_in(cast.olga)).content.decode()
    assert Report.objects.count() == 1
    assert AuditEntry.objects.filter(action="import").count() == 1
    assert send(signed_in(cast.alice)).status_code == 404


def test_what_is_no_report_is_said_on_the_page(cast: Cast) -> None:
    file = SimpleUploadedFile("x.csv", b"colour,amount\nred,1\n")
    sent = {"account": "openai", "report": file}
    answer = signed_in(cast.olga).post("/reconcile/import/", sent, follow=True)
    assert "are of no report that is known" in answer.content.decode()
    assert Account.objects.count() == 0


def test_nobody_but_an_operator_asks_again(cast: Cast, planted: Planted) -> None:
    assert signed_in(cast.charlie).post("/reconcile/openai/2026-10/again/").status_code == 404
    assert signed_in(cast.olga).post("/reconcile/openai/2026-10/again/").status_code == 302
    assert Month.objects.get(account__name="openai").is_due
    assert signed_in(cast.olga).post("/reconcile/openai/2026-13/again/").status_code == 404


def test_days_without_a_report_are_named(cast: Cast, pg: Connection) -> None:
    account_id = make_account(pg, "openai")
    take_in(pg, account_id, 'start_time_iso,amount_value,line_item\n2026-10-02,0.10,"gpt-4o, input"\n')
    with pg.transaction():
        reconcile_month(pg, account_id, MONTH, AT)
    text = signed_in(cast.olga).get("/reconcile/?month=2026-10").content.decode()
    assert "No report of costs of 1 Oct, 3 Oct" in text
    assert "and 24 more: these days are in neither sum" in text


def test_without_accounts_it_says_how_to_begin(cast: Cast) -> None:
    text = signed_in(cast.olga).get("/reconcile/").content.decode()
    assert "manage.py reconcile import" in text
    assert "env:OPENAI_ADMIN_KEY" in text
