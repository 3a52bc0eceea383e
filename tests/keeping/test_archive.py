"""Archived days: exact, readable by DuckDB, checked before anything goes, and brought back without counting twice."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from llmobs.core.clock import utc_from_ns
from llmobs.core.env import Place
from llmobs.ingest.stored_spans import load_stored
from llmobs.keeping import archive, manifest
from llmobs.keeping.archive_erasing import erase_archives
from llmobs.keeping.manifest import ArchiveError, Sums
from llmobs.keeping.person import Person
from llmobs.keeping.place import open_archive
from llmobs.keeping.restoring import in_order, restore
from llmobs.ops.verify import verify
from llmobs.rollups.compact import compact_all
from llmobs.spans.blocks import read_content
from llmobs.spans.partitions import existing_days
from tests.ingest.making import START_NS, call, commit, make_tenant, step
from tests.keeping.letting import DAY_NS, Connection, count, read_by_duckdb, run, today
from tests.tenants.cast import make_cast, with_key

OLD_NS = START_NS - 6 * DAY_NS
DAY = utc_from_ns(OLD_NS).date()


@pytest.fixture
def acme(pg: Connection) -> Connection:
    """A tenant that keeps three days and archives all, with one old trace of a step and two calls."""
    make_tenant(pg)
    pg.execute("UPDATE tenants_tenant SET slug = 'acme', retention_days = 3, archive = 'full'")
    first = call(start_ns=OLD_NS, attributes={"a": [1, "ä"]}, finish_reasons=("stop",))
    commit(pg, first, call(start_ns=OLD_NS, trace_id=first.trace_id), step(start_ns=OLD_NS), call())
    return pg


def files(folder: Path) -> list[Path]:
    return in_order([folder / "archive"])


def test_a_day_is_archived_before_it_goes_and_duckdb_reads_it(acme: Connection, tmp_path: Path) -> None:
    assert run(acme, tmp_path).waiting == []
    assert count(acme, "span") == 1
    day = tmp_path / "archive" / "tenant=acme" / f"day={DAY}"
    assert sorted(path.name for path in day.iterdir()) == [
        "content.parquet", "manifest.json", "spans.parquet", "traces.parquet",
    ]  # fmt: skip
    manifest = json.loads((day / "manifest.json").read_text())
    sums = {each["kind"]: each["sums"]["rows"] for each in manifest["files"]}
    assert sums == {"content": 3, "spans": 3, "traces": 2}
    assert (day.stat().st_mode & 0o777, (day / "spans.parquet").stat().st_mode & 0o777) == (0o700, 0o600)
    read = read_by_duckdb(
        f"SELECT tenant, count(*), sum(cost_usd), sum(billed_usd), typeof(any_value(cost_usd)) "
        f"FROM read_parquet('{tmp_path}/archive/*/*/spans.parquet', hive_partitioning = true) GROUP BY tenant"
    )
    assert read == [("acme", 3, Decimal("0.000000006"), Decimal("0.000000006"), "DECIMAL(28,9)")]
    answers = read_by_duckdb(f"SELECT count(*) FROM '{day}/content.parquet' WHERE output LIKE '%hi%'")
    assert answers == [(3,)]


def test_a_restored_day_is_what_it_was_and_no_money_is_counted_twice(acme: Connection, tmp_path: Path) -> None:
    columns = "to_jsonb(s) - 'block_id' - 'block_slot'"
    before = acme.execute(f"SELECT {columns} FROM span s ORDER BY span_id").fetchall()
    traces = acme.execute("SELECT to_jsonb(t) FROM trace t ORDER BY trace_id").fetchall()
    billed = acme.execute("SELECT count(*), sum(cost_nanousd) FROM bill").fetchall()
    run(acme, tmp_path)
    for times in (1, 2):
        done = [restore(acme, path, today() + timedelta(days=2)) for path in files(tmp_path)]
        assert sum(each.rows for each in done) == (8 if times == 1 else 0)
        assert acme.execute(f"SELECT {columns} FROM span s ORDER BY span_id").fetchall() == before
        assert acme.execute("SELECT to_jsonb(t) FROM trace t ORDER BY trace_id").fetchall() == traces
    of_day = "SELECT block_id, block_slot FROM span WHERE block_id IS NOT NULL AND start < %s"
    rows = acme.execute(of_day, (DAY + timedelta(days=1),))
    for block_id, slot in rows.fetchall():
        assert "hello" in (read_content(acme, 1, block_id, DAY, slot)[0] or "")
    assert acme.execute("SELECT count(*), sum(cost_nanousd) FROM bill").fetchall() == billed
    assert verify(acme).differences == []


def test_restored_days_stay_until_their_time_and_then_go_again(acme: Connection, tmp_path: Path) -> None:
    run(acme, tmp_path)
    for path in files(tmp_path):
        restore(acme, path, today() + timedelta(days=2))
    run(acme, tmp_path)
    assert count(acme, "span") == 4
    acme.execute("UPDATE restored_day SET until = current_date")
    run(acme, tmp_path)
    assert count(acme, "span") == 1
    assert len(files(tmp_path)) == 3  # the same rows: nothing to archive anew


def test_nothing_goes_that_is_not_verifiably_archived(
    acme: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "file_sums", lambda _: Sums(rows=1))
    gone = run(acme, tmp_path)
    assert len(gone.waiting) == 2
    assert (count(acme, "span"), count(acme, "payload_block")) == (4, 2)
    assert files(tmp_path) == []
    monkeypatch.undo()
    (tmp_path / "archive").rmdir() if not any((tmp_path / "archive").iterdir()) else None
    monkeypatch.setenv("LLMOBS_ARCHIVE", str(tmp_path / "not mounted"))
    assert len(run(acme, tmp_path).waiting) == 2
    assert count(acme, "span") == 4


def test_a_damaged_file_does_not_let_its_day_go_nor_come_back(acme: Connection, tmp_path: Path) -> None:
    where = open_archive(Place(tmp_path))
    from llmobs.keeping.horizons import horizons

    where.secure(acme, horizons(acme, today())[1], DAY, "spans")
    spans = next(path for path in files(tmp_path) if path.name == "spans.parquet")
    spans.write_bytes(spans.read_bytes()[:-1] + b"x")
    with pytest.raises(ArchiveError, match="manifest"):
        restore(acme, spans, today())
    run(acme, tmp_path)
    assert spans.with_name("spans.2.parquet").exists()
    assert DAY not in existing_days(acme)


def test_days_without_archives_leave_no_file(acme: Connection, tmp_path: Path) -> None:
    acme.execute("UPDATE tenants_tenant SET archive = 'off'")
    run(acme, tmp_path)
    assert count(acme, "span") == 1
    assert not (tmp_path / "archive").exists()


STEPS = ["the line", "the name", "the end"]


def stopped_at(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill right before the manifest's next line (`the line`, `the end`), or before the file's name."""
    real_move, real_keep, kept = manifest.move, manifest.keep, []

    def move(made: Path, path: Path) -> None:
        if step == "the name":
            raise KeyboardInterrupt
        real_move(made, path)

    def keep(*given: Any) -> None:
        kept.append(given)
        if step == "the line" or (step == "the end" and len(kept) == 2):
            raise KeyboardInterrupt
        real_keep(*given)

    monkeypatch.setattr(manifest, "move", move)
    monkeypatch.setattr(manifest, "keep", keep)


