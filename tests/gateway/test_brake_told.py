"""S2-02: from the loop to people: gateway, journal, writer, alert, webhook, release; and how long it takes.

Beat wakes the worker every five seconds; all the rest is what this measures.
"""

import time
from collections.abc import Iterator

import httpx2 as httpx
import pytest
from django.conf import LazySettings

from llmobs.alerts.models import Channel
from llmobs.alerts.tasks import raise_and_deliver
from llmobs.brake.models import BrakedSession
from llmobs.celery import app
from llmobs.ingest.writing import Writer
from llmobs.tenants.models import AuditEntry, Tenant, User
from tests.alerts.far_end import Receiver, receiving
from tests.gateway.running import PLATFORM_SECRET, Gateway
from tests.gateway.test_brake import SESSION, ask, braked, episodes
from tests.gateway.world import World
from tests.gateway.written import shared_gateway, writer  # noqa: F401 - fixtures
from tests.tenants.cast import as_person

ALERTED_WITHIN_SECONDS = 10.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def test_the_alert_is_out_within_ten_seconds_and_its_link_releases(
    gateway: Gateway,
    http: httpx.Client,
    world: World,
    tenant: int,
    writer: Writer,  # noqa: F811
    receiver: Receiver,
    settings: LazySettings,
) -> None:
    settings.PRIVATE_WEBHOOKS, settings.SECRET_KEY = True, PLATFORM_SECRET
    settings.BASE_URL = "https://llmobs.example.com"
    channel = Channel(tenant_id=tenant, name="ops", url=receiver.url)
    channel.save()
    braked(gateway, world)
    assert ask(http, 7)[-1] == "runaway_paused"
    begun = time.process_time()  # what else runs on the machine is not ours
    writer.drain()
    raise_and_deliver()
    took = time.process_time() - begun
    beat = app.conf.beat_schedule["alert"]["schedule"]
    assert took + beat < ALERTED_WITHIN_SECONDS
    assert episodes(gateway) == [("session", "slowed"), ("session", "paused")]
    said = [body for body in receiver.got if "is paused" in str(body)]
    assert "https://llmobs.example.com/brake/" in str(said[0])

    session = BrakedSession.objects.get()
    assert (session.state, session.session_id, session.evidence["alike_calls"]) == ("paused", "night-job", 6)
    olga = User.objects.create_user("olga", is_staff=True)
    assert as_person(olga).post(f"/api/v1/brake/{session.pk}/release/").status_code == 200
    gateway.wait_for_config(world.version())
    assert ask(http, 5) == [""] * 5
    assert AuditEntry.objects.get(action="release").tenant == Tenant.objects.get(pk=tenant)
    assert http.post("/v1/chat/completions", json={}, headers=SESSION).status_code == 400


def test_events_read_again_change_nothing(gateway: Gateway, http: httpx.Client, world: World, writer: Writer) -> None:  # noqa: F811
    braked(gateway, world)
    ask(http, 7)
    writer.drain()
    world.pg.execute("UPDATE braked_session SET state = 'released', ended_at = now()")
    world.pg.execute("UPDATE journal_offset SET committed = 0, low_water = 0")
    writer._tails.clear()
    writer._owners_at = 0.0
    writer.drain()
    assert [row.state for row in BrakedSession.objects.all()] == ["released"]
