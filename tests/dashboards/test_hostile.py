"""What nobody would type into an address: it is answered, whoever asks, and never by a fault of ours."""

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.test import Client
from django.utils.http import urlencode

from llmobs.alerts.models import Alert
from llmobs.alerts.raising import raise_alert
from llmobs.brake.link import token
from llmobs.budgets.models import Budget, Raise
from llmobs.tenants.models import AuditEntry
from llmobs.tenants.plain_connection import plain_connection
from tests.brake.made import episode
from tests.dashboards.cast import Cast
from tests.ingest.making import call, commit

Connection = psycopg.Connection[Any]

HOSTILE = ("a\x00b", "9" * 30, "<script>alert(1)</script>", "[1,{}]", '["\\u0000","b"]', "0001-01-01", "9999-12")
ASKED = {
    "/api/v1/brake/": ("state", "session", "from", "cursor", "limit"),
    "/api/v1/alerts/": ("state", "to", "tenant"),
    "/api/v1/alerts/deliveries/": ("state", "alert"),
    "/api/v1/reconcile/": ("month", "account"),
    "/api/v1/reconcile/differences/?account=openai": ("month", "name", "cursor"),
    "/api/v1/repricings/": ("from", "cursor"),
    "/api/v1/unpriced/": ("from", "last"),
    "/api/v1/explain/": ("from", "feature", "key", "bill", "trace_id", "budget", "cursor", "limit"),
    "/api/v1/explain/?budget={one}": ("window", "value", "since", "until"),
    "/api/v1/explain/?forecast=month": ("feature", "none"),
    "/api/v1/explain/?budget={pairs}": ("value",),
    "/api/v1/usage/": ("to", "group_by", "format", "limit", "cursor", "user"),
    "/brake/": ("tenant",),
    "/alerts/": ("alert", "kind", "budget", "before"),
    "/reconcile/": ("month", "account", "name"),
    "/repricing/": ("id", "provider", "since"),
    "/unpriced/": ("from",),
    "/explain/": (
        "feature", "key", "trace_id", "budget", "after", "metric", "none", "not_model", "not_key", "prompt", "forecast",
    ),
    "/explain/?metric=p95": ("feature", "key", "user"),
    "/explain/?budget={one}": ("at", "value", "since", "forecast"),
    "/explain/?budget={pairs}": ("value",),
    "/usage/": ("by", "key"),
    "/usage/statement/": ("month",),
}  # fmt: skip
IN_PATHS = (
    "/brake/{}/", "/api/v1/brake/{}/", "/api/v1/alerts/{}/", "/api/v1/alerts/deliveries/{}/", "/api/v1/repricings/{}/",
    "/api/v1/reconcile/reports/{}/",
)  # fmt: skip


def _addresses(**ids: int) -> list[str]:
    found = [path.format(urlencode({"": each})[1:]) for path in IN_PATHS for each in HOSTILE]
    for path, names in ASKED.items():
        begun = path.format(**ids)
        mark = "&" if "?" in begun else "?"
        found += [f"{begun}{mark}{urlencode({name: each})}" for name in names for each in HOSTILE]
    return found


def test_whatever_an_address_says_it_is_answered(empty_cast: Cast, pg: Connection, valkey_url: str) -> None:
    acme, now = empty_cast.acme, datetime.now(UTC)
    budgets = [
        Budget.objects.create(tenant=acme, name=name, limit_nanousd=1, scope=scope, counted_at=now)
        for name, scope in (("one", {"user": "*"}), ("pairs", {"user": "*", "feature": "*"}))
    ]
    commit(pg, call(acme.pk))
    episode(acme, 1)
    raise_alert(plain_connection(), acme.pk, "cost", "k", "warning", "t", {}, now)
    client = Client(raise_request_exception=False)
    client.force_login(empty_cast.operator)
    broken = []
    for address in _addresses(one=budgets[0].pk, pairs=budgets[1].pk):
        answer = client.get(address)
        said = b"".join(answer) if answer.streaming else answer.content
        if answer.status_code >= 500 or (b"<script>alert" in said and answer["content-type"].startswith("text/html")):
            broken.append(address)
    assert not broken, "\n".join(broken)


