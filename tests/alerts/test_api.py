"""Channels, rules, alerts and deliveries over REST and by the page's buttons: who may do what; strangers nothing."""

from typing import Any

import pytest
from django.utils import timezone

from llmobs.alerts.changing import MOST_TESTS
from llmobs.alerts.models import Alert, AlertRule, Channel, Delivery
from llmobs.alerts.raising import raise_alert
from llmobs.tenants.models import AuditEntry
from llmobs.tenants.plain_connection import plain_connection
from tests.alerts.far_end import Receiver
from tests.tenants.cast import Cast, as_person, assert_problem, make_cast, with_key

API = "/api/v1"
HOOK = "https://hooks.example.com/T0/s3cret"


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


def alerted(cast: Cast, key: str = "k") -> Alert:
    made = raise_alert(plain_connection(), cast.acme.pk, "cost", key, "warning", "Dear", {}, timezone.now())
    assert made is not None
    return Alert.objects.get(pk=made)


def test_a_webhooks_secret_is_shown_when_it_is_made_and_rotated_and_never_else(cast: Cast) -> None:
    alice = as_person(cast.alice)
    made = alice.post(f"{API}/alert-channels/", {"tenant": "acme", "name": "ops", "url": HOOK}, format="json").json()
    address = f"{API}/alert-channels/{made['id']}/"
    rotated = alice.post(f"{address}rotate/").json()
    assert made["signing_secret"].startswith("whsec_")
    assert rotated["signing_secret"].startswith("whsec_")
    assert rotated["signing_secret"] != made["signing_secret"]
    shown = str(alice.get(address).json()) + str(list(AuditEntry.objects.values_list("change", flat=True)))
    for secret in (made["signing_secret"], rotated["signing_secret"], "s3cret", "sealed:"):
        assert secret not in shown


def test_mail_is_not_signed(cast: Cast) -> None:
    alice = as_person(cast.alice)
    mail = {"tenant": "acme", "name": "ops", "url": "mailto:ops@example.com"}
    made = alice.post(f"{API}/alert-channels/", mail, format="json").json()
    assert made["signing_secret"] is None
    assert_problem(alice.post(f"{API}/alert-channels/{made['id']}/rotate/"), 409)


def test_a_sealed_address_that_somebody_brings_along_is_refused(cast: Cast) -> None:
    Channel.objects.create(tenant=cast.globex, name="theirs", url=HOOK)
    stolen = {"tenant": "acme", "name": "mine", "url": Channel.objects.get().url}
    assert_problem(as_person(cast.alice).post(f"{API}/alert-channels/", stolen, format="json"), 400)


def test_a_test_says_what_became_of_it(cast: Cast, receiver: Receiver) -> None:
    channel = Channel.objects.create(tenant=cast.acme, name="ops", url=receiver.url)
    alice = as_person(cast.alice)
    assert alice.post(f"{API}/alert-channels/{channel.pk}/test/").json() == {"is_taken": True, "error": ""}
    receiver.status = 500
    answer = alice.post(f"{API}/alert-channels/{channel.pk}/test/").json()
    assert answer == {"is_taken": False, "error": "the webhook answered HTTP 500"}


def test_tests_are_few_for_all_channels_of_a_tenant(cast: Cast, receiver: Receiver) -> None:
    channels = [Channel.objects.create(tenant=cast.acme, name=name, url=receiver.url) for name in ("a", "b")]
    alice = as_person(cast.alice)
    answers = [
        alice.post(f"{API}/alert-channels/{channels[n % 2].pk}/test/") for n in range(2 * MOST_TESTS + 1)
    ]  # of two minutes at most
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert_problem(refused[0], 429)
    assert "tests a minute are sent at most; try again in" in refused[0].json()["detail"]
    assert len(receiver.got) == len(answers) - len(refused)


