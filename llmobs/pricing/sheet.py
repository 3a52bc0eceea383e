"""Prices as CSV, for a spreadsheet: one line for each, amounts as decimal text, nested rates as JSON.

What is written reads back as the same. Every mistake is told with its line and column. A cell that a spreadsheet would
take for a formula is written behind an apostrophe, which reading takes away.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from llmobs.pricing.quotes import RATES, QuoteError, read_quote, usd
from llmobs.pricing.units import UNIT_BY_COLUMN

NESTED = ("long_context", "tiers")
COLUMNS = (
    "tenant", "provider", "model", "effective_from", "effective_to", *RATES, *UNIT_BY_COLUMN, "max_output_tokens",
    *NESTED,
)  # fmt: skip
NEEDED = ("provider", "model", "effective_from")
MOST_LINES = 50_000
MOST_PROBLEMS = 50
MOST_CHARACTERS = {"provider": 100, "model": 200, "tenant": 63}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where. `line` counts from 1, the heads' line included."""

    line: int
    column: str
    message: str

    def __str__(self) -> str:
        return (
            f"line {self.line}, {self.column}: {self.message}" if self.column else f"line {self.line}: {self.message}"
        )


class SheetError(ValueError):
    """The sheet cannot be taken over; nothing of it was."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class Line:
    """One price. `values` are those of the rates' names, units, long_context and tiers."""

    number: int
    tenant: str  # its slug; "" for all
    provider: str
    model: str
    effective_from: datetime
    effective_to: datetime | None = None
    max_output_tokens: int | None = None
    values: dict[str, Any] = field(default_factory=dict)


def write(lines: Iterable[Line]) -> str:
    """The sheet of these prices."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in lines:
        writer.writerow(_guarded(cell) for cell in _cells(line))
    return out.getvalue()


def read(text: str) -> list[Line]:
    """The prices of a sheet. Raises SheetError, which names all mistakes (the first of them, if there are many)."""
    problems: list[Problem] = []
    lines: list[Line] = []
    seen: dict[tuple[str, str, str, datetime], int] = {}
    for number, cells in _rows(text):
        try:
            line = _line(number, cells)
        except _Wrong as wrong:
            problems.append(Problem(number, wrong.column, wrong.message))
            if len(problems) == MOST_PROBLEMS:
                break
            continue
        first = seen.setdefault((line.tenant, line.provider, line.model, line.effective_from), number)
        if first != number:
            problems.append(Problem(number, "effective_from", f"line {first} has this price already"))
        lines.append(line)
    if problems:
        raise SheetError(problems)
    return lines


class _Wrong(Exception):
    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column
        self.message = message


def _rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        heads = next(reader, [])
        unknown = [head for head in heads if head not in COLUMNS]
        lacking = [head for head in NEEDED if head not in heads]
        if unknown or lacking or len(set(heads)) != len(heads):
            said = f"unknown: {', '.join(unknown)[:200]}; " if unknown else ""
            said += f"missing: {', '.join(lacking)}; " if lacking else ""
            raise SheetError([Problem(1, "", f"the heads are wrong ({said}known are {', '.join(COLUMNS)})")])
        for count, row in enumerate(reader):
            if count >= MOST_LINES:
                raise SheetError(
                    [Problem(reader.line_num, "", f"more than {MOST_LINES} prices; cut the file in parts")]
                )
            if not any(row):
                continue
            if len(row) != len(heads):
                raise SheetError([Problem(reader.line_num, "", f"{len(row)} cells, but {len(heads)} heads")])
            yield reader.line_num, {head: cell.removeprefix("'") for head, cell in zip(heads, row, strict=True)}
    except csv.Error as error:
        raise SheetError([Problem(reader.line_num, "", f"no CSV: {error}")]) from None


def _line(number: int, cells: Mapping[str, str]) -> Line:
    texts = {name: _text(cells, name) for name in ("tenant", "provider", "model")}
    since = _time(cells, "effective_from")
    if since is None:
        raise _Wrong("effective_from", "a time is needed, like 2026-11-21T00:00:00Z")
    values: dict[str, Any] = {name: _usd(cells, name) for name in RATES}
    units = {name: str(amount) for name in UNIT_BY_COLUMN if (amount := _usd(cells, name)) is not None}
    values |= {"units": units, "long_context": _nested(cells, "long_context", []), "tiers": _nested(cells, "tiers", {})}
    try:
        read_quote(values)
    except QuoteError as error:
        column = error.where.split(".")[0].split("[")[0]
        said = error.message if error.where == column else str(error)
        raise _Wrong(column if column in COLUMNS else "", said) from None
    ends = _time(cells, "effective_to")
    if ends is not None and ends <= since:
        raise _Wrong("effective_to", "it ends before it begins")
    return Line(number, **texts, effective_from=since, effective_to=ends, max_output_tokens=_most(cells), values=values)


def _text(cells: Mapping[str, str], name: str) -> str:
    value = cells.get(name, "")
    if not value and name in NEEDED:
        raise _Wrong(name, "is needed")
    if len(value) > MOST_CHARACTERS[name] or not (value.isprintable() and value == value.strip()):
        raise _Wrong(name, f"at most {MOST_CHARACTERS[name]} printable characters, without spaces around them")
    return value


def _time(cells: Mapping[str, str], name: str) -> datetime | None:
    value = cells.get(name, "").strip()
    if not value:
        return None
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is None:
            raise _Wrong(name, f"{value[:40]!r} has no zone; write it like 2026-11-21T00:00:00Z")
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Wrong(name, f"{value[:40]!r} is no time; one is 2026-11-21T00:00:00Z") from None


def _usd(cells: Mapping[str, str], name: str) -> Decimal | None:
    value = cells.get(name, "").strip()
    if not value:
        return None
    try:
        return usd(value, name)
    except QuoteError as error:
        raise _Wrong(name, error.message) from None


def _most(cells: Mapping[str, str]) -> int | None:
    value = cells.get("max_output_tokens", "").strip()
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and 0 < int(value[:12]) <= 2**31 - 1 and len(value) < 12):
        raise _Wrong("max_output_tokens", f"{value[:40]!r} is no number of tokens")
    return int(value)


def _nested(cells: Mapping[str, str], name: str, empty: Any) -> Any:
    value = cells.get(name, "").strip()
    if not value:
        return empty
    try:
        found = json.loads(value)
        json.dumps(found, ensure_ascii=False).encode()  # lone surrogates, which nothing takes that stores or shows it
    except (ValueError, RecursionError) as error:
        raise _Wrong(name, f"no JSON: {error.args[0]}") from None
    return found


def _cells(line: Line) -> list[str]:
    values = line.values
    units = values.get("units") or {}
    found = {
        "tenant": line.tenant,
        "provider": line.provider,
        "model": line.model,
        "effective_from": _shown(line.effective_from),
        "effective_to": "" if line.effective_to is None else _shown(line.effective_to),
        "max_output_tokens": "" if line.max_output_tokens is None else str(line.max_output_tokens),
        **{name: amount_text(values.get(name)) for name in RATES},
        **{name: amount_text(units.get(name)) for name in UNIT_BY_COLUMN},
        **{name: json.dumps(values[name], sort_keys=True) if values.get(name) else "" for name in NESTED},
    }
    return [found[name] for name in COLUMNS]


def _shown(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def amount_text(value: object) -> str:
    """Plain decimal text: 0.15, 3, never 3E+0."""
    if value is None:
        return ""
    text = f"{Decimal(str(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
