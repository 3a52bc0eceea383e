"""Rows for COPY: packed by the compiled module, PostgreSQL reads what it reads of psycopg's packing."""

import struct
from typing import Any

import psycopg
import pytest

from llmobs.ingest import compiled, copying

COLUMNS = {
    "large": "int8", "small": "int2", "truth": "bool", "words": "text", "raw": "bytea", "at": "timestamptz",
    "said": "jsonb", "texts": "text[]",
}  # fmt: skip
ROWS: list[tuple[Any, ...]] = [
    (1, 2, True, "a", b"\0\xff", 1_700_000_000_123_456_789, b'{"a": [1, "\xc3\xa9"]}', ("x", "")),
    (-(2**63), -(2**15), False, "é\U0001f600\n", b"", 0, b"null", []),
    (2**63 - 1, 2**15 - 1, False, "", b"x" * 70_000, -1, b'"' + b"y" * 70_000 + b'"', ["é"]),
    (None,) * 8,
]

# Where nothing compiles, both ways are psycopg's: what is asked of one is asked of the other.
if compiled.loaded() is None:
    compiled.build()


def _stored(conn: psycopg.Connection[Any], rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    conn.execute("CREATE TEMPORARY TABLE IF NOT EXISTS packing (" + ", ".join(map(" ".join, COLUMNS.items())) + ")")
    conn.execute("TRUNCATE packing")
    copying._copy(conn, "packing", COLUMNS, rows)
    return conn.execute("TABLE packing").fetchall()


def _by(conn: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, is_compiled: bool) -> list[tuple[Any, ...]]:
    monkeypatch.setattr(copying, "_compiled", compiled.loaded() if is_compiled else None)
    return _stored(conn, ROWS)


def test_both_ways_of_packing_store_the_same(pg: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pg.transaction():
        packed = _by(pg, monkeypatch, True)
        assert packed == _by(pg, monkeypatch, False)
    assert len(packed) == len(ROWS)
    assert packed[0][:4] == (1, 2, True, "a")


def test_more_rows_than_are_packed_at_once(pg: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_compiled", compiled.loaded())
    with pg.transaction():
        assert len(_stored(pg, ROWS * 200)) == 800


def _copied(conn: psycopg.Connection[Any], kinds: list[str], row: tuple[Any, ...]) -> None:
    columns = {f"c{number}": kind for number, kind in enumerate(kinds)}
    with conn.transaction():
        conn.execute("CREATE TEMPORARY TABLE refusing (" + ", ".join(map(" ".join, columns.items())) + ")")
        copying._copy(conn, "refusing", columns, [row])


@pytest.mark.parametrize(
    ("kind", "value", "error"),
    [
        (b"h", 2**15, OverflowError),
        (b"q", 2**63, OverflowError),
        (b"q", "1", TypeError),
        (b"t", 1, TypeError),
        (b"t", "\ud800", UnicodeEncodeError),
        (b"b", "x", TypeError),
        (b"A", 1, TypeError),
        (b"A", [1], TypeError),
        (b"x", 1, ValueError),
    ],
)
def test_what_does_not_fit_a_column_is_refused(
    pg: psycopg.Connection[Any], kind: bytes, value: object, error: type[Exception]
) -> None:
    module = compiled.loaded()
    if module is not None:
        with pytest.raises(error):
            module.packed(kind, [(value,)])
    elif kind == b"h":  # psycopg itself cuts off what is too large
        return
    columns = {letter: name for name, letter in copying._KINDS.items()}
    with pytest.raises((psycopg.Error, ValueError, TypeError, OverflowError, struct.error)):
        _copied(pg, [columns.get(kind.decode(), "int8")], (value if kind != b"x" else "x",))


def test_a_row_of_another_length_is_refused(pg: psycopg.Connection[Any]) -> None:
    with pytest.raises((ValueError, IndexError, psycopg.Error)):
        _copied(pg, ["int8", "int8"], (1,))
