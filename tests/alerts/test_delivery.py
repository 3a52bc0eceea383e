"""A message goes out signed, at least once under one id, to public addresses alone (PAINS 31)."""

import asyncio
import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from llmobs.alerts import addresses, changing, outbox, services, tasks
from llmobs.alerts.delivery import DeliveryError, Message, Way, send
from llmobs.alerts.models import Alert, Channel, Delivery
from llmobs.alerts.outbox import FIRST_PAUSE, MOST_ATTEMPTS
from llmobs.alerts.raising import raise_alert
from llmobs.alerts.service_process import Guard
from llmobs.alerts.tasks import deliver, deliver_one
from llmobs.tenants.models import AuditEntry, Tenant
from llmobs.tenants.plain_connection import plain_connection
from tests.alerts.far_end import Receiver, receiving

PRIVATE = Way(allow_private=True)
PUBLIC = Way()


@pytest.fixture
def acme(transactional_db: None) -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


def channel(tenant: Tenant, url: str, name: str = "hook", **fields: Any) -> Channel:
    return Channel.objects.create(tenant=tenant, url=url, name=name, **fields)


def raised(tenant: Tenant, key: str = "k", kind: str = "error_rate", severity: str = "warning") -> int | None:
    return raise_alert(plain_connection(), tenant.pk, kind, key, severity, "It fails", {"n": 3}, timezone.now())


def due_again() -> None:
    Delivery.objects.filter(state="waiting").update(next_at=timezone.now())
    Channel.objects.update(busy_until=None)


def test_a_webhook_is_signed_so_that_the_standard_library_verifies_it(acme: Tenant, receiver: Receiver) -> None:
    hook = channel(acme, receiver.url)
    raised(acme)
    deliver()
    (told,) = receiver.verified(hook.open_secret())
    assert (told["title"], told["n"], told["type"]) == ("It fails", 3, "alert.opened")
    assert receiver.ids == [f"delivery-{Delivery.objects.get().pk}"]


def test_another_secret_does_not_verify_it(acme: Tenant, receiver: Receiver) -> None:
    channel(acme, receiver.url)
    other = channel(acme, "https://hooks.example.com/x", "other", is_enabled=False)
    raised(acme)
    deliver()
    with pytest.raises(WebhookVerificationError):
        receiver.verified(other.open_secret())


def test_while_a_secret_is_rotated_both_verify_and_afterwards_the_new_one_alone(
    acme: Tenant, receiver: Receiver
) -> None:
    hook = channel(acme, receiver.url)
    old = hook.open_secret()
    new = changing.rotate(hook, "alice")
    raised(acme)
    deliver()
    assert len(receiver.verified(old)) == len(receiver.verified(new)) == 1
    Channel.objects.update(previous_until=timezone.now() - timedelta(seconds=1))
    raised(acme, "later")
    deliver()
    body, headers = receiver.raw[-1]
    assert Webhook(new).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(body, headers)


def test_repeated_runs_send_nothing_twice(acme: Tenant, receiver: Receiver) -> None:
    """PAINS 31."""
    channel(acme, receiver.url)
    for _ in range(3):
        raised(acme)
        deliver()
    assert len(receiver.got) == 1


def test_a_failing_channel_is_tried_again_later_then_given_up(acme: Tenant, receiver: Receiver) -> None:
    receiver.status = 500
    channel(acme, receiver.url)
    raised(acme)
    deliver()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.last_error) == ("waiting", "the webhook answered HTTP 500")
    assert delivery.next_at > timezone.now() + FIRST_PAUSE / 2
    for _ in range(MOST_ATTEMPTS):
        due_again()
        deliver_one()
    assert Delivery.objects.get().state == Delivery.State.GIVEN_UP
    assert len(receiver.got) == MOST_ATTEMPTS
    assert len(set(receiver.ids)) == 1


