"""A person erased: nothing names them any more, every sum is what it was, and a signed proof says so."""

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import redis
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from psycopg import sql

from llmobs.alerts.models import Alert
from llmobs.budgets.ledger import EPOCH_KEY
from llmobs.core.env import Place
from llmobs.evals.models import Score
from llmobs.ingest.journal import JournalWriter
from llmobs.ingest.writing import Writer
from llmobs.keeping.archive_erasing import erase_archives
from llmobs.keeping.erasing import NotErased, await_journals
from llmobs.keeping.models import Erasure
from llmobs.keeping.person import Person
from llmobs.keeping.proof import is_genuine
from llmobs.ops.verify import verify
from llmobs.rollups.compact import compact_all
from llmobs.spans.blocks import read_content
from llmobs.tenants.attribution import Attribution
from llmobs.tenants.models import AuditEntry, User
from tests.budgets.made import make_budget
from tests.ingest.making import START_NS, begin, call, commit, end, journal_folder, make_tenant, otlp, step
from tests.keeping.letting import DAY_NS, Connection, count, read_by_duckdb, run
from tests.tenants.cast import assert_problem, make_cast, make_key, with_key

WHO = "ada@example.com"
WORDS = '[{"role":"user","parts":[{"type":"text","content":"I am Ada"}]}]'
ADA = Attribution("shop", "production", "support", WHO, f"chat of {WHO} 7", 7)
SUMS = "SELECT count(*), sum(cost_nanousd), sum(output_tokens) FROM "


def adas(**changes: Any) -> Any:
    return call(attribution=ADA, input=WORDS, **changes)


@pytest.fixture
def traffic(pg: Connection, valkey: "redis.Redis") -> Connection:
    """Ada's and Bob's calls in one block, a step of Ada's trace that names nobody, and budgets by user."""
    make_tenant(pg)
    for name, scope in (("each", '{"user": "*"}'), ("both", '{"user": "*", "session": "*"}')):
        make_budget(pg, 1, name=name, scope=scope, window="total", counted_at="2020-01-01T00:00:00Z")
    first = adas(attributes={"who": WHO, "gen_ai.prompt.0.content": "I am Ada", "n": 5}, status_message=f"no, {WHO}")
    commit(
        pg,
        first,
        step(trace_id=first.trace_id, parent_span_id=first.span_id, attribution=Attribution("shop"), input=WORDS),
        call(input='[{"role":"user","parts":[{"type":"text","content":"I am Bob"}]}]'),
        adas(start_ns=START_NS - 2 * DAY_NS),
    )
    compact_all(pg)
    Score.objects.create(
        tenant_id=1, trace_id=first.trace_id, name="helpful", comment="Ada said", details={"r": "Ada"}, source="judge"
    )
    Alert.objects.create(
        tenant_id=1, kind="budget", dedupe=f"b:{WHO}", title=f"Budget of {WHO}", body={"v": WHO, "n": [f"x {WHO}"]},
        at=timezone.now(),
    )  # fmt: skip
    assert verify(pg).differences == []
    return pg


def erase(*arguments: str) -> str:
    said = StringIO()
    call_command("erase", "--tenant", "tenant-1", "--user", WHO, *arguments, stdout=said)
    return said.getvalue()


def everything(conn: Connection) -> str:
    """All rows of all tables, and contents out of their blocks, as one text."""
    names = conn.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
        "AND relnamespace = 'public'::regnamespace"
    ).fetchall()
    whole = sql.SQL("SELECT to_jsonb(t)::text FROM {} t")
    told = [str(conn.execute(whole.format(sql.Identifier(name))).fetchall()) for (name,) in names]
    rows = conn.execute("SELECT block_id, start::date, block_slot FROM span WHERE block_id IS NOT NULL").fetchall()
    told += [str(read_content(conn, 1, block_id, day, slot)) for block_id, day, slot in rows]
    return "\n".join(told)


