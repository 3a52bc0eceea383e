"""`doctor`: says what is there and what is not, and fails on a missing P0 item alone."""

import io

import pytest
from django.core.management import call_command
from django.db import connection

from llmobs.alerts.models import Channel
from llmobs.budgets.models import Budget
from llmobs.limits.models import Limit
from llmobs.ops.checklist import Item, State, installation, is_ready, of_tenant
from llmobs.providers.models import Candidate, Provider, Route
from llmobs.tenants.models import Key, Tenant, User

HEARTBEAT = "INSERT INTO heartbeat (owner, kind, host, pid, config_version, seen_at) VALUES (%s, %s, 'h', 1, 1, now())"


def state(items: list[Item], what: str) -> State:
    return next(item.state for item in items if item.what.startswith(what))


def make_ready() -> Tenant:
    acme = Tenant.objects.create(slug="acme", name="Acme")
    Key.objects.create(tenant=acme, name="k", prefix="p", secret_hash="0" * 64)
    Budget.objects.create(tenant=acme, name="b", limit_nanousd=1)
    Channel.objects.create(tenant=acme, name="c", url="https://hooks.example.com/x")
    Provider.objects.create(name="p", dialect="openai", base_url="http://h/v1")
    User.objects.create_user("olga", is_staff=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('llmobs.counts_budgets', 'on', true)")
        cursor.execute("UPDATE budgets_budget SET counted_at = now()")
        cursor.execute(HEARTBEAT, ["g", "gateway"])
        cursor.execute(HEARTBEAT, ["w", "writer"])
    return acme


def run() -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("doctor", stdout=out)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue()
    return 0, out.getvalue()


@pytest.mark.django_db
def test_a_bare_installation_is_not_ready_and_is_told_how() -> None:
    Tenant.objects.create(slug="acme", name="Acme")

    status, said = run()

    assert status == 1
    assert "P0 ■ missing             a key in use: `manage.py createkey --tenant acme`" in said
    assert "P0 ■ missing             a provider: `providers:` in apply" in said


@pytest.mark.django_db
def test_all_p0_items_set_is_ready_though_p1_and_p2_are_missing() -> None:
    make_ready()

    status, said = run()

    assert status == 0, said
    assert "Ready: no P0 item is missing." in said
    assert "P1 ■ missing" in said


@pytest.mark.django_db
def test_an_alert_budget_stops_nothing_and_a_revoked_key_is_none() -> None:
    acme = make_ready()
    Budget.objects.update(action="alert")
    Key.objects.update(revoked_at="2026-01-01T00:00:00Z")

    items = list(of_tenant(acme))

    assert state(items, "a limit that stops calls") is State.MISSING
    assert state(items, "a key in use") is State.MISSING


@pytest.mark.django_db
def test_thresholds_without_a_channel_alert_nobody() -> None:
    acme = make_ready()
    Channel.objects.update(is_enabled=False)

    assert state(list(of_tenant(acme)), "cost alerts") is State.MISSING


@pytest.mark.django_db
@pytest.mark.parametrize("is_shared", [False, True])
def test_rate_limits_are_the_tenants_own_those_for_all_or_its_plans(is_shared: bool) -> None:
    acme = make_ready()
    Limit.objects.create(tenant=None, unit="input_tokens", per="request", limit=9)
    assert state(list(of_tenant(acme)), "rate limits") is State.MISSING

    limit = Limit.objects.create(tenant=None if is_shared else acme, unit="requests", per="minute", limit=60)
    assert state(list(of_tenant(acme)), "rate limits") is State.SET

    limit.delete()
    acme.plan = "paid"
    assert state(list(of_tenant(acme)), "rate limits") is State.SET


@pytest.mark.django_db
def test_a_credential_that_cannot_be_had_is_missing_and_not_shown() -> None:
    make_ready()
    Provider.objects.update(credential="env:NOT_SET_ANYWHERE")

    items = list(installation())

    assert not is_ready(items)
    assert "NOT_SET_ANYWHERE is not set" in str(items)


@pytest.mark.django_db
def test_a_backup_is_a_candidate_at_another_provider() -> None:
    make_ready()
    first, second = Provider.objects.get(), Provider.objects.create(name="q", dialect="openai", base_url="http://i/v1")
    route = Route.objects.create(name="smart")
    Candidate.objects.create(route=route, provider=first, model="a", position=0)
    same = Candidate.objects.create(route=route, provider=first, model="b", position=1)
    assert state(list(installation()), "a model with a backup") is State.MISSING

    same.provider = second
    same.save()

    assert state(list(installation()), "a model with a backup") is State.SET


@pytest.mark.django_db
def test_what_this_version_lacks_is_said_and_fails_nobody() -> None:
    make_ready()

    items = list(installation())

    assert state(items, "injection protection") is State.SET
    assert state(items, "capacity planning") is State.LATER
    assert is_ready(items)