def test_a_parameter_that_is_named_as_ours_are_is_left_out(cast: Cast) -> None:
    client = cast.as_(cast.alice)
    assert "after=" in client.get("/explain/?last=7d&page=x&self=y").content.decode()


HALF = "\\ud800"  # of a pair, as JSON can spell it


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("models/", '{"provider": "p", "model": "m", "input_usd_per_mtok": "1", "tiers": {"%s": {}}}'),
        ("repricings/", '{"since": "2026-11-01", "price": {"provider": "%s", "model": "m"}}'),
        ("repricings/", '{"since": "2026-11-01", "price": {"%s": 1}}'),
        ("alert-rules/", '{"tenant": "acme", "name": "r", "kind": "%s"}'),
        ("alert-rules/", '{"tenant": "acme", "name": "r", "kind": "cost", "channels": ["%s"]}'),
        ("budgets/", '{"tenant": "acme", "name": "b", "limit_usd": "1", "action": "%s"}'),
    ],
)
def test_half_a_pair_in_a_body_is_told(empty_cast: Cast, path: str, body: str) -> None:
    client = empty_cast.as_(empty_cast.operator)
    answer = client.post(f"/api/v1/{path}", body % HALF, content_type="application/json")
    assert (answer.status_code, answer["content-type"]) == (400, "application/problem+json")


def test_a_form_with_what_no_text_holds_is_taken_without_it(empty_cast: Cast, valkey_url: str) -> None:
    client = empty_cast.as_(empty_cast.operator)
    budget = Budget.objects.create(tenant=empty_cast.acme, name="b", limit_nanousd=1, counted_at=datetime.now(UTC))
    client.post(f"/budgets/{budget.pk}/ease/", {"reason": "a\x00b", "do": "release"})
    assert [each.reason for each in Raise.objects.all()] == ["ab"]
    asked = {"of": "ac\x00me", "provider": "p\x00", "since": "2026-11-01"}
    assert client.post("/repricing/ask/", asked)["location"].startswith("/repricing/?id=")


BUTTONS = (
    "/brake/{token}/end/", "/budgets/{budget}/ease/", "/alerts/alert/{alert}/resolve/", "/repricing/ask/",
    "/repricing/1/apply/", "/repricing/1/undo/", "/reconcile/import/", "/reconcile/openai/2026-10/again/",
    "/api/v1/brake/{episode}/release/", "/api/v1/alerts/{alert}/resolve/", "/api/v1/repricings/", "/api/v1/models/",
    "/api/v1/models/import/", "/api/v1/reconcile/reports/", "/api/v1/budgets/{budget}/release/",
)  # fmt: skip


@pytest.mark.parametrize("path", BUTTONS)
def test_nothing_is_changed_by_a_link_by_another_site_or_by_a_stranger(empty_cast: Cast, path: str) -> None:
    acme, now = empty_cast.acme, datetime.now(UTC)
    budget = Budget.objects.create(tenant=acme, name="b", limit_nanousd=1, counted_at=now)
    alert = raise_alert(plain_connection(), acme.pk, "cost", "k", "warning", "t", {}, now)
    paused = episode(acme, 1)
    address = path.format(token=token(paused.pk, settings.SECRET_KEY), budget=budget.pk, alert=alert, episode=paused.pk)
    body = {"do": "release", "reason": "r", "percent": "10", "verb": "x"}
    operator = Client(enforce_csrf_checks=True)
    operator.force_login(empty_cast.operator)
    assert operator.get(address).status_code in (200, 404, 405)
    assert operator.post(address, body).status_code == 403
    stranger = empty_cast.as_(empty_cast.charlie)
    assert stranger.post(address, body).status_code in (403, 404, 415)
    nobody = Client()
    answer = nobody.post(address, body)
    assert answer.status_code in (401, 403) or "/accounts/login/" in answer["location"]
    paused.refresh_from_db()
    assert (paused.state, Raise.objects.count(), Alert.objects.get().state) == ("paused", 0, "open")
    assert not AuditEntry.objects.exists()