def test_nothing_names_the_person_and_every_sum_is_what_it_was(traffic: Connection, valkey: "redis.Redis") -> None:
    before = [traffic.execute(SUMS + table).fetchone() for table in ("span", "bill", "trace", "rollup_hour")]
    users = traffic.execute("SELECT sum(cost_nanousd) FROM rollup_user_day").fetchone()
    spend = traffic.execute("SELECT sum(spent), count(*) FROM budget_spend").fetchone()
    assert WHO in everything(traffic)
    valkey.set(f"limit:{{1}}:5:{WHO}", 3)
    valkey.set("limit:{1}:5:bob", 3)
    erase()
    told = everything(traffic)
    assert WHO not in told
    assert "Ada" not in told
    assert "I am Bob" in told
    assert [traffic.execute(SUMS + table).fetchone() for table in ("span", "bill", "trace", "rollup_hour")] == before
    assert traffic.execute("SELECT sum(cost_nanousd) FROM rollup_user_day").fetchone() == users
    assert traffic.execute("SELECT sum(spent), count(*) FROM budget_spend").fetchone() == spend
    assert verify(traffic).differences == []
    assert [name for name in valkey.scan_iter() if WHO.encode() in name] == []
    assert valkey.get("limit:{1}:5:bob") == b"3"
    assert str(valkey.get(EPOCH_KEY)).startswith("b'closed")


def test_the_proof_says_what_was_found_and_nobody_can_change_it(traffic: Connection) -> None:
    shown = json.loads(erase("--json"))
    erasure = Erasure.objects.get()
    found = shown["proof"]["found_and_removed"]
    assert (found["span"], found["bill"], found["payload_block"]) == (2, 2, 3)
    assert found["budget_spend"] == 2
    assert shown["proof"]["bills_before"] == shown["proof"]["bills_after"]
    assert (shown["proof"]["asked_by"], erasure.sealed) == ("command line", "")
    assert WHO not in json.dumps(shown) + str(AuditEntry.objects.values_list("name", "change"))
    key = shown["proof"]["public_key"]
    assert is_genuine(shown["proof"], shown["signature"], key)
    assert not is_genuine({**shown["proof"], "bills_after": {}}, shown["signature"], key)
    again = json.loads(erase("--json"))
    assert again["proof"]["found_and_removed"] == {}
    assert again["proof"]["person"] == shown["proof"]["person"]


def test_archives_are_written_anew_with_the_same_rows_and_sums(traffic: Connection, tmp_path: Path) -> None:
    traffic.execute("UPDATE tenants_tenant SET retention_days = 1, archive = 'full'")
    run(traffic, tmp_path)
    spans = f"read_parquet('{tmp_path}/archive/*/*/spans.parquet')"
    query = f"SELECT count(*), sum(cost_usd), sum(billed_usd) FROM {spans}"
    before = read_by_duckdb(query)
    done = erase_archives(tmp_path / "archive", "tenant-1", Person(1, WHO, "erased-1"))
    assert {each.file.rsplit("/", 1)[1] for each in done} == {"spans.parquet", "traces.parquet", "content.parquet"}
    assert read_by_duckdb(query) == before
    for path in (tmp_path / "archive").rglob("*.parquet"):
        told = str(pq.read_table(path, partitioning=None).to_pylist())
        assert WHO not in told
        assert "Ada" not in told
    assert erase_archives(tmp_path / "archive", "tenant-1", Person(1, WHO, "erased-2")) == []


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    writer = JournalWriter(journal_folder(tmp_path), settings.SECRETS.journal_key)
    yield writer
    writer.close()


def test_it_waits_for_journals_and_refuses_where_they_stay(
    traffic: Connection, valkey: "redis.Redis", journal: JournalWriter, tmp_path: Path
) -> None:
    begun = begin(attribution=ADA)
    journal.append(begun)
    journal.append(end(begun))
    place, key = Place(tmp_path), settings.SECRETS.journal_key
    with pytest.raises(NotErased, match="journal gateway-1"):
        await_journals(traffic, place, key, seconds=1.0, sleep=lambda _: None)
    writer = Writer(place.journal, settings.SECRETS, traffic, valkey)
    await_journals(traffic, place, key, seconds=5.0, sleep=lambda _: writer.drain())
    assert count(traffic, "span", f"user_id = '{WHO}'") == 3


