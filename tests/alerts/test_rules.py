"""Rules of every kind: what opens an alert, what does not, what ends it (PAINS 8, 12, 29 to 33)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ValidationError
from django.db import transaction

from llmobs.alerts.evaluating import evaluate
from llmobs.alerts.models import Alert, AlertRule, Channel, Delivery
from llmobs.budgets.models import Budget
from llmobs.core.money import NANOUSD_PER_USD
from llmobs.evals.models import Score
from llmobs.providers.models import Provider
from llmobs.rollups.bills import close_bills
from llmobs.tenants.models import Tenant
from llmobs.tenants.plain_connection import plain_connection
from tests.alerts import figures

NOW = datetime.now(UTC).replace(second=30, microsecond=0)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
THIS_MINUTE = NOW.replace(second=0)
USD = NANOUSD_PER_USD


@pytest.fixture
def acme(pg: psycopg.Connection, transactional_db: None) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def rule(tenant: Tenant | None, kind: str, **fields: Any) -> AlertRule:
    made = AlertRule(tenant=tenant, kind=kind, **{"name": kind, **fields})
    made.full_clean()
    made.save()
    return made


def evaluated(now: datetime = NOW) -> list[tuple[str, str]]:
    """(state, title) of every alert after both tasks ran."""
    for is_slow in (False, True):
        evaluate(plain_connection(), now, transaction.atomic, is_slow)
    return list(Alert.objects.order_by("pk").values_list("state", "title"))


def test_slow_calls_open_an_alert(pg: psycopg.Connection, acme: Tenant) -> None:
    rule(acme, "latency_p95", threshold=2000)
    figures.minute(pg, acme.pk, THIS_MINUTE - MINUTE, calls=90, ms=100)
    figures.minute(pg, acme.pk, THIS_MINUTE - 2 * MINUTE, calls=10, ms=5000)
    ((state, title),) = evaluated()
    assert (state, title) == ("open", "95 % of calls of Acme take up to 5,039 ms (from 2,000 ms)")


def test_few_calls_say_nothing(pg: psycopg.Connection, acme: Tenant) -> None:
    rule(acme, "latency_p95", threshold=2000, minimum_count=20)
    figures.minute(pg, acme.pk, THIS_MINUTE, calls=19, ms=5000)
    assert evaluated() == []


def test_refusals_are_no_errors_and_failures_are(pg: psycopg.Connection, acme: Tenant) -> None:
    rule(acme, "error_rate", threshold=10)
    figures.minute(pg, acme.pk, THIS_MINUTE, calls=80)
    figures.minute(pg, acme.pk, THIS_MINUTE, calls=50, status="refused")
    figures.minute(pg, acme.pk, THIS_MINUTE, calls=20, status="failed")
    assert evaluated() == [("open", "20 % of the calls of Acme failed (from 10 %)")]


def test_a_rule_by_feature_has_an_alert_for_each_and_filters_by_what_it_names(
    pg: psycopg.Connection, acme: Tenant
) -> None:
    rule(acme, "error_rate", group_by="feature", filters={"model": "gpt-4o"})
    for feature, model in (("chat", "gpt-4o"), ("search", "gpt-4o"), ("mail", "other")):
        figures.minute(pg, acme.pk, THIS_MINUTE, calls=30, feature=feature, model=model, status="failed")
    evaluated()
    assert sorted(Alert.objects.values_list("body__value", flat=True)) == ["chat", "search"]


def test_a_shared_rule_is_each_tenants_own(pg: psycopg.Connection, acme: Tenant) -> None:
    globex = Tenant.objects.create(slug="globex", name="Globex")
    rule(None, "error_rate")
    for tenant in (acme, globex):
        figures.minute(pg, tenant.pk, THIS_MINUTE, calls=30, status="failed")
    evaluated()
    assert sorted(Alert.objects.values_list("tenant__slug", flat=True)) == ["acme", "globex"]


def test_unpriced_usage_is_told_at_the_first_bill_without_any_rule(pg: psycopg.Connection, acme: Tenant) -> None:
    """PAINS 12: within a minute; the evaluation of every ten seconds sees the writer's delta."""
    Channel.objects.create(tenant=acme, name="ops", url="mailto:ops@example.com")
    figures.delta(pg, acme.pk, THIS_MINUTE, unpriced=1)
    evaluate(plain_connection(), NOW, transaction.atomic, is_slow=False)
    alert = Alert.objects.get()
    assert (alert.kind, alert.title) == (
        "unpriced_usage",
        "1 call of Acme have no price: what they cost is not known, budgets do not see it",
    )
    assert Delivery.objects.get().alert == alert


