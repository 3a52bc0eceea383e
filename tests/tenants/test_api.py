"""Tenants, keys and the audit trail over REST; and what every resource has in common."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from llmobs.alerts.models import Channel
from llmobs.evals.models import Judge, Score
from llmobs.tenants.keys import secret_hash
from llmobs.tenants.models import AuditEntry, Key, Tenant
from tests.tenants.cast import Cast, as_person, assert_problem, make_budget, make_cast, make_key, names, with_key

API = "/api/v1"


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.mark.django_db
def test_without_a_key_nothing_is_told() -> None:
    answer = APIClient().get(f"{API}/tenants/")

    assert_problem(answer, 401)
    assert answer["www-authenticate"].startswith("Bearer")


def test_unknown_revoked_and_expired_keys_and_those_of_a_tenant_switched_off_are_refused_alike(cast: Cast) -> None:
    make_key(cast.acme, "revoked", "revoked")
    Key.objects.filter(name="revoked").update(revoked_at=timezone.now())
    make_key(cast.acme, "expired", "expired")
    Key.objects.filter(name="expired").update(expires_at=timezone.now() - timedelta(seconds=1))
    cast.globex.is_active = False
    cast.globex.save()

    said = {
        assert_problem(with_key(word).get(f"{API}/keys/"), 401)["detail"]
        for word in ("none", "revoked", "expired", "globex")
    }

    assert said == {"The key is unknown, revoked or expired."}


def test_a_key_is_taken_from_x_api_key_too(cast: Cast) -> None:
    answer = APIClient().get(f"{API}/tenants/", headers={"x-api-key": "secret-of-acme"})

    assert [row["slug"] for row in answer.json()["results"]] == ["acme"]


def test_a_tenants_key_sees_its_tenant_and_an_operator_key_all_or_one(cast: Cast) -> None:
    make_key(None, "ops", "operator")

    assert [row["slug"] for row in with_key("acme").get(f"{API}/tenants/").json()["results"]] == ["acme"]
    operator = with_key("operator")
    assert {row["slug"] for row in operator.get(f"{API}/tenants/").json()["results"]} == {"acme", "globex"}
    assert [row["tenant"] for row in operator.get(f"{API}/keys/?tenant=globex").json()["results"]] == ["globex"]
    assert_problem(operator.get(f"{API}/keys/?tenant=nobody"), 404)


def test_a_stranger_finds_nothing_of_another_tenant(cast: Cast) -> None:
    budget = make_budget(cast.acme)
    judge = Judge.objects.create(
        tenant=cast.acme, name="j", model="m", key=cast.acme_key, sample="0.1", criteria=["good"]
    )
    channel = Channel.objects.create(tenant=cast.acme, name="c", url="https://hooks.example.com/x")
    Score.objects.create(tenant=cast.acme, trace_id=b"\1" * 16, name="feedback", value=1, source="api")
    addresses = [
        f"{API}/tenants/acme/",
        f"{API}/tenants/{cast.acme.pk}/",
        f"{API}/keys/{cast.acme_key.pk}/",
        f"{API}/budgets/{budget.pk}/",
        f"{API}/budgets/{budget.pk}/status/",
        f"{API}/judges/{judge.pk}/",
        f"{API}/alert-channels/{channel.pk}/",
        f"{API}/traces/{'01' * 16}/",
    ]
    for stranger in (with_key("globex"), as_person(cast.charlie)):
        for address in addresses:
            assert_problem(stranger.get(address), 404)
            assert stranger.patch(address, {"name": "mine"}, format="json").status_code in (404, 405)
            assert stranger.delete(address).status_code in (404, 405)
        for resource in ("keys", "budgets", "judges", "alert-channels", "scores", "audit", "traces", "usage"):
            found = stranger.get(f"{API}/{resource}/").json()["results"]
            assert all(row["tenant"] == "globex" for row in found), resource
            assert_problem(stranger.get(f"{API}/{resource}/?tenant=acme"), 404)
        assert_problem(stranger.post(f"{API}/keys/{cast.acme_key.pk}/rotate/"), 404)
    cast.acme_key.refresh_from_db()
    assert cast.acme_key.revoked_at is None


def test_what_is_not_there_looks_like_what_is_forbidden(cast: Cast) -> None:
    forbidden = with_key("globex").get(f"{API}/keys/{cast.acme_key.pk}/").json()
    absent = with_key("globex").get(f"{API}/keys/999999/").json()

    assert forbidden == absent
    assert_problem(with_key("globex").get(f"{API}/keys/not-a-number/"), 404)
    assert_problem(with_key("globex").get(f"{API}/keys/{10**30}/"), 404)


def test_a_tenants_key_changes_no_configuration(cast: Cast) -> None:
    budget = make_budget(cast.acme)
    client = with_key("acme")

    assert_problem(client.patch(f"{API}/budgets/{budget.pk}/", {"limit_usd": "1000000"}, format="json"), 403)
    assert_problem(client.delete(f"{API}/budgets/{budget.pk}/"), 403)
    assert_problem(client.post(f"{API}/keys/", {"tenant": "acme", "name": "more"}, format="json"), 403)
    assert_problem(client.post(f"{API}/keys/{cast.acme_key.pk}/rotate/"), 403)


def test_members_read_admins_of_the_tenant_change_and_operators_make_tenants(cast: Cast) -> None:
    new_key = {"tenant": "acme", "name": "second"}

    assert_problem(as_person(cast.bob).post(f"{API}/keys/", new_key, format="json"), 403)
    assert as_person(cast.alice).post(f"{API}/keys/", new_key, format="json").status_code == 201
    assert names(as_person(cast.bob).get(f"{API}/keys/")) == ["second", "prod"]
    tenant = {"slug": "initech", "name": "Initech"}
    assert_problem(as_person(cast.alice).post(f"{API}/tenants/", tenant, format="json"), 403)
    assert as_person(cast.olga).post(f"{API}/tenants/", tenant, format="json").status_code == 201


def test_a_session_without_a_csrf_token_changes_nothing(cast: Cast) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(cast.alice)

    assert_problem(client.post(f"{API}/keys/", {"tenant": "acme", "name": "x"}, format="json"), 403)


def test_a_new_keys_secret_is_shown_once_and_only_its_hash_is_kept(cast: Cast) -> None:
    client = as_person(cast.alice)

    made = client.post(f"{API}/keys/", {"tenant": "acme", "name": "new", "feature": "chat"}, format="json").json()

    key = Key.objects.get(pk=made["id"])
    assert key.secret_hash == secret_hash(made["secret"])
    assert made["secret"].startswith(made["prefix"])
    assert "secret" not in client.get(f"{API}/keys/{key.pk}/").json()
    assert made["secret"] not in str(list(AuditEntry.objects.values()))


def test_rotation_gives_a_new_secret_and_refuses_the_old_one(cast: Cast) -> None:
    secret = as_person(cast.alice).post(f"{API}/keys/{cast.acme_key.pk}/rotate/").json()["secret"]

    assert_problem(with_key("acme").get(f"{API}/keys/"), 401)
    assert APIClient().get(f"{API}/keys/", headers={"authorization": f"Bearer {secret}"}).status_code == 200
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.name) == ("alice", "rotate", "acme/prod")
    assert secret not in str(entry.change)


def test_a_deleted_key_is_revoked_and_its_row_stays_for_its_spans(cast: Cast) -> None:
    assert as_person(cast.alice).delete(f"{API}/keys/{cast.acme_key.pk}/").status_code == 204

    assert_problem(with_key("acme").get(f"{API}/keys/"), 401)
    assert Key.objects.get(pk=cast.acme_key.pk).revoked_at is not None
    assert AuditEntry.objects.get().action == "revoke"


def test_a_tenant_with_bills_stays(cast: Cast) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO bill SELECT %s, 1, now(), '\\x01', '\\x01', 'measured', '', 1, 1, 'p', 'm', '', 0, 0, 0, 0, "
            "0, 0, 1, '', 0, '{}', '', '', '', '', '', 0",
            [cast.acme.pk],
        )
    client = as_person(cast.olga)

    assert "is_active" in assert_problem(client.delete(f"{API}/tenants/acme/"), 409)["detail"]
    assert client.delete(f"{API}/tenants/globex/").status_code == 204
    assert not Tenant.objects.filter(slug="globex").exists()


def test_changes_are_told_in_the_audit_trail_to_the_tenant_alone(cast: Cast) -> None:
    as_person(cast.olga).patch(f"{API}/tenants/acme/", {"time_zone": "Europe/Berlin"}, format="json")

    [entry] = with_key("acme").get(f"{API}/audit/").json()["results"]
    assert (entry["actor"], entry["kind"], entry["change"]) == (
        "olga",
        "tenant",
        {"time_zone": ["UTC", "Europe/Berlin"]},
    )
    assert with_key("globex").get(f"{API}/audit/").json()["results"] == []


def test_a_list_is_narrowed_to_a_time(cast: Cast) -> None:
    as_person(cast.olga).patch(f"{API}/tenants/acme/", {"time_zone": "Europe/Berlin"}, format="json")
    client = with_key("acme")

    for query, count in (("from=2020-01-01", 1), ("to=2020-01-01", 0), ("from=2020-01-01T00:00:00%2B02:00", 1)):
        assert len(client.get(f"{API}/audit/?{query}").json()["results"]) == count, query
    assert client.get(f"{API}/scores/?from=2020-01-01T00:00:00Z").status_code == 200
    assert assert_problem(client.get(f"{API}/audit/?from=yesterday"), 400)["errors"][0]["field"] == "from"


def test_wrong_fields_are_named(cast: Cast) -> None:
    client = as_person(cast.olga)

    body = assert_problem(client.patch(f"{API}/tenants/acme/", {"time_zone": "Mars/Base"}, format="json"), 400)

    assert body["errors"] == [
        {"field": "time_zone", "detail": "'Mars/Base' is no IANA time zone, such as Europe/Berlin"}
    ]
    twice = client.post(f"{API}/keys/", {"tenant": "acme", "name": "prod"}, format="json")
    assert "already exists" in str(assert_problem(twice, 400))


def test_pages_follow_a_cursor_to_the_end(cast: Cast) -> None:
    for number in range(4):
        make_key(cast.acme, f"k{number}", f"k{number}")
    client = with_key("acme")

    first = client.get(f"{API}/keys/?limit=3").json()
    second = client.get(first["next"]).json()

    assert [row["name"] for row in first["results"] + second["results"]] == ["k3", "k2", "k1", "k0", "prod"]
    assert second["next"] is None


def test_every_error_is_a_problem_document(cast: Cast) -> None:
    client = as_person(cast.olga)

    assert_problem(client.get("/api/v1/nothing/"), 404)
    assert_problem(client.get("/api/nowhere"), 404)
    assert_problem(client.delete(f"{API}/traces/"), 405)
    assert_problem(client.post(f"{API}/tenants/", "{", content_type="application/json"), 400)
    assert_problem(client.post(f"{API}/tenants/", "a=b", content_type="application/x-www-form-urlencoded"), 415)
    assert_problem(client.get(f"{API}/keys/", headers={"accept": "image/png"}), 406)


@pytest.mark.parametrize(
    "address",
    ["keys/?tenant=%00", "tenants/%00/", "scores/?name=%00", "traces/?feature=%00", "traces/?q=%00", "usage/?user=%00"],
)
def test_a_nul_in_an_address_is_the_callers_mistake(transactional_db: None, address: str) -> None:
    make_key(None, "ops", "operator")

    assert with_key("operator").get(f"{API}/{address}").status_code in (400, 404)


def test_a_nul_in_a_body_is_the_callers_mistake(transactional_db: None) -> None:
    budget = make_budget(make_cast().acme)
    make_key(None, "ops", "operator")

    answer = with_key("operator").patch(f"{API}/budgets/{budget.pk}/", {"scope": {"user": "\0"}}, format="json")

    assert_problem(answer, 400)


def test_a_body_that_is_too_long_or_too_deep_is_the_callers_mistake(cast: Cast) -> None:
    client = as_person(cast.olga)

    assert_problem(client.post(f"{API}/tenants/", "[" * 100_000, content_type="application/json"), 400)
    long = '{"name": "' + "x" * 3_000_000 + '"}'
    assert_problem(client.post(f"{API}/tenants/", long, content_type="application/json"), 413)


def test_a_cursor_of_somebody_else_is_named(cast: Cast) -> None:
    body = assert_problem(with_key("acme").get(f"{API}/keys/?cursor=zzz"), 400)

    assert body["errors"][0]["field"] == "cursor"


@pytest.mark.django_db
def test_the_schema_and_its_pages_are_served_from_here_alone() -> None:
    client = APIClient()

    schema = client.get("/api/schema/?format=json").json()
    assert {"/api/v1/budgets/{id}/status/", "/api/v1/traces/{trace_id}/", "/api/v1/usage/"} <= set(schema["paths"])
    page = client.get("/api/docs/")
    assert "https://" not in page.content.decode().split("</head>")[0]
    assert "<script>" not in page.content.decode()
    assert "script-src 'self'" in page["content-security-policy"]