def test_it_refuses_while_a_budget_names_the_person(traffic: Connection) -> None:
    make_budget(traffic, 1, name="of ada", scope=json.dumps({"user": WHO}))
    with pytest.raises(CommandError, match="'of ada' names the person"):
        erase()
    assert "of ada" in Erasure.objects.get().error
    assert count(traffic, "span", f"user_id = '{WHO}'") == 2
    traffic.execute("DELETE FROM budgets_budget WHERE name = 'of ada'")
    assert "span: 2" in erase()


def test_dead_letters_that_name_the_person_go(
    traffic: Connection, valkey: "redis.Redis", journal: JournalWriter, tmp_path: Path
) -> None:
    body = otlp()
    journal.append(type(body)(1, 7, START_NS, "application/json", b'{"broken ' + WHO.encode()))
    journal.append(type(body)(1, 7, START_NS, "application/json", b'{"broken too'))
    Writer(tmp_path / "journal", settings.SECRETS, traffic, valkey).drain()
    assert count(traffic, "dead_letter") == 2
    assert "dead_letter: 1" in erase()
    assert count(traffic, "dead_letter") == 1


def test_a_short_id_takes_nothing_else_with_it() -> None:
    person = Person(1, "al", "erased-1")
    assert person.rename("al, also alal al") == "erased-1, also alal erased-1"
    assert person.rename_json({"al": ["al", "pal"]}) == {"erased-1": ["erased-1", "pal"]}
    assert person.rename_value('["al","al"]', ("feature", "user"), ()) == '["al","erased-1"]'
    assert person.rename_value('["al","of al"]', ("user", "session"), ()) == '["erased-1","of al"]'
    assert person.rename_value('["al","of al"]', ("user", "session"), {"of al"}) == '["erased-1","of erased-1"]'
    assert not person.is_telling


@pytest.mark.django_db
def test_operators_alone_ask_over_rest_and_see_proofs() -> None:
    cast = make_cast()
    make_key(None, "root", "root")
    asked = {"tenant": "acme", "user_id": WHO}
    assert_problem(with_key("acme").post("/api/v1/erasures/", asked, format="json"), 403)
    assert_problem(with_key("globex").post("/api/v1/erasures/", asked, format="json"), 403)
    answer = with_key("root").post("/api/v1/erasures/", asked, format="json")
    assert (answer.status_code, answer.json()["finished_at"]) == (202, None)
    assert WHO not in answer.content.decode()
    pk = answer.json()["id"]
    assert_problem(with_key("globex").get(f"/api/v1/erasures/{pk}/"), 403)
    assert with_key("root").get(f"/api/v1/erasures/{pk}/").json()["tenant"] == "acme"
    assert_problem(with_key("root").post("/api/v1/erasures/", {"tenant": "acme", "user_id": ""}, format="json"), 400)
    assert AuditEntry.objects.filter(tenant=cast.acme, action="erase").count() == 1


@pytest.mark.django_db
def test_operators_ask_in_the_admin(client: Client) -> None:
    cast = make_cast()
    address = "/admin/keeping/erasure/add/"
    client.force_login(cast.charlie)
    assert client.get(address).status_code in (302, 403)
    client.force_login(User.objects.get(username="olga"))
    assert client.get(address).status_code == 200
    answer = client.post(address, {"tenant": cast.acme.pk, "user_id": WHO})
    assert answer.status_code == 302
    erasure = Erasure.objects.get()
    assert (erasure.asked_by, erasure.tenant) == ("olga", cast.acme)
    assert client.get(f"/admin/keeping/erasure/{erasure.pk}/change/").status_code == 200