def test_a_tenants_own_rule_takes_the_place_of_the_default_also_turned_off(
    pg: psycopg.Connection, acme: Tenant
) -> None:
    rule(acme, "unpriced_usage", is_enabled=False)
    figures.delta(pg, acme.pk, THIS_MINUTE, unpriced=1)
    assert evaluated() == []


def test_tokens_at_no_cost_are_told(pg: psycopg.Connection, acme: Tenant) -> None:
    """PAINS 8: streams priced 0; also where most calls are priced. Local providers may be free."""
    Provider.objects.create(name="own", dialect="openai", base_url="http://localhost:1/v1", is_local=True)
    figures.bill(pg, acme.pk, NOW - MINUTE, cost=0, provider="own")
    for cost in (5, 5, 0):
        figures.bill(pg, acme.pk, NOW - MINUTE, cost=cost)
    figures.bill(pg, acme.pk, NOW - MINUTE, cost=0, tokens=0)
    assert evaluated() == [("open", "1 call of Acme used tokens and cost nothing (openai/gpt-4o)")]


def test_cost_per_user_in_a_rolling_window(pg: psycopg.Connection, acme: Tenant) -> None:
    """PAINS 32."""
    rule(acme, "cost", group_by="user", threshold=10, window_minutes=1440)
    for user, hours, cost in (("ann", 1, 6), ("ann", 23, 6), ("bob", 1, 6), ("bob", 25, 6)):
        figures.bill(pg, acme.pk, NOW - hours * HOUR, user=user, cost=cost * USD)
    assert evaluated() == [("open", "$12.00 spent of user ann of Acme in 24 hours (from $10.00)")]
    assert Alert.objects.get().link.startswith("/traces/?tenant=acme&from=")
    assert Alert.objects.get().link.endswith("&user=ann")


def test_cost_per_user_is_read_from_what_is_added_up(pg: psycopg.Connection, acme: Tenant) -> None:
    """Of days that are over no bill is read any more: changed without a mark they change nothing."""
    rule(acme, "cost", group_by="user", threshold=10, window_minutes=7 * 1440)
    rule(acme, "cost", name="one", filters={"user": "bob"}, threshold=4, window_minutes=7 * 1440)
    for hours in (0, 1, 5, 30, 50, 100, 167, 169):
        figures.bill(pg, acme.pk, NOW - hours * HOUR, user="ann", cost=2 * USD)
    figures.bill(pg, acme.pk, NOW - 50 * HOUR, user="bob", cost=5 * USD)
    told = [
        ("open", "$14.00 spent of user ann of Acme in 168 hours (from $10.00)"),
        ("open", "$5.00 spent of user bob of Acme in 168 hours (from $4.00)"),
    ]
    assert sorted(evaluated()) == told
    assert close_bills(pg, NOW) > 0
    pg.execute("UPDATE bill SET cost_nanousd = 0 WHERE begin_at BETWEEN %s AND %s", (NOW - 101 * HOUR, NOW - 49 * HOUR))
    Alert.objects.all().delete()
    assert sorted(evaluated()) == told
    for hours in (50, 100):
        pg.execute("INSERT INTO bill_late (tenant_id, at) VALUES (%s, %s)", (acme.pk, NOW - hours * HOUR))
    Alert.objects.all().delete()
    assert sorted(evaluated()) == [("open", "$10.00 spent of user ann of Acme in 168 hours (from $10.00)")]


def test_cost_per_feature_adds_hours_minutes_and_deltas(pg: psycopg.Connection, acme: Tenant) -> None:
    rule(acme, "cost", group_by="feature", threshold=9, window_minutes=24 * 60)
    first_hour = (NOW - DAY).replace(minute=0, second=0) + HOUR
    figures.hour(pg, acme.pk, first_hour, feature="chat", cost=4 * USD)
    figures.minute(pg, acme.pk, first_hour, feature="chat", cost=4 * USD)  # is in that hour already
    figures.delta(pg, acme.pk, THIS_MINUTE, feature="chat", cost=5 * USD)
    assert evaluated() == [("open", "$9.00 spent of feature chat of Acme in 24 hours (from $9.00)")]


def test_the_same_condition_is_one_alert_and_told_once(pg: psycopg.Connection, acme: Tenant) -> None:
    """PAINS 31."""
    Channel.objects.create(tenant=acme, name="ops", url="mailto:ops@example.com")
    rule(acme, "error_rate")
    for number in range(5):
        figures.delta(pg, acme.pk, THIS_MINUTE, calls=30, status="failed")
        evaluated(NOW + number * timedelta(seconds=10))
    assert (Alert.objects.count(), Delivery.objects.count()) == (1, 1)