def test_what_was_given_up_is_tried_again_by_hand(acme: Tenant, receiver: Receiver) -> None:
    hook = channel(acme, receiver.url)
    raised(acme)
    Delivery.objects.update(state="given_up", attempts=MOST_ATTEMPTS)

    assert changing.try_again(Delivery.objects.get(), "alice")
    deliver()

    assert Delivery.objects.get().state == "sent"
    assert len(receiver.verified(hook.open_secret())) == 1
    assert AuditEntry.objects.filter(action="try again", actor="alice", tenant=acme).count() == 1


def test_a_worker_killed_between_send_and_save_sends_again_under_the_same_id(acme: Tenant, receiver: Receiver) -> None:
    channel(acme, receiver.url)
    raised(acme)
    (claimed,) = outbox.claim(plain_connection(), timezone.now(), 8)
    assert tasks.attempt(claimed) == ""
    # Killed here: nothing was saved. Neither its channel nor itself is due before the lease has passed.
    assert deliver() == 0
    due_again()
    deliver()
    assert receiver.ids == [claimed.message_id] * 2
    assert Delivery.objects.get().state == "sent"


def test_a_slow_channel_holds_up_itself_alone(acme: Tenant, receiver: Receiver) -> None:
    with receiving() as slow:
        slow.may_answer.clear()
        channel(acme, slow.url, "slow")
        channel(acme, receiver.url)
        for number in range(3):
            raised(acme, f"k{number}")
        told = []

        def free_the_slow_one() -> None:
            told.append(len(receiver.got))
            if len(receiver.got) == 3:
                slow.may_answer.set()

        run = tasks._Deliverer()
        wait = run._wait

        def wait_and_look() -> None:
            wait()
            free_the_slow_one()

        run._wait = wait_and_look  # type: ignore[method-assign]
        run.run()
    assert 3 in told
    assert Delivery.objects.filter(state="sent").count() == 6


def test_a_channel_that_never_answers_is_a_failed_delivery(
    acme: Tenant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmobs.alerts.delivery.TIMEOUT_SECONDS", 0.05)
    receiver.may_answer.clear()
    channel(acme, receiver.url)
    raised(acme)
    deliver()
    assert Delivery.objects.get().last_error == "the webhook did not answer within 0 s"


def test_a_channel_hears_the_kinds_and_severities_that_it_names(acme: Tenant) -> None:
    channel(acme, "mailto:a@example.com", "costs", kinds=["cost"])
    channel(acme, "mailto:b@example.com", "bad", severities=["critical"])
    channel(acme, "mailto:c@example.com", "all")
    raised(acme, "1", "cost", "info")
    raised(acme, "2", "error_rate", "critical")
    heard = sorted(Delivery.objects.values_list("channel__name", "alert__kind"))
    assert heard == [("all", "cost"), ("all", "error_rate"), ("bad", "error_rate"), ("costs", "cost")]


def test_an_operators_channel_hears_the_tenants_that_it_names(acme: Tenant) -> None:
    globex = Tenant.objects.create(slug="globex", name="Globex")
    for name, tenants in (("own", []), ("acme's", ["acme"]), ("all", ["*"])):
        Channel.objects.create(tenant=None, url="mailto:o@example.com", name=name, tenants=tenants)
    for tenant in (acme, globex):
        raised(tenant)
    raise_alert(plain_connection(), None, "provider_unhealthy", "k", "critical", "t", {}, timezone.now())
    heard = sorted(Delivery.objects.values_list("channel__name", "alert__tenant__slug"), key=str)
    assert heard == [
        ("acme's", "acme"), ("acme's", None), ("all", "acme"), ("all", "globex"), ("all", None), ("own", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x",
        "http://10.1.2.3/x",
        "http://192.168.0.1/x",
        "https://[::1]/x",
        "https://[fe80::1]/x",
        "https://[fd00::1]/x",
        "http://169.254.169.254/latest",
        "http://0.0.0.0/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://[64:ff9b::a00:1]/x",
        "http://[2002:7f00:1::]/x",
        "http://[::127.0.0.1]/x",
        "http://[fec0::1]/x",
        "http://[64:ff9b:1::a00:1]/x",
        "http://[::ffff:0:127.0.0.1]/x",
        "http://192.0.0.8/x",
        "http://224.0.0.1/x",
        "http://2130706433/x",
        "http://0x7f000001/x",
        "http://0177.0.0.1/x",
        "http://127.1/x",
        "http://localhost/x",
        "http://user:pass@127.0.0.1/x",
        "ntfys://127.0.0.1/topic",
        "mmosts://localhost/token",
        "mailtos://user:pass@93.184.215.14?smtp=127.0.0.1",
        "workflows://10.0.0.1/w/s",
    ],
)
def test_an_address_in_a_private_network_is_refused(url: str) -> None:
    with pytest.raises(DeliveryError, match="private network"):
        send(url, Message("t", {}), PUBLIC)


@pytest.mark.parametrize("found", ["127.0.0.1", "10.0.0.8", "169.254.169.254", "::1", "fd00::1"])
def test_a_name_that_stands_for_a_private_address_is_refused(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))
    hidden = (socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [public, hidden])
    with pytest.raises(DeliveryError, match="private network"):
        send("https://hooks.example.com/x", Message("t", {}), PUBLIC)


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    with receiving() as other:
        receiver.status, receiver.location = 307, other.url
        with pytest.raises(DeliveryError, match="HTTP 307"):
            send(receiver.url, Message("t", {}), PRIVATE)
        assert other.got == []


