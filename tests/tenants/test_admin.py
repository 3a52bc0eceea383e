"""The admin: operators alone, each change audited, secrets shown once or never."""

import re
from typing import Any

import pytest
from django.test import Client

from llmobs.alerts.models import Channel
from llmobs.budgets.models import Budget
from llmobs.providers.models import Provider, Route
from llmobs.tenants.keys import secret_hash
from llmobs.tenants.models import AuditEntry, Key, Tenant, User
from tests.tenants.cast import Cast, make_budget, make_cast

LISTS = (
    "tenants/tenant", "tenants/key", "tenants/user", "tenants/auditentry", "budgets/budget", "pricing/price",
    "providers/provider", "providers/route", "evals/judge", "evals/judgement", "evals/score", "alerts/channel",
    "alerts/alertrule",
    "alerts/alert", "alerts/delivery",
)  # fmt: skip
INLINE = {"-TOTAL_FORMS": "0", "-INITIAL_FORMS": "0"}


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def operator(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.olga)
    return client


def inline(prefix: str, *rows: dict[str, Any]) -> dict[str, Any]:
    """The form fields of an inline with these rows."""
    fields: dict[str, Any] = {f"{prefix}-TOTAL_FORMS": len(rows), f"{prefix}-INITIAL_FORMS": 0}
    return fields | {f"{prefix}-{n}-{name}": value for n, row in enumerate(rows) for name, value in row.items()}


def saved(client: Client, address: str, form: dict[str, Any]) -> None:
    answer = client.post(f"/admin/{address}", form)
    assert answer.status_code == 302, re.findall(r"errorlist.*?</ul>", answer.content.decode(), re.S)


@pytest.mark.parametrize("address", LISTS)
def test_every_list_opens_for_an_operator_and_for_nobody_else(cast: Cast, operator: Client, address: str) -> None:
    make_budget(cast.acme)
    assert operator.get(f"/admin/{address}/").status_code == 200

    member = Client()
    member.force_login(cast.alice)
    assert member.get(f"/admin/{address}/").status_code in (302, 403)


@pytest.mark.django_db
def test_people_who_are_not_signed_in_go_through_the_sign_in_with_rate_limits() -> None:
    answer = Client().get("/admin/", follow=True)

    assert answer.redirect_chain[-1][0].startswith("/accounts/login/?next=")


def test_a_new_keys_secret_is_on_the_page_once_and_nowhere_else(cast: Cast, operator: Client) -> None:
    form = {
        "tenant": cast.acme.pk,
        "name": "new",
        "allowed_models": "[]",
        "criticality": "background",
        "unpriced": "refuse",
    }

    page = operator.post("/admin/tenants/key/add/", form)

    found = re.search(r'id="key-secret"[^>]*>([^<]+)<', page.content.decode())
    assert found is not None
    key = Key.objects.get(name="new")
    assert key.secret_hash == secret_hash(found[1])
    assert "no-store" in page["cache-control"]
    assert found[1] not in operator.get(f"/admin/tenants/key/{key.pk}/change/").content.decode()
    assert found[1] not in str(operator.cookies) + str(list(AuditEntry.objects.values()))


def test_a_key_is_rotated_and_revoked_from_the_list(cast: Cast, operator: Client) -> None:
    chosen = {"_selected_action": [cast.acme_key.pk]}

    page = operator.post("/admin/tenants/key/", {"action": "rotate_key", **chosen})
    assert "llmobs-" in page.content.decode()
    operator.post("/admin/tenants/key/", {"action": "revoke_keys", **chosen})

    cast.acme_key.refresh_from_db()
    assert cast.acme_key.revoked_at is not None
    assert sorted(AuditEntry.objects.values_list("action", "actor")) == [("revoke", "olga"), ("rotate", "olga")]


def test_a_budgets_limit_is_entered_in_usd_and_the_change_is_told(cast: Cast, operator: Client) -> None:
    form = {
        "tenant": cast.acme.pk, "name": "monthly", "limit_usd": "12.50", "window": "month", "scope": '{"user": "*"}',
        "action": "block", "thresholds": "[70, 80, 100]", "is_active": "on",
    }  # fmt: skip
    saved(operator, "budgets/budget/add/", form)
    budget = Budget.objects.get()
    assert budget.limit_nanousd == 12_500_000_000

    saved(operator, f"budgets/budget/{budget.pk}/change/", {**form, "limit_usd": "20"})

    entry = AuditEntry.objects.get(action="change")
    assert (entry.tenant, entry.change) == (cast.acme, {"limit_nanousd": [12_500_000_000, 20_000_000_000]})


@pytest.mark.parametrize(
    "wrong", [{"limit_usd": "-1"}, {"limit_usd": ""}, {"limit_tokens": "5"}, {"scope": '{"a": "b"}'}]
)
def test_a_wrong_budget_is_not_saved(cast: Cast, operator: Client, wrong: dict[str, str]) -> None:
    form = {
        "tenant": cast.acme.pk, "name": "monthly", "limit_usd": "1", "window": "month", "scope": "{}",
        "action": "block", "thresholds": "[80]", "is_active": "on",
    }  # fmt: skip

    assert operator.post("/admin/budgets/budget/add/", {**form, **wrong}).status_code == 200
    assert not Budget.objects.exists()


def test_the_list_of_budgets_shows_each_bar(cast: Cast, operator: Client, valkey_url: str) -> None:
    make_budget(cast.acme)

    page = operator.get("/admin/budgets/budget/").content.decode()

    import re as r

    print(r.sub(r"<[^>]+>", " ", page[page.find("result_list") :])[:3000])
    assert "$0.00 spent" in page
    assert "$10.00 left of $10.00" in page
    assert "&lt;div" not in page