def test_it_is_told_again_after_its_pause_unless_it_was_acknowledged(pg: psycopg.Connection, acme: Tenant) -> None:
    Channel.objects.create(tenant=acme, name="ops", url="mailto:ops@example.com")
    rule(acme, "unpriced_usage", remind_hours=1, window_minutes=600)
    figures.delta(pg, acme.pk, THIS_MINUTE, unpriced=1)
    for hours in (0, 1, 1.5, 2):
        evaluated(NOW + hours * HOUR)
    assert list(Delivery.objects.order_by("number").values_list("event", flat=True)) == ["opened", *["reminded"] * 2]
    Alert.objects.update(state="acknowledged")
    evaluated(NOW + 4 * HOUR)
    assert Delivery.objects.count() == 3


def test_it_resolves_by_itself_once_it_has_been_quiet_and_tells_so(pg: psycopg.Connection, acme: Tenant) -> None:
    Channel.objects.create(tenant=acme, name="ops", url="mailto:ops@example.com")
    rule(acme, "error_rate", window_minutes=2, quiet_minutes=5)
    figures.minute(pg, acme.pk, THIS_MINUTE, calls=30, status="failed")
    assert evaluated()[0][0] == "open"
    assert evaluated(NOW + 4 * MINUTE)[0][0] == "open"
    assert evaluated(NOW + 6 * MINUTE)[0][0] == "resolved"
    assert list(Delivery.objects.order_by("number").values_list("event", flat=True)) == ["opened", "resolved"]


def test_what_wavers_around_the_threshold_is_one_alert(pg: psycopg.Connection, acme: Tenant) -> None:
    rule(acme, "error_rate", threshold=10, window_minutes=2, quiet_minutes=1)
    figures.minute(pg, acme.pk, THIS_MINUTE, calls=10, status="failed")
    figures.minute(pg, acme.pk, THIS_MINUTE, calls=90)
    evaluated()
    later = THIS_MINUTE + 4 * MINUTE
    figures.minute(pg, acme.pk, later, calls=19, status="failed")
    figures.minute(pg, acme.pk, later, calls=181)
    assert [state for state, _ in evaluated(NOW + 4 * MINUTE)] == ["open"]  # 9.5 %: not below nine tenths


def test_what_comes_back_after_it_was_resolved_opens_another(pg: psycopg.Connection, acme: Tenant) -> None:
    rule(acme, "error_rate", window_minutes=2, quiet_minutes=1)
    figures.minute(pg, acme.pk, THIS_MINUTE, calls=30, status="failed")
    evaluated()
    evaluated(NOW + 5 * MINUTE)
    figures.minute(pg, acme.pk, THIS_MINUTE + 9 * MINUTE, calls=30, status="failed")
    assert [state for state, _ in evaluated(NOW + 9 * MINUTE)] == ["resolved", "open"]


def test_a_rule_that_is_turned_off_ends_its_alerts(pg: psycopg.Connection, acme: Tenant) -> None:
    made = rule(acme, "error_rate")
    figures.minute(pg, acme.pk, THIS_MINUTE, calls=30, status="failed")
    evaluated()
    made.is_enabled = False
    made.save()
    assert evaluated()[0][0] == "resolved"


def test_a_rules_channels_alone_are_told(pg: psycopg.Connection, acme: Tenant) -> None:
    chosen = Channel.objects.create(tenant=acme, name="chosen", url="mailto:a@example.com")
    Channel.objects.create(tenant=acme, name="other", url="mailto:b@example.com")
    rule(acme, "error_rate").channels.add(chosen)
    figures.minute(pg, acme.pk, THIS_MINUTE, calls=30, status="failed")
    evaluated()
    assert [delivery.channel for delivery in Delivery.objects.all()] == [chosen]


def test_a_fall_of_the_scores_is_told(acme: Tenant) -> None:
    rule(acme, "quality_drop", threshold=20, minimum_count=3, window_minutes=60)
    for value, age in ((8, 2 * DAY), (8, 3 * DAY), (8, 4 * DAY), (5, MINUTE), (6, MINUTE), (4, MINUTE)):
        score = Score.objects.create(tenant=acme, trace_id=b"1" * 16, name="helpful", value=value, source="judge")
        Score.objects.filter(pk=score.pk).update(created_at=NOW - age)
    assert evaluated() == [("open", "The score “helpful” of Acme fell by 37.5 %, from 8.00 to 5.00")]