def test_a_webhooks_name_is_looked_up_once_and_what_was_looked_at_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(host: str, port: int, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port))]

    async def connect(_: object, __: object, host: str, port: int, **___: object) -> None:
        asked.append(f"{host}:{port}")
        raise OSError("the test connects to nobody")

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "create_connection", connect)

    with pytest.raises(DeliveryError, match="cannot be reached"):
        send("https://hooks.example.com/x", Message("t", {}), PUBLIC)

    assert asked == ["hooks.example.com", "93.184.215.14:443"]


def test_a_webhook_is_called_by_its_own_name(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "public_address", lambda host: "127.0.0.1")

    send(receiver.url.replace("127.0.0.1", "hooks.example.com"), Message("t", {}), PUBLIC)

    assert receiver.raw[0][1]["host"] == f"hooks.example.com:{receiver.port}"


def test_the_secret_of_a_webhooks_address_is_in_no_log(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    send(f"{receiver.url}/s3cret", Message("t", {}), PRIVATE)

    assert len(receiver.got) == 1
    assert "s3cret" not in caplog.text


def test_a_service_gets_its_message_by_apprise(receiver: Receiver) -> None:
    way = Way(schemes=["ntfys"], allow_private=True)
    with pytest.raises(DeliveryError, match="did not take it"):  # it speaks TLS, and the far end does not
        send(f"ntfys://127.0.0.1:{receiver.port}/topic", Message("t", {}), way)
    services.send(
        f"json://127.0.0.1:{receiver.port}/s3cret", "It fails", "n: 3", allow_private=True, timeout_seconds=120
    )
    assert (receiver.got[0]["title"], receiver.got[0]["message"]) == ("It fails", "n: 3")


def test_apprises_own_connections_are_looked_at_too(receiver: Receiver) -> None:
    """Also where the URL's host was public when it was looked up: after resolving, and after a redirect."""
    with pytest.raises(services.ServiceError, match="private network"):
        services.send(f"json://127.0.0.1:{receiver.port}/x", "t", "b", allow_private=False, timeout_seconds=120)
    assert receiver.raw == []


def test_apprise_follows_no_redirect(receiver: Receiver) -> None:
    with receiving() as other:
        receiver.status, receiver.location = 307, other.url
        with pytest.raises(services.ServiceError, match="HTTP 307"):
            services.send(f"json://127.0.0.1:{receiver.port}/x", "t", "b", allow_private=True, timeout_seconds=120)
        assert other.raw == []


def test_apprise_may_write_no_file(tmp_path: Path) -> None:
    guard = Guard(allow_private=True)
    guard("open", (os.devnull, "w", os.O_WRONLY))
    for event, arguments in (
        ("open", (str(tmp_path / "x"), "w", os.O_WRONLY | os.O_CREAT)),
        ("subprocess.Popen", ("sh", [], None, None)),
        ("socket.connect", (None, "/run/docker.sock")),
    ):
        with pytest.raises(PermissionError):
            guard(event, arguments)


def test_a_service_that_hangs_is_stopped(receiver: Receiver) -> None:
    receiver.may_answer.clear()
    with pytest.raises(services.ServiceError, match="within"):
        services.send(f"json://127.0.0.1:{receiver.port}/x", "t", "b", allow_private=True, timeout_seconds=0.1)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/x", "file:///etc/passwd", "javascript:alert(1)", "nothing", "syslog://localhost",
        "dbus://", "exec://rm", "json://127.0.0.1/x", "jsons://example.com/x", "gnome://", "windows://", "macosx://",
        "mqtt://example.com/t", "snmp://example.com", "smtp://example.com", "growl://127.0.0.1",
        "ntfys://ntfy.sh/t?redirect=yes", "ntfys://ntfy.sh/t?verify=no", "ntfy://ntfy.sh/t",
        "mailto:a@b.com\nBcc: x@y.com", "mailto:a@b.com,d@e.com", "mailto:a@b.com?bcc=x@y.com", "https://h:port/x",
        "https://h/\nx", "http://[bad/x", "http://exa mple.com:port/x",
    ],
)  # fmt: skip
def test_what_is_not_on_the_list_is_no_channel_and_gets_nothing(url: str) -> None:
    with pytest.raises(ValidationError):
        Channel(name="c", url=url).clean()
    with pytest.raises(DeliveryError):
        send(url, Message("t", {}), PUBLIC)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("slack://T0/B0/s3cret/#ops", "slack://…"),
        ("pagerduty://s3cret@key", "pagerduty://…"),
        ("ntfys://user:s3cret@ntfy.example.com/topic", "ntfys://ntfy.example.com/…"),
        ("https://user:s3cret@hooks.example.com/s3cret?k=s3cret", "https://hooks.example.com/…"),
    ],
)
def test_what_is_secret_in_an_address_is_sealed_and_never_shown(url: str, target: str) -> None:
    made = Channel(name="c", url=url)
    made.full_clean()
    made.save()
    stored = Channel.objects.get()
    assert (stored.target, stored.address) == (target, url)
    assert "s3cret" not in f"{stored.url} {stored.signing_secret} {stored!r}"
    assert stored.url.startswith("sealed:")


def test_a_test_message_tells_its_outcome(acme: Tenant, receiver: Receiver) -> None:
    hook = channel(acme, receiver.url)
    assert changing.test(hook, "alice") == ""
    assert receiver.verified(hook.open_secret())[0]["type"] == "alert.test"
    receiver.status = 404
    assert changing.test(hook, "alice") == "the webhook answered HTTP 404"
    outcomes = AuditEntry.objects.filter(action="test").order_by("pk").values_list("change", flat=True)
    assert [each["outcome"][1] for each in outcomes] == ["taken", "the webhook answered HTTP 404"]


def test_resolving_tells_those_who_were_told(acme: Tenant, receiver: Receiver) -> None:
    channel(acme, receiver.url)
    raised(acme)
    channel(acme, "mailto:late@example.com", "late")
    deliver()
    assert changing.resolve(Alert.objects.get(), "alice")
    deliver()
    assert [(got["type"], got["state"]) for got in receiver.got] == [
        ("alert.opened", "open"), ("alert.resolved", "resolved"),
    ]  # fmt: skip
    assert receiver.got[1]["resolved_by"] == "alice"
    assert Delivery.objects.filter(channel__name="late").count() == 0