def test_a_credential_is_sealed_and_never_shown(cast: Cast, operator: Client) -> None:
    form = {
        "name": "p",
        "dialect": "openai",
        "base_url": "http://h/v1",
        "new_credential": "sk-secret",
        "retries": 2,
        "paths": "",
        "is_enabled": "on",
    }
    saved(operator, "providers/provider/add/", form)
    provider = Provider.objects.get()
    assert provider.credential.startswith("sealed:")

    page = operator.get(f"/admin/providers/provider/{provider.pk}/change/").content.decode()
    assert "sk-secret" not in page
    assert provider.credential not in page
    saved(
        operator, f"providers/provider/{provider.pk}/change/", {**form, "new_credential": "", "base_url": "http://i/v1"}
    )

    provider.refresh_from_db()
    assert provider.credential.startswith("sealed:")
    assert "sk-secret" not in str(list(AuditEntry.objects.values()))


def test_a_routes_candidates_change_places_by_rank(cast: Cast, operator: Client) -> None:
    provider = Provider.objects.create(name="p", dialect="openai", base_url="http://h/v1")
    shares = {"weight": 1, "canary_percent": 0}
    rows = [
        {"rank": 1, "provider": provider.pk, "model": "a", **shares},
        {"rank": 2, "provider": provider.pk, "model": "b", **shares},
    ]
    route_form = {"name": "smart", "strategy": "fallback", "quality_floor": 0, "hedge_after_ms": 0}
    route_form |= {"cascade_threshold": 0.5, "last_resort": ""}
    saved(operator, "providers/route/add/", {**route_form, **inline("candidates", *rows)})
    route = Route.objects.get()
    first, second = route.candidates.all()

    swapped = inline(
        "candidates",
        {"id": first.pk, "route": route.pk, **rows[0], "rank": 3},
        {"id": second.pk, "route": route.pk, **rows[1]},
    )
    form = {**route_form, **swapped, "candidates-INITIAL_FORMS": 2}
    saved(operator, f"providers/route/{route.pk}/change/", form)

    assert [str(candidate) for candidate in route.candidates.all()] == ["p/b", "p/a"]
    told = [
        entry.change["candidates"] for entry in AuditEntry.objects.filter(kind="route") if "candidates" in entry.change
    ]
    assert told == [[["p/a", "p/b"], ["p/b", "p/a"]], [[], ["p/a", "p/b"]]]


def test_a_member_is_added_to_a_tenant_with_an_entry(cast: Cast, operator: Client) -> None:
    dora = User.objects.create_user("dora")
    form = {
        "name": "Globex", "plan": "none", "content": "redacted", "time_zone": "UTC", "retention_days": 400,
        "archive": "off",
        "cache": "off", "cache_ttl_seconds": "", "cache_mb": 64, "is_active": "on",
        "injection": "log", "injection_threshold": "0.7", "sensitive_input": "log", "sensitive_output": "log",
        "brake": "off", "brake_marks": "",
        **inline("membership_set", {"user": dora.pk, "role": "viewer"}),
    }  # fmt: skip
    row = cast.globex.membership_set.get()
    form |= inline(
        "membership_set",
        {"id": row.pk, "tenant": cast.globex.pk, "user": cast.charlie.pk, "role": "admin"},
        {"tenant": cast.globex.pk, "user": dora.pk, "role": "viewer"},
    )
    form["membership_set-INITIAL_FORMS"] = 1
    saved(operator, f"tenants/tenant/{cast.globex.pk}/change/", form)

    assert cast.globex.members.filter(pk=dora.pk).exists()
    assert AuditEntry.objects.get().name == "dora in globex"


def test_a_person_is_made_and_gets_another_password_without_a_trace_of_either(cast: Cast, operator: Client) -> None:
    first, second = "a long enough pass phrase", "another long pass phrase"
    form = {"username": "dora", "password1": first, "password2": first, "usable_password": "true"}
    saved(operator, "tenants/user/add/", form)
    dora = User.objects.get(username="dora")
    saved(
        operator,
        f"tenants/user/{dora.pk}/password/",
        {"password1": second, "password2": second, "usable_password": "true"},
    )

    dora.refresh_from_db()
    assert dora.check_password(second)
    told = [entry.change["password"] for entry in AuditEntry.objects.filter(name="dora")]
    assert told == [["(set)", "(changed)"], [None, "(set)"]]


def test_a_channels_path_is_written_and_not_shown(cast: Cast, operator: Client) -> None:
    form = {"tenant": cast.acme.pk, "name": "ops", "new_url": "https://hooks.example.com/T0/secret", "is_enabled": "on"}
    saved(operator, "alerts/channel/add/", form)

    channel = Channel.objects.get()
    assert channel.address.endswith("T0/secret")
    assert "T0/secret" not in operator.get(f"/admin/alerts/channel/{channel.pk}/change/").content.decode()
    wrong = operator.post("/admin/alerts/channel/add/", {**form, "name": "b", "new_url": "nowhere"})
    assert wrong.status_code == 200
    assert "An address such as" in wrong.content.decode()


def test_the_audit_trail_cannot_be_changed_here(cast: Cast, operator: Client) -> None:
    Tenant.objects.filter(pk=cast.acme.pk).update(name="Acme")
    entry = AuditEntry.objects.create(
        actor="a", action="change", kind="tenant", name="acme", change={"name": ["a", "b"]}
    )

    page = operator.get(f"/admin/tenants/auditentry/{entry.pk}/change/").content.decode()

    assert "name: a → b" in page
    assert operator.post(f"/admin/tenants/auditentry/{entry.pk}/change/", {"actor": "b"}).status_code == 403
    assert operator.post(f"/admin/tenants/auditentry/{entry.pk}/delete/", {"post": "yes"}).status_code == 403