def test_an_odd_day_is_told_with_what_it_is_made_of(pg: psycopg.Connection, acme: Tenant) -> None:
    noon = datetime.now(UTC).replace(hour=12, minute=5, second=0, microsecond=0) - DAY
    rule(acme, "spend_anomaly")
    for back in range(10):
        at = noon.replace(hour=9, minute=0) - back * DAY
        times = 3 if back == 0 else 1
        figures.tenant_hour(pg, acme.pk, at, cost=(10 + back % 2) * times * USD, calls=100 * times, tokens=5000 * times)
        # What comes after noon does not count yet.
        figures.tenant_hour(pg, acme.pk, at + 6 * HOUR, cost=500 * USD, calls=1, tokens=1)
    assert evaluated(noon) == [("open", "Acme has spent $30 today until 12:00, usual is $11")]
    body = Alert.objects.get().body
    assert (body["calls_ratio"], body["tokens_per_call_ratio"], body["cost_per_token_ratio"]) == (
        "3.00",
        "1.00",
        "0.91",
    )


def test_a_usual_day_and_a_short_history_say_nothing(pg: psycopg.Connection, acme: Tenant) -> None:
    noon = datetime.now(UTC).replace(hour=12, minute=5, second=0, microsecond=0) - DAY
    globex = Tenant.objects.create(slug="globex", name="Globex")
    rule(None, "spend_anomaly")
    for back in range(10):
        figures.tenant_hour(pg, acme.pk, noon.replace(hour=9, minute=0) - back * DAY, 10 * USD, 100, 5000)
    for back in range(5):
        cost = 900 * USD if back == 0 else USD
        figures.tenant_hour(pg, globex.pk, noon.replace(hour=9, minute=0) - back * DAY, cost, 100, 5000)
    assert evaluated(noon) == []


@pytest.mark.parametrize(("window", "limit_usd", "is_told"), [("day", 20, True), ("day", 60, False)])
def test_a_forecast_is_of_the_budgets_own_window(
    pg: psycopg.Connection, acme: Tenant, window: str, limit_usd: int, is_told: bool
) -> None:
    """PAINS 30: a dollar an hour is 24 dollars a day, whatever it would be in a month."""
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - DAY
    Budget.objects.create(
        tenant=acme, name="daily", window=window, limit_nanousd=limit_usd * USD, counted_at=noon - 9 * DAY
    )
    rule(acme, "budget_forecast", threshold=100, severity="critical")
    for hours in range(24 * 8):
        figures.hour(pg, acme.pk, noon - (hours + 1) * HOUR, cost=USD)
        figures.tenant_hour(pg, acme.pk, noon - (hours + 1) * HOUR, cost=USD, calls=1, tokens=1)
    pg.execute(
        "INSERT INTO budget_spend (tenant_id, budget_id, revision, value, window_start, spent, version) "
        "SELECT tenant_id, id, revision, '', %s, %s, 1 FROM budgets_budget",
        (noon - 12 * HOUR, 12 * USD),
    )
    for _ in range(2):
        evaluated(noon)
    assert [title for _, title in evaluated(noon)] == (
        ["Budget “daily” of Acme will reach 120 % of its limit"] if is_told else []
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": "weather"}, "kind"),
        ({"kind": "cost", "group_by": "weather"}, "group_by"),
        ({"kind": "latency_p95", "group_by": "user"}, "group_by"),
        ({"kind": "cost", "filters": {"weather": "x"}}, "filters"),
        ({"kind": "cost", "filters": []}, "filters"),
        ({"kind": "cost", "filters": {"key": "prod"}}, "filters"),
        ({"kind": "cost", "threshold": Decimal(0)}, "threshold"),
        ({"kind": "cost", "threshold": Decimal(-1)}, "threshold"),
        ({"kind": "cost", "window_minutes": 0}, "window_minutes"),
        ({"kind": "cost", "group_by": "user", "window_minutes": 20_000}, "window_minutes"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        AlertRule(name="r", **fields).clean()
    assert field in refused.value.message_dict


def test_one_statement_for_each_kind_whatever_the_number_of_tenants(pg: psycopg.Connection, acme: Tenant) -> None:
    for number in range(5):
        tenant = Tenant.objects.create(slug=f"t{number}", name=f"T{number}")
        rule(tenant, "error_rate")
        rule(tenant, "latency_p95")

    class Counting:
        statements = 0

        def execute(self, *arguments: Any) -> Any:
            Counting.statements += 1
            return plain_connection().execute(*arguments)

    evaluate(Counting(), NOW, transaction.atomic, is_slow=False)
    # Rules, tenants; open alerts of four kinds, figures of those three that have a rule.
    assert Counting.statements == 2 + 4 + 3
