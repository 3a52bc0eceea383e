"""A threshold that was passed becomes one alert, delivered to every channel of its tenant and to no other."""

import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import psycopg
import pytest
from django.core import mail
from django.core.exceptions import ValidationError
from django.utils import timezone

from llmobs.alerts import delivery
from llmobs.alerts.delivery import DeliveryError, Message, send
from llmobs.alerts.models import Alert, Channel, Delivery
from llmobs.alerts.tasks import FIRST_PAUSE, MOST_ATTEMPTS, deliver_one, raise_and_deliver
from llmobs.budgets.models import Budget
from llmobs.core.money import NANOUSD_PER_USD
from llmobs.tenants.models import Tenant


class Receiver:
    """A webhook at the far end of the wire: keeps what it gets, answers `status`."""

    def __init__(self) -> None:
        self.got: list[dict[str, object]] = []
        self.hosts: list[str] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.hosts.append(self.headers["host"])
                receiver.got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def budget(pg: psycopg.Connection, transactional_db: None) -> Budget:
    tenant = Tenant.objects.create(slug="acme", name="Acme")
    return Budget.objects.create(tenant=tenant, name="monthly", limit_nanousd=100 * NANOUSD_PER_USD)


def passed(pg: psycopg.Connection, budget: Budget, threshold: int, value: str = "") -> None:
    """What the writer commits with the spend that passes a threshold."""
    pg.execute(
        "INSERT INTO threshold_event (tenant_id, budget_id, revision, value, window_start, threshold, spent, "
        "limit_amount) VALUES (%s, %s, 1, %s, '2026-11-01', %s, %s, %s)",
        (budget.tenant_id, budget.pk, value, threshold, 81_500_000_000, budget.limit_nanousd),
    )


def test_a_passed_threshold_reaches_webhook_and_mail_once(
    pg: psycopg.Connection, budget: Budget, receiver: Receiver
) -> None:
    Channel.objects.create(tenant=budget.tenant, name="hook", url=receiver.url)
    Channel.objects.create(tenant=budget.tenant, name="mail", url="mailto:ops@example.com")
    passed(pg, budget, 80)
    raise_and_deliver()
    raise_and_deliver()
    assert [(got["budget"], got["threshold_percent"], got["spent_usd"]) for got in receiver.got] == [
        ("monthly", 80, "81.5")
    ]
    assert [message.to for message in mail.outbox] == [["ops@example.com"]]
    assert Delivery.objects.filter(state=Delivery.State.SENT).count() == 2


def test_another_tenants_channel_hears_nothing(pg: psycopg.Connection, budget: Budget, receiver: Receiver) -> None:
    stranger = Tenant.objects.create(slug="stranger", name="Stranger")
    Channel.objects.create(tenant=stranger, name="hook", url=receiver.url)
    passed(pg, budget, 80)
    raise_and_deliver()
    assert receiver.got == []
    assert Alert.objects.get().tenant == budget.tenant


def test_each_threshold_and_each_value_has_its_own_alert(pg: psycopg.Connection, budget: Budget) -> None:
    for threshold, value in ((70, ""), (80, ""), (80, "user-1")):
        passed(pg, budget, threshold, value)
    raise_and_deliver()
    assert Alert.objects.count() == 3


def test_a_failing_channel_is_tried_again_later_then_given_up(
    pg: psycopg.Connection, budget: Budget, receiver: Receiver
) -> None:
    receiver.status = 500
    Channel.objects.create(tenant=budget.tenant, name="hook", url=receiver.url)
    passed(pg, budget, 100)
    raise_and_deliver()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.last_error) == (Delivery.State.WAITING, "the webhook answered HTTP 500")
    assert delivery.next_at > timezone.now() + FIRST_PAUSE / 2
    for _ in range(MOST_ATTEMPTS):
        Delivery.objects.filter(state=Delivery.State.WAITING).update(next_at=timezone.now())
        deliver_one()
    assert Delivery.objects.get().state == Delivery.State.GIVEN_UP
    assert len(receiver.got) == MOST_ATTEMPTS


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x",
        "http://10.1.2.3/x",
        "https://[::1]/x",
        "http://169.254.169.254/latest",
        "http://0.0.0.0/x",
        "http://[::ffff:127.0.0.1]/x",
        "http://[64:ff9b::a00:1]/x",
        "http://[2002:7f00:1::]/x",
        "http://224.0.0.1/x",
        "http://2130706433/x",
    ],
)
def test_a_webhook_into_a_private_network_is_refused(url: str) -> None:
    with pytest.raises(DeliveryError, match="private network"):
        send(url, Message("t", {}))


@pytest.mark.parametrize("url", ["ftp://example.com/x", "file:///etc/passwd", "javascript:alert(1)", "nothing"])
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(DeliveryError, match="channels are"):
        send(url, Message("t", {}))


def test_a_webhooks_name_is_looked_up_once_and_what_was_looked_at_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(host: str, port: int, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        if len(asked) > 1:
            raise OSError("the test connects to nobody")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)

    with pytest.raises(DeliveryError, match="cannot be reached"):
        send("https://hooks.example.com/x", Message("t", {}))

    assert asked == ["hooks.example.com", "93.184.215.14"]


def test_the_secret_of_a_webhooks_address_is_in_no_log(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    send(f"{receiver.url}/s3cret", Message("t", {}), allow_private=True)

    assert len(receiver.got) == 1
    assert "s3cret" not in caplog.text


def test_a_webhook_is_called_by_its_own_name(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_public_address", lambda parts: "127.0.0.1")

    send(receiver.url.replace("127.0.0.1", "hooks.example.com"), Message("t", {}))

    assert receiver.hosts == [f"hooks.example.com:{receiver.server.server_port}"]


def test_a_callers_long_or_broken_id_keeps_no_alert_from_anyone(pg: psycopg.Connection, budget: Budget) -> None:
    Channel.objects.create(tenant=budget.tenant, name="mail", url="mailto:ops@example.com")
    for threshold in (70, 80):
        passed(pg, budget, threshold, "u" * 300)
    passed(pg, budget, 70, "u" * 299 + "v")
    passed(pg, budget, 70, "two\nlines")

    raise_and_deliver()

    assert Alert.objects.count() == 4
    assert len(mail.outbox) == 4
    assert all("\n" not in message.subject for message in mail.outbox)


@pytest.mark.parametrize("url", ["http://[bad/x", "mailto:a@b.c\nBcc: x@y.z", "http://exa mple.com:port/x"])
def test_an_address_that_cannot_be_used_is_a_failed_delivery(url: str) -> None:
    with pytest.raises(DeliveryError):
        send(url, Message("t", {}))


@pytest.mark.parametrize(
    "url",
    [
        "mailto:a@b.com\nBcc: x@y.com",
        "mailto:a@b.com,d@e.com",
        "mailto:a@b.com?bcc=x@y.com",
        "https://h:port/x",
        "https://h/\nx",
        "http://[bad/x",
    ],
)
def test_a_channel_is_one_address_and_nothing_else(url: str) -> None:
    with pytest.raises(ValidationError, match="An address such as"):
        Channel(name="c", url=url).clean()
