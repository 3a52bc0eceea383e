"""Reports are fetched where an account has an admin key: all pages, patiently, from its own host; errors are shown."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from llmobs.providers.credentials import store_form
from llmobs.reconcile.fetching import MOST_TRIES, FetchError, Source, fetch_reports
from llmobs.reconcile.models import Account, Month, Part, Report
from llmobs.reconcile.tasks import fetch, fetch_due, reconcile_due
from tests.reconcile.planted import Planted, commit_planted, plant
from tests.reconcile.provider import Provider, planted_pages, provider_running
from tests.tenants.cast import make_cast

KEY = "sk-admin-very-secret"
NOW = datetime(2026, 11, 3, 6, tzinfo=UTC)
FIRST, AFTER = date(2026, 10, 1), date(2026, 11, 1)


@pytest.fixture
def made() -> Planted:
    return plant(tenant_ids=(1,))


@pytest.fixture
def provider(made: Planted) -> Iterator[Provider]:
    with provider_running(Provider(planted_pages(made.reports("json")))) as running:
        yield running


def source(provider: Provider, kind: str, pauses: list[float] | None = None) -> Source:
    base_url = f"{provider.url}/v1" if kind == "openai" else provider.url
    return Source(kind, base_url, KEY, (pauses if pauses is not None else []).append)


def account(provider: Provider, kind: str = "openai", **fields: Any) -> Account:
    base_url = f"{provider.url}/v1" if kind == "openai" else provider.url
    sealed = store_form(KEY, settings.SECRETS.encryption_keys)
    values = {"base_url": base_url, "credential": sealed, **fields}
    return Account.objects.create(name=kind, kind=kind, **values)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_all_pages_of_each_report_are_one_report(provider: Provider, made: Planted, kind: str) -> None:
    found = fetch_reports(source(provider, kind), FIRST, AFTER)
    assert [report.name for report in found] == ["usage", "costs"]
    pages = {"openai": [3, 2], "anthropic": [2, 2]}[kind]  # OpenAI's usage is of completions and of embeddings
    assert [report.data.count(b'"has_more"') for report in found] == pages
    assert all(report.data.startswith(b"[") and KEY.encode() not in report.data for report in found)


def test_openai_is_asked_as_its_reference_says(provider: Provider) -> None:
    fetch_reports(source(provider, "openai"), FIRST, AFTER)
    path, query, headers = provider.asked[0]
    assert path == "/v1/organization/usage/completions"
    assert (query["start_time"], query["end_time"], query["bucket_width"]) == (["1790812800"], ["1793491200"], ["1d"])
    assert query["group_by"] == ["model", "api_key_id", "project_id", "batch", "service_tier"]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert [path for path, _, _ in provider.asked][2:] == [
        "/v1/organization/usage/embeddings", "/v1/organization/costs", "/v1/organization/costs",
    ]  # fmt: skip


def test_anthropic_is_asked_as_its_reference_says(provider: Provider) -> None:
    fetch_reports(source(provider, "anthropic"), FIRST, AFTER)
    path, query, headers = provider.asked[-1]
    assert (path, query["page"]) == ("/v1/organizations/cost_report", ["1"])
    assert query["starting_at"] == ["2026-10-01T00:00:00Z"]
    assert query["group_by[]"] == ["description", "workspace_id"]
    assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")


def test_it_waits_as_long_as_it_is_told(provider: Provider) -> None:
    provider.faults = [(429, {"retry-after": "7"}), (503, {})]
    pauses: list[float] = []
    assert len(fetch_reports(source(provider, "openai", pauses), FIRST, AFTER)) == 2
    assert pauses == [7.0, 4.0]


def test_it_gives_up_and_says_why_without_the_key(provider: Provider) -> None:
    provider.faults = [(500, {})] * MOST_TRIES
    with pytest.raises(FetchError, match=rf"HTTP 500.*\({MOST_TRIES} tries\)") as raised:
        fetch_reports(source(provider, "openai"), FIRST, AFTER)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize("status", [401, 403, 302])
def test_a_no_is_not_asked_again_and_a_redirect_not_followed(provider: Provider, status: int) -> None:
    provider.faults = [(status, {"location": "http://elsewhere.invalid/"})]
    with pytest.raises(FetchError, match=f"HTTP {status}"):
        fetch_reports(source(provider, "openai"), FIRST, AFTER)
    assert len(provider.asked) == 1


def test_more_without_where_is_no_report(provider: Provider) -> None:
    provider.pages["/v1/organization/costs"] = [{"data": "none"}]
    with pytest.raises(FetchError, match="no page of a report"):
        fetch_reports(source(provider, "openai"), FIRST, AFTER)


@pytest.mark.django_db(transaction=True)
def test_a_day_later_the_month_stands_reconciled(provider: Provider, made: Planted, pg: Any) -> None:
    """PAINS 10 and 25: from the admin key to the named differences, by the tasks alone."""
    cast = make_cast()
    commit_planted(pg, plant(tenant_ids=(cast.acme.pk,)))
    for kind in ("openai", "anthropic"):
        account(provider, kind)
    fetch_due()
    assert Report.objects.count() == 4
    reconcile_due()
    assert not Month.objects.filter(is_due=True).exists()
    assert {"outside", "price", "tokens"} <= set(Part.objects.values_list("name", flat=True))
    asked = len(provider.asked)
    fetch_due()  # no earlier than the next day
    assert len(provider.asked) == asked


@pytest.mark.django_db(transaction=True)
def test_the_same_answer_a_day_later_changes_nothing(provider: Provider) -> None:
    found = account(provider)
    assert fetch(found, NOW)
    assert fetch(found, NOW + timedelta(days=1))
    assert Report.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_what_goes_wrong_stands_on_the_page_and_is_tried_again(provider: Provider) -> None:
    cast = make_cast()
    found = account(provider)
    provider.faults = [(401, {})] * 2
    assert not fetch(found, NOW)
    assert found.next_fetch_at == NOW + timedelta(minutes=15)
    assert not fetch(found, NOW)
    assert found.next_fetch_at == NOW + timedelta(minutes=30)
    client = Client()
    client.force_login(cast.olga)
    text = client.get("/reconcile/").content.decode()
    assert "Reports cannot be fetched: the provider answered HTTP 401: no: Bearer …" in text
    assert KEY not in text


@pytest.mark.django_db(transaction=True)
def test_a_variable_that_is_not_set_is_an_error_of_the_account() -> None:
    found = Account.objects.create(name="openai", kind="openai", credential="env:NO_SUCH_ADMIN_KEY")
    assert not fetch(found, timezone.now())
    assert found.fetch_error == "the variable NO_SUCH_ADMIN_KEY is not set"
