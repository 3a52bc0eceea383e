"""The engine of the web's connections: what is said holds for its statement or transaction alone.

The same connection is used by one after the other, as a pool hands it out.
"""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import ProgrammingError, connection, connections, transaction

from llmobs.core.sql import AsBytes
from llmobs.ops.embedded_postgres import WEB_USER
from llmobs.tenants import seeing
from llmobs.tenants.models import Key, Tenant
from llmobs.tenants.walled.base import DatabaseWrapper
from tests.stores import TEST_DATABASE, Stores

OURS, THEIRS = "101", "102"
NAMES = "SELECT name FROM tenants_key ORDER BY 1"


@pytest.fixture
def web(pg: "psycopg.Connection[Any]", migrated: Stores) -> Iterator[DatabaseWrapper]:
    """The web's own connection, as its settings make it: each tenant has a key, named like it."""
    for number in (OURS, THEIRS):
        tenant = Tenant.objects.create(pk=int(number), slug=f"t{number}", name=number)
        Key.objects.create(tenant=tenant, name=number, prefix="x", secret_hash=number)
    password = psycopg.conninfo.conninfo_to_dict(migrated.postgres.web_url())["password"]
    options = {"pool": {"min_size": 1, "max_size": 1, "timeout": 5}}
    given = {**connection.settings_dict, "NAME": TEST_DATABASE, "USER": WEB_USER, "PASSWORD": password}
    made = DatabaseWrapper({**given, "OPTIONS": options, "CONN_HEALTH_CHECKS": False}, alias="walled")
    connections[made.alias] = made
    yield made
    made.close()
    made.close_pool()
    del connections[made.alias]


def names(web: DatabaseWrapper, said: str | None) -> list[str]:
    with seeing.seeing(said), web.cursor() as cursor:
        cursor.execute(NAMES)
        return [name for (name,) in cursor.fetchall()]


def broken(web: DatabaseWrapper) -> None:
    """A savepoint that said more, and failed."""
    with transaction.atomic(using=web.alias), web.cursor() as cursor:
        names(web, "*")
        cursor.execute("SELECT nonsense")


def pid(web: DatabaseWrapper) -> int:
    with web.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_one_after_the_other_on_one_connection_sees_its_own(web: DatabaseWrapper) -> None:
    first = pid(web)
    assert [names(web, said) for said in (OURS, THEIRS, "", None, "*")] == [[OURS], [THEIRS], [], [], [OURS, THEIRS]]
    assert pid(web) == first


def test_the_next_out_of_the_pool_inherits_nothing(web: DatabaseWrapper) -> None:
    assert names(web, OURS) == [OURS]
    first = pid(web)
    web.close()  # back to the pool, which has one
    with web.cursor() as cursor:
        assert isinstance(cursor.cursor, psycopg.Cursor)
        psycopg.Cursor.execute(cursor.cursor, NAMES)  # past the engine: what the connection itself still knows
        assert cursor.fetchall() == []
    assert pid(web) == first


def test_within_a_transaction_each_statement_says_its_own(web: DatabaseWrapper) -> None:
    with seeing.seeing(OURS), transaction.atomic(using=web.alias):
        assert names(web, OURS) == [OURS]
        assert names(web, THEIRS) == [THEIRS]
        with pytest.raises(ProgrammingError):
            broken(web)
        assert names(web, OURS) == [OURS]
    assert names(web, None) == []


def test_what_a_transaction_said_ends_with_it_however_it_ends(web: DatabaseWrapper) -> None:
    for is_rolled_back in (False, True):
        with seeing.seeing(OURS), transaction.atomic(using=web.alias):
            names(web, OURS)
            web.set_rollback(is_rolled_back)
        with web.cursor() as cursor:
            psycopg.Cursor.execute(cursor.cursor, NAMES)
            assert cursor.fetchall() == []


def test_parameters_and_counts_are_the_statements_own(web: DatabaseWrapper) -> None:
    with seeing.seeing(OURS), web.cursor() as cursor:
        cursor.execute("SELECT %s, name FROM tenants_key WHERE name LIKE %s", ["100 %; '", "10%"])
        assert cursor.fetchall() == [("100 %; '", OURS)]
        cursor.execute("UPDATE tenants_key SET service = 'x'")
        assert cursor.rowcount == 1
        cursor.execute("SELECT 'plain %'")
        assert cursor.description[0].name == "?column?"
        assert cursor.fetchone() == ("plain %",)


def test_an_answer_as_bytes_is_of_its_own_rows_in_and_out_of_transactions(web: DatabaseWrapper) -> None:
    asked = AsBytes("SELECT name::bytea, id, name FROM tenants_key WHERE name LIKE %s ORDER BY 3")
    rows = {name: (name.encode(), Key.objects.get(name=name).pk, name) for name in (OURS, THEIRS)}
    for said, seen in ((OURS, [OURS]), (THEIRS, [THEIRS]), ("", []), (None, []), ("*", [OURS, THEIRS])):
        with seeing.seeing(said), web.cursor() as cursor:
            cursor.execute(asked, ["10%"])
            assert cursor.fetchall() == [rows[name] for name in seen]
            assert isinstance(cursor.cursor, psycopg.Cursor)
            psycopg.Cursor.execute(cursor.cursor, NAMES)  # what the connection itself still knows
            assert cursor.fetchall() == []
            with transaction.atomic(using=web.alias):
                cursor.execute(asked, ["10%"])
                assert cursor.fetchall() == [rows[name] for name in seen]
                cursor.execute(NAMES)
                assert cursor.fetchall() == [(name,) for name in seen]
    with seeing.seeing(OURS), web.cursor() as cursor, pytest.raises(ProgrammingError):
        cursor.execute(AsBytes("SELECT nonsense"))
    assert names(web, OURS) == [OURS]


def test_many_rows_at_once_are_written_as_said(web: DatabaseWrapper) -> None:
    statement = "UPDATE tenants_key SET service = %s WHERE name = %s"
    with seeing.seeing(OURS), web.cursor() as cursor:
        cursor.executemany(statement, [("a", OURS), ("b", THEIRS)])
    assert dict(Key.objects.values_list("name", "service")) == {OURS: "a", THEIRS: ""}


def test_a_server_side_cursor_reads_as_said_when_it_was_opened(web: DatabaseWrapper) -> None:
    with seeing.seeing(OURS), web.chunked_cursor() as cursor:  # in autocommit: held past its transaction
        cursor.execute(NAMES)
        assert cursor.fetchmany(5) == [(OURS,)]
    with seeing.seeing(THEIRS), transaction.atomic(using=web.alias), web.chunked_cursor() as cursor:
        cursor.execute(NAMES)
        assert cursor.fetchmany(5) == [(THEIRS,)]
    with web.chunked_cursor() as cursor:
        cursor.execute(NAMES)
        assert cursor.fetchmany(5) == []


def test_a_thread_that_was_told_nothing_sees_nothing(web: DatabaseWrapper) -> None:
    found: list[Any] = []
    web.inc_thread_sharing()
    with seeing.seeing("*"):
        thread = threading.Thread(target=lambda: found.append(seeing.said()))
        thread.start()
        thread.join()
    web.dec_thread_sharing()
    assert found == [None]


def test_who_sees_is_numbers_alone() -> None:
    with seeing.seeing(None):
        seeing.see([7, 3])
        assert seeing.statement() == "SELECT set_config('llmobs.tenants', '3,7', true)"
        with pytest.raises(ValueError):
            seeing.see(["1', true); DROP TABLE span; --"])
