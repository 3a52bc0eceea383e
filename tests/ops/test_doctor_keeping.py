"""`doctor` on keeping: each row says what is wrong, and what to do."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from llmobs.core.env import Place
from llmobs.keeping.backup import LAST, back_up, was_restored
from llmobs.keeping.models import Erasure
from llmobs.ops import checklist_keeping
from llmobs.ops.checklist import Item, State
from llmobs.ops.checklist_keeping import keeping
from tests.ingest.making import START_NS, call, commit, make_tenant
from tests.keeping.letting import DAY_NS, Connection, run
from tests.ops.test_doctor import run as doctor


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(settings, "PLACE", Place(tmp_path))
    return settings.PLACE


def row(what: str) -> Item:
    return next(item for item in keeping() if item.what.startswith(what))


def test_doctor_prints_them(pg: Connection) -> None:
    assert "a backup of the last 2 days: none was made on this host: `manage.py backup DIR`" in doctor()[1]


def test_the_age_of_the_last_backup_and_of_the_last_drill(pg: Connection, place: Place, tmp_path: Path) -> None:
    assert row("a backup of").state is State.MISSING
    assert "`manage.py restore DIR --data NEW`" in row("a backup restored").how
    for name in ("one", "two"):
        back_up(pg, place, tmp_path / name, "")
    assert row("a backup of").state is State.SET
    assert "keep secrets.json apart" in row("a backup of").how
    was_restored(tmp_path / "one", timezone.now(), 3)
    assert "the last one had differences" in row("a backup restored").how
    was_restored(tmp_path / "one", timezone.now() - timedelta(days=5), 0)
    assert (row("a backup restored").state, row("a backup restored").how) == (State.SET, "the last 5 days ago")
    was_restored(tmp_path / "one", timezone.now() - timedelta(days=100), 0)
    assert row("a backup restored").state is State.MISSING
    told = json.loads((tmp_path / LAST).read_bytes())
    (tmp_path / LAST).write_text(json.dumps({**told, "at": (timezone.now() - timedelta(days=4)).isoformat()}))
    assert row("a backup of").how.startswith("the last is 4 days old")


def test_what_should_have_gone_and_what_waits_for_the_archive(
    pg: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tenant_id in (1, 2):
        make_tenant(pg, tenant_id)
    pg.execute("UPDATE tenants_tenant SET retention_days = 3, archive = CASE id WHEN 2 THEN 'spans' ELSE 'off' END")
    assert row("what nobody keeps").state is row("days are archived").state is State.SET
    commit(pg, *(call(tenant_id, start_ns=START_NS - 6 * DAY_NS) for tenant_id in (1, 2)))
    assert "tenant-1's spans since" in row("what nobody keeps").how
    assert "tenant-2's spans since" in row("days are archived").how
    run(pg, tmp_path)
    assert row("what nobody keeps").state is row("days are archived").state is State.SET
    path = next((tmp_path / "archive").rglob("spans.parquet"))
    call_command("archive", "restore", str(path))
    assert row("days are archived").state is State.SET
    monkeypatch.setenv("LLMOBS_ARCHIVE", str(tmp_path / "not mounted"))
    assert "not there: mount or make it; nothing is let go meanwhile" in row("days are archived").how


def test_erasures_and_dead_letters_that_wait(pg: Connection) -> None:
    make_tenant(pg)
    assert row("people who were").state is row("everything that came").state is State.SET
    erasure = Erasure.objects.create(tenant_id=1, fingerprint="f", error="the budget 'x' names the person")
    assert row("people who were").state is State.SET
    Erasure.objects.filter(pk=erasure.pk).update(asked_at=timezone.now() - timedelta(hours=2))
    assert "the budget 'x' names the person" in row("people who were").how
    pg.execute(
        "INSERT INTO dead_letter (letter_id, tenant_id, kind, reason, entry, owner, position) "
        "VALUES (1, 1, 'End', 'r', 'e', 'o', 1)"
    )
    assert "1 dead letter waits since" in row("everything that came").how


def test_the_room_that_bodies_take(pg: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    assert row("bodies as they came").state is State.SET
    monkeypatch.setattr(checklist_keeping, "MANY_BYTES", 0)
    assert "`raw_body_days`" in row("bodies as they came").how


def test_whose_past_can_be_re_mapped_and_what_to_set_where_it_cannot(pg: Connection) -> None:
    assert row("the past can be").how == "there is no tenant yet"
    make_tenant(pg, 1, content="redacted")
    make_tenant(pg, 2)
    found = row("the past can be")
    assert (found.priority, found.state) == ("P2", State.MISSING)
    assert found.how == (
        "not of tenant-1 (`content` is not full, `raw_body_days` is 0), tenant-2 (`raw_body_days` is 0): "
        "set `content: full` and `raw_body_days` of a tenant whose text may be kept"
    )
    pg.execute("UPDATE tenants_tenant SET raw_body_days = 30 WHERE id = 2")
    found = row("the past can be")
    assert found.state is State.SET
    assert found.how.startswith("of tenant-2 (30 days); not of tenant-1 (")
    pg.execute("UPDATE tenants_tenant SET content = 'full', raw_body_days = 1 WHERE id = 1")
    assert row("the past can be").how == "of tenant-1 (1 day), tenant-2 (30 days)"


def test_many_whose_past_cannot_be_re_mapped_are_counted(pg: Connection) -> None:
    for tenant_id in range(1, 9):
        make_tenant(pg, tenant_id)
    assert "tenant-5 (`raw_body_days` is 0) and 3 more: set" in row("the past can be").how
    pg.execute("UPDATE tenants_tenant SET is_active = false WHERE id > 1")
    assert row("the past can be").how.startswith("not of tenant-1 (`raw_body_days` is 0): set")
