"""Rows of usage as JSON, CSV and Parquet, in parts: each takes rows one by one and gives bytes as they are full."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec

from dashboards.queries.usage import MEASURES, UsageRow
from llmobs.core.money import exact_usd

COUNTS = tuple(name for name in MEASURES if name != "cost_nanousd")
ROWS_OF_PART = 500
ROWS_OF_GROUP = 20_000  # of a Parquet file: what is held before it is compressed
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
NANOUSD_DIGITS = 9


@dataclass(frozen=True)
class Naming:
    """What ids are called, and the zone in which hours are written."""

    tenants: Mapping[int, str]
    keys: Mapping[int, str]
    zone: tzinfo

    def value(self, group: str, raw: Any) -> Any:
        if group == "tenant":
            return self.tenants.get(raw)
        if group == "key":
            return self.keys.get(raw)
        if group == "hour":
            return raw.astimezone(self.zone)
        return f"{raw:%Y-%m}" if group == "month" else raw or None


def columns_of(groups: Sequence[str]) -> list[str]:
    """As they stand in a row: dimensions, measures with the cost before what has none, units."""
    return [*groups, *COUNTS[:-1], "cost_usd", COUNTS[-1], "units"]


def row_of(row: UsageRow, groups: Sequence[str], naming: Naming) -> dict[str, Any]:
    """A row as JSON has it: money as an exact decimal string, unknown as null."""
    values: dict[str, Any] = {name: naming.value(name, raw) for name, raw in zip(groups, row.key, strict=True)}
    values |= {name: getattr(row, name) for name in COUNTS}
    values |= {"cost_usd": None if row.cost_nanousd is None else exact_usd(row.cost_nanousd), "units": row.units}
    return {name: values[name] for name in columns_of(groups)}


def json_parts(rows: Iterable[UsageRow], groups: Sequence[str], naming: Naming) -> Iterator[bytes]:
    """A collection with no next page."""
    yield b'{"results":['
    comma = b""
    for some in _some(rows, ROWS_OF_PART):
        yield comma + b",".join(msgspec.json.encode(row_of(row, groups, naming)) for row in some)
        comma = b","
    yield b'],"next":null}'


def csv_parts(rows: Iterable[UsageRow], groups: Sequence[str], naming: Naming) -> Iterator[bytes]:
    """With a line of names."""
    names = columns_of(groups)
    yield _lines([names])
    for some in _some(rows, ROWS_OF_PART):
        found = (row_of(row, groups, naming) for row in some)
        yield _lines([_cell(name, row[name], groups) for name in names] for row in found)


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(name: str, value: Any, groups: Sequence[str]) -> Any:
    """A name that a spreadsheet would run as a formula gets a quote before it: users choose their own ids."""
    if name == "units":
        return msgspec.json.encode(value).decode() if value else ""
    if isinstance(value, datetime):
        return value.isoformat()
    return f"'{value}" if name in groups and isinstance(value, str) and value[:1] in FORMULA else value


def parquet_parts(rows: Iterable[UsageRow], groups: Sequence[str], naming: Naming) -> Iterator[bytes]:
    """Money as decimal128(38, 9), days as dates, hours as moments, units as a map."""
    # Imported here: it takes 37 MB, which a web process that exports none does without.
    import pyarrow
    from pyarrow import parquet

    types = {
        **{name: pyarrow.string() for name in groups},
        **{name: pyarrow.int64() for name in COUNTS},
        "cost_usd": pyarrow.decimal128(38, NANOUSD_DIGITS),
        "units": pyarrow.map_(pyarrow.string(), pyarrow.int64()),
    }
    known = {"day": pyarrow.date32(), "hour": pyarrow.timestamp("us", tz=str(naming.zone))}
    types |= {name: kind for name, kind in known.items() if name in types}
    schema = pyarrow.schema([(name, types[name]) for name in columns_of(groups)])
    sink = _Sink()
    with parquet.ParquetWriter(pyarrow.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for some in _some(rows, ROWS_OF_GROUP):
            found = [_typed(row_of(row, groups, naming)) for row in some]
            writer.write_table(pyarrow.Table.from_pylist(found, schema=schema))
            yield sink.taken()
    yield sink.taken()


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    cost = row["cost_usd"]
    return {**row, "cost_usd": None if cost is None else Decimal(cost), "units": list(row["units"].items())}


class _Sink(io.RawIOBase):
    """What is written, until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._size += len(part)
        return len(part)

    def taken(self) -> bytes:
        found = b"".join(self._parts)
        self._parts.clear()
        return found


def _some(rows: Iterable[UsageRow], size: int) -> Iterator[list[UsageRow]]:
    found = iter(rows)
    while some := list(islice(found, size)):
        yield some
