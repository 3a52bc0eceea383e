"""Tables as Parquet has them: columns as the database knows them, money as exact decimals of USD."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import psycopg
import pyarrow as pa

# nano-USD are integers of up to 19 digits: as USD with nine decimals they stay exact.
USD = pa.decimal128(28, 9)
_EXACT = Context(prec=28)
_NANOUSD, _USD = "_nanousd", "_usd"

_TYPES = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "smallint": pa.int16(),
    "boolean": pa.bool_(),
    "bytea": pa.binary(),
    "text": pa.string(),
    "text[]": pa.list_(pa.string()),
    "bigint[]": pa.list_(pa.int64()),
    "jsonb": pa.string(),
    "date": pa.date32(),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
}

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, and of the file."""

    name: str
    type: str

    @property
    def is_money(self) -> bool:
        return self.name.endswith(_NANOUSD)

    @property
    def file_name(self) -> str:
        return self.name.removesuffix(_NANOUSD) + _USD if self.is_money else self.name

    @property
    def field(self) -> pa.Field:
        return pa.field(self.file_name, USD if self.is_money else _TYPES.get(self.type, pa.string()))

    def selected(self, table: str) -> str:
        """As it is read: what Parquet has no type for as text."""
        known = self.type in _TYPES and self.type != "jsonb"
        return f"{table}.{self.name}" if known else f"{table}.{self.name}::text"

    def array(self, values: Sequence[Any]) -> pa.Array:
        """Values as the database gave them, as the file has them."""
        if self.is_money:
            values = [None if each is None else usd(each) for each in values]
        return pa.array(values, self.field.type)

    def stored(self, value: Any) -> Any:
        """A value of the file as the database takes it."""
        return None if value is None else nanousd(value) if self.is_money else value


def usd(amount: int) -> Decimal:
    return Decimal(amount).scaleb(-9, _EXACT)


def nanousd(amount: Decimal) -> int:
    return int(amount.scaleb(9, _EXACT))


def columns_of(conn: Connection, table: str) -> list[Column]:
    """The table's columns in their order."""
    rows = conn.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (table,),
    ).fetchall()
    return [Column(str(name), str(kind)) for name, kind in rows]


def batch(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Rows as one batch of the file."""
    arrays = [column.array([row[at] for row in rows]) for at, column in enumerate(columns)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([column.field for column in columns]))