@pytest.mark.parametrize("step", STEPS)
def test_a_day_whose_archiving_was_killed_is_archived_once(
    acme: Connection, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped_at(step, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(acme, tmp_path)
    monkeypatch.undo()
    assert count(acme, "span") == 4
    run(acme, tmp_path)
    day = tmp_path / "archive" / "tenant=acme" / f"day={DAY}"
    assert sorted(path.name for path in day.iterdir()) == [
        "content.parquet", "manifest.json", "spans.parquet", "traces.parquet",
    ]  # fmt: skip
    assert all(manifest.is_sound(day, entry) for entry in manifest.read(day))
    for path in files(tmp_path):
        restore(acme, path, today() + timedelta(days=2))
    assert count(acme, "span") == 4


@pytest.mark.parametrize("step", STEPS)
def test_a_file_whose_exchange_was_killed_is_sound_and_is_finished(
    acme: Connection, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(acme, tmp_path)
    day = tmp_path / "archive" / "tenant=acme" / f"day={DAY}"
    whose = Person(1, "user-1", "erased-1")
    stopped_at(step, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        erase_archives(tmp_path / "archive", "acme", whose)
    monkeypatch.undo()
    assert all(manifest.is_sound(day, entry) for entry in manifest.read(day))
    erase_archives(tmp_path / "archive", "acme", whose)
    assert {path.suffix for path in day.iterdir()} == {".json", ".parquet"}
    assert all(entry.becomes == "" and manifest.is_sound(day, entry) for entry in manifest.read(day))
    told = read_by_duckdb(f"SELECT user_id FROM '{day}/spans.parquet' UNION SELECT user_id FROM '{day}/traces.parquet'")
    assert told == [("erased-1",)]
    assert read_by_duckdb(f"SELECT count(input) FROM '{day}/content.parquet'") == [(0,)]


def test_details_that_lay_beside_their_rows_are_in_the_file_and_come_back(pg: Connection, tmp_path: Path) -> None:
    make_tenant(pg)
    pg.execute("UPDATE tenants_tenant SET slug = 'acme', retention_days = 3, archive = 'full'")
    spans = [call(start_ns=OLD_NS, attributes={"n": n}, finish_reasons=("stop",)) for n in range(12)]
    commit(pg, *spans)
    before = {key: stored.span for key, stored in load_stored(pg, 1, spans).items()}
    assert count(pg, "detail_block") == 1
    run(pg, tmp_path)
    assert (count(pg, "span"), count(pg, "detail_block")) == (0, 0)
    told = read_by_duckdb(
        "SELECT sum(CAST(json_extract(attributes, '$.n') AS INTEGER)), count(DISTINCT price_version), "
        f"min(scope_name), min(finish_reasons[1]) FROM read_parquet('{tmp_path}/archive/*/*/spans.parquet')"
    )
    assert told == [(66, 1, "instrumentation", "stop")]
    for path in files(tmp_path):
        restore(pg, path, today() + timedelta(days=2))
    assert {key: stored.span for key, stored in load_stored(pg, 1, spans).items()} == before


def test_a_restored_day_shows_on_the_pages_with_the_same_totals(pg: Connection, tmp_path: Path) -> None:
    cast = make_cast()
    pg.execute("UPDATE tenants_tenant SET retention_days = 3, archive = 'full' WHERE slug = 'acme'")
    first = call(cast.acme.pk, start_ns=OLD_NS, attributes={"a": [1, "ä"]}, finish_reasons=("stop",))
    commit(pg, first, call(cast.acme.pk, start_ns=OLD_NS, trace_id=first.trace_id), call(cast.acme.pk, start_ns=OLD_NS))
    commit(pg, call(cast.acme.pk))
    compact_all(pg)
    window = f"from={DAY}T00:00Z&to={DAY + timedelta(days=1)}T00:00Z"
    pages = f"/traces/{first.trace_id.hex()}/", f"/traces/?{window}"
    asked = f"/api/v1/traces/{first.trace_id.hex()}/", f"/api/v1/traces/?{window}"

    def shown() -> list[Any]:
        answers = [with_key("acme").get(address) for address in asked]
        alice = Client()
        alice.force_login(cast.alice)
        texts = [alice.get(address).content.decode() for address in pages]
        return [*(answer.json() for answer in answers), *(text.count(first.trace_id.hex()) > 0 for text in texts)]

    before = shown()
    assert (before[2], before[3]) == (True, True)
    run(pg, tmp_path)
    assert with_key("acme").get(asked[0]).status_code == 404
    assert with_key("acme").get(asked[1]).json()["results"] == []
    for path in files(tmp_path):
        restore(pg, path, today() + timedelta(days=2))
    assert shown() == before


def test_a_tenant_that_has_restored_days_alone_is_not_told_to_connect(pg: Connection, tmp_path: Path) -> None:
    cast = make_cast()
    pg.execute("UPDATE tenants_tenant SET retention_days = 3, archive = 'full' WHERE slug = 'acme'")
    commit(pg, call(cast.acme.pk, start_ns=OLD_NS))
    run(pg, tmp_path)
    for table in ("rollup_delta", "rollup_tenant_hour"):  # as when their own time is over, too
        pg.execute(f"DELETE FROM {table}")
    alice = Client()
    alice.force_login(cast.alice)
    page = f"/traces/?from={DAY}T00:00Z&to={DAY + timedelta(days=1)}T00:00Z"
    assert "/v1/traces" in alice.get(page).content.decode()
    for path in files(tmp_path):
        restore(pg, path, today() + timedelta(days=2))
    shown = alice.get(page).content.decode()
    assert "/v1/traces" not in shown
    assert "gpt-4o-mini" in shown