def test_whoever_may_not_make_a_rule_learns_no_names_of_channels(cast: Cast) -> None:
    """A rule for all tenants is the operators': whether they have a channel of that name is not said."""
    Channel.objects.create(tenant=None, name="operators", url="mailto:a@example.com")
    told = [
        as_person(cast.alice).post(
            f"{API}/alert-rules/", {"tenant": None, "name": "r", "kind": "cost", "channels": [name]}, format="json"
        )
        for name in ("operators", "nobody")
    ]
    assert [answer.status_code for answer in told] == [403, 403]
    assert told[0].json()["detail"] == told[1].json()["detail"]


def test_a_rule_is_made_changed_and_deleted(cast: Cast) -> None:
    Channel.objects.create(tenant=cast.acme, name="ops", url="mailto:a@example.com")
    alice = as_person(cast.alice)
    rule = {
        "tenant": "acme", "name": "per user", "kind": "cost", "group_by": "user", "threshold": "5", "channels": ["ops"],
    }  # fmt: skip
    made = alice.post(f"{API}/alert-rules/", rule, format="json")
    assert made.status_code == 201, made.content
    assert (made.json()["channels"], made.json()["threshold"]) == (["ops"], "5.000000")
    address = f"{API}/alert-rules/{made.json()['id']}/"
    assert alice.patch(address, {"threshold": "7", "channels": []}, format="json").json()["channels"] == []
    assert alice.delete(address).status_code == 204
    actions = AuditEntry.objects.filter(kind="alert rule").order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["create", "change", "delete"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "weather"},
        {"group_by": "weather"},
        {"channels": ["nobody"]},
        {"threshold": "-1"},
        {"filters": {"x": "y"}},
    ],
)
def test_a_wrong_rule_is_refused_with_its_field(cast: Cast, wrong: dict[str, Any]) -> None:
    rule = {"tenant": "acme", "name": "r", "kind": "cost", **wrong}
    assert_problem(as_person(cast.alice).post(f"{API}/alert-rules/", rule, format="json"), 400)
    assert not AlertRule.objects.exists()


def test_a_rule_cannot_name_another_tenants_channel(cast: Cast) -> None:
    Channel.objects.create(tenant=cast.globex, name="theirs", url="mailto:a@example.com")
    rule = {"tenant": "acme", "name": "r", "kind": "cost", "channels": ["theirs"]}
    assert_problem(as_person(cast.alice).post(f"{API}/alert-rules/", rule, format="json"), 400)


def test_alerts_are_listed_by_state_acknowledged_and_resolved(cast: Cast) -> None:
    first, second = alerted(cast, "1"), alerted(cast, "2")
    alice = as_person(cast.alice)
    assert alice.post(f"{API}/alerts/{first.pk}/acknowledge/").json()["state"] == "acknowledged"
    assert alice.post(f"{API}/alerts/{second.pk}/resolve/").json()["resolved_by"] == "alice"
    for state, pk in (("acknowledged", first.pk), ("resolved", second.pk)):
        assert [row["id"] for row in alice.get(f"{API}/alerts/?state={state}").json()["results"]] == [pk]
    told = AuditEntry.objects.filter(tenant=cast.acme, actor="alice").order_by("pk").values_list("action", flat=True)
    assert list(told) == ["acknowledge", "resolve"]


def test_viewers_and_keys_read_and_do_not_change(cast: Cast) -> None:
    alert = alerted(cast)
    for reader in (as_person(cast.bob), with_key("acme")):
        assert reader.get(f"{API}/alerts/{alert.pk}/").status_code == 200
        for verb in ("acknowledge", "resolve"):
            assert_problem(reader.post(f"{API}/alerts/{alert.pk}/{verb}/"), 403)
    assert Alert.objects.get().state == "open"


def test_a_delivery_that_was_given_up_is_listed_and_tried_again(cast: Cast) -> None:
    Channel.objects.create(tenant=cast.acme, name="ops", url="mailto:a@example.com")
    alert = alerted(cast)
    Delivery.objects.update(state="given_up", attempts=8, last_error="the webhook answered HTTP 500")
    alice = as_person(cast.alice)
    (row,) = alice.get(f"{API}/alerts/deliveries/?state=given_up&alert={alert.pk}").json()["results"]
    assert (row["tenant"], row["channel"], row["attempts"]) == ("acme", "ops", 8)
    assert alice.post(f"{API}/alerts/deliveries/{row['id']}/try-again/").json()["state"] == "waiting"


def test_a_stranger_finds_and_changes_nothing(cast: Cast) -> None:
    channel = Channel.objects.create(tenant=cast.acme, name="ops", url="mailto:a@example.com")
    rule = AlertRule.objects.create(tenant=cast.acme, name="r", kind="cost")
    alert = alerted(cast)
    delivery = Delivery.objects.get()
    posts = [
        f"alerts/{alert.pk}/acknowledge/", f"alerts/{alert.pk}/resolve/", f"alert-channels/{channel.pk}/test/",
        f"alert-channels/{channel.pk}/rotate/", f"alerts/deliveries/{delivery.pk}/try-again/",
    ]  # fmt: skip
    for stranger in (with_key("globex"), as_person(cast.charlie)):
        for address in (f"alerts/{alert.pk}/", f"alert-rules/{rule.pk}/", f"alerts/deliveries/{delivery.pk}/"):
            assert_problem(stranger.get(f"{API}/{address}"), 404)
        for address in posts:
            assert_problem(stranger.post(f"{API}/{address}"), 404)
        for resource in ("alerts", "alert-rules", "alerts/deliveries"):
            assert stranger.get(f"{API}/{resource}/").json()["results"] == []
    pressed = [("alert", alert.pk, "resolve"), ("channel", channel.pk, "test"), ("delivery", delivery.pk, "try-again")]
    for what, pk, verb in pressed:
        assert as_person(cast.charlie).post(f"/alerts/{what}/{pk}/{verb}/").status_code == 404
        assert as_person(cast.bob).post(f"/alerts/{what}/{pk}/{verb}/").status_code == 404
    assert Alert.objects.get().state == "open"


def test_the_operators_alerts_are_theirs(cast: Cast) -> None:
    made = raise_alert(plain_connection(), None, "provider_unhealthy", "k", "critical", "t", {}, timezone.now())
    assert_problem(as_person(cast.alice).get(f"{API}/alerts/{made}/"), 404)
    assert as_person(cast.olga).get(f"{API}/alerts/{made}/").status_code == 200


def test_buttons_change_and_go_back_to_the_page_alone(cast: Cast) -> None:
    alert = alerted(cast)
    alice = as_person(cast.alice)
    answer = alice.post(f"/alerts/alert/{alert.pk}/acknowledge/", {"back": "https://evil.example.com/"}, format=None)
    assert (answer.status_code, answer["location"]) == (302, "/alerts/")
    assert Alert.objects.get().state == "acknowledged"
    assert alice.get(f"/alerts/alert/{alert.pk}/resolve/").status_code == 405
    assert alice.post(f"/alerts/alert/{alert.pk}/weather/").status_code == 404


def test_an_operators_channel_that_heard_of_it_is_not_told_of(cast: Cast) -> None:
    own = Channel.objects.create(tenant=cast.acme, name="own", url="https://hooks.example.com/x")
    theirs = Channel.objects.create(name="ops", url="mailto:ops@operators.example", tenants=["*"])
    alerted(cast)
    heard = {each.channel_id: each.pk for each in Delivery.objects.all()}
    Delivery.objects.update(state="given_up", last_error="the operators' own error")
    alice, hidden = as_person(cast.alice), heard[theirs.pk]
    rows = alice.get(f"{API}/alerts/deliveries/").json()["results"]
    assert [row["id"] for row in rows] == [heard[own.pk]]
    assert len(as_person(cast.olga).get(f"{API}/alerts/deliveries/?tenant=acme").json()["results"]) == 2
    assert_problem(alice.post(f"{API}/alerts/deliveries/{hidden}/try-again/"), 404)
    assert alice.post(f"/alerts/delivery/{hidden}/try-again/").status_code == 404
    assert "operators.example" not in alice.get("/alerts/").content.decode()
    assert "operators.example" in as_person(cast.olga).get("/alerts/?tenant=acme").content.decode()
