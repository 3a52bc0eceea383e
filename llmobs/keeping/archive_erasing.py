"""A person out of archived files: a file that names them is written anew with the same rows and sums.

The new file is checked like any other before it takes the old one's place; killed anywhere, the next run goes on.
"""

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llmobs.ingest.content import NONE, Door
from llmobs.keeping.archive import LEVEL, file_sums, synced
from llmobs.keeping.horizons import CONTENT
from llmobs.keeping.manifest import ERASING, ArchiveError, FileEntry, days, exchange, settle
from llmobs.keeping.person import Person
from llmobs.spans.record import Span

Key = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A file in which the person was found."""

    file: str
    rows: int
    sha256_before: str
    sha256: str


@dataclass(slots=True)
class Theirs:
    """What of a day is the person's: spans of theirs and those without a user in their traces; their sessions."""

    keys: set[Key] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)


def erase_archives(archive: Path, slug: str, person: Person) -> list[Rewritten]:
    """Every file of the tenant. Raises ArchiveError."""
    return [done for day, folder in days(archive, slug) for done in erase_folder(folder, slug, day, person)]


def erase_folder(folder: Path, slug: str, day: date, person: Person) -> list[Rewritten]:
    """One day's files. Raises ArchiveError, OSError."""
    entries = settle(folder, slug, day)
    theirs = _theirs(folder, entries, person)
    return [done for entry in entries if (done := _rewrite(folder, (slug, day), entry, person, theirs)) is not None]


def user_ids(folder: Path, entries: list[FileEntry]) -> set[str]:
    """Whom a day's files name."""
    found: set[str] = set()
    for entry in entries:
        if entry.kind != CONTENT and (folder / entry.file).exists():
            found |= set(
                pq.read_table(folder / entry.file, columns=["user_id"], partitioning=None)["user_id"].to_pylist()
            )
    return found - {"", None}


def _theirs(folder: Path, entries: list[FileEntry], person: Person) -> Theirs:
    columns = ["trace_id", "span_id", "user_id", "session_id"]
    rows: list[tuple[bytes, bytes, str, str]] = []
    for entry in entries:
        if entry.kind == "spans" and (folder / entry.file).exists():
            table = pq.read_table(folder / entry.file, columns=columns, partitioning=None)
            rows += list(zip(*(table[name].to_pylist() for name in columns), strict=True))
    own = [row for row in rows if row[2] in person.names]
    traces = {row[0] for row in own}
    keys = {row[:2] for row in own} | {row[:2] for row in rows if not row[2] and row[0] in traces}
    return Theirs(keys, {row[3] for row in own})


def _rewrite(
    folder: Path, whose: tuple[str, date], entry: FileEntry, person: Person, theirs: Theirs
) -> Rewritten | None:
    path = folder / entry.file
    if not path.exists():  # its line was written, and then the run was killed: it is made again from the tables
        return None
    making = folder / f".{entry.file}{ERASING}"
    changed_rows = 0
    with (
        synced(making) as out,
        pq.ParquetFile(path) as file,
        pq.ParquetWriter(out, file.schema_arrow, compression="zstd", compression_level=LEVEL) as writer,
    ):
        for batch in file.iter_batches(5000):
            rows = batch.to_pylist()
            erased = [_erased(entry.kind, row, person, theirs) for row in rows]
            changed_rows += sum(new != old for new, old in zip(erased, rows, strict=True))
            writer.write_batch(pa.RecordBatch.from_pylist(erased, schema=file.schema_arrow))
    if not changed_rows:
        making.unlink()
        return None
    if file_sums(making) != entry.sums:
        making.unlink()
        raise ArchiveError(f"{path} could not be written anew with the same sums")
    new = exchange(folder, *whose, entry, making)
    return Rewritten(str(path.relative_to(folder.parent.parent)), changed_rows, entry.sha256, new.sha256)


def _erased(kind: str, row: dict[str, Any], person: Person, theirs: Theirs) -> dict[str, Any]:
    if kind == CONTENT:
        if (row["trace_id"], row["span_id"]) in theirs.keys:
            return {**row, "input": None, "output": None}
        return (
            {**row, **{name: person.rename_content(row[name]) for name in ("input", "output")}}
            if person.is_telling
            else row
        )
    is_theirs = row["user_id"] in person.names if kind == "traces" else (row["trace_id"], row["span_id"]) in theirs.keys
    if is_theirs or person.is_telling:
        row = {**row, **_renamed(row, person)}
    elif row["session_id"] in theirs.sessions:
        row = {**row, "session_id": person.rename(row["session_id"])}
    if not is_theirs:
        return row
    user_id = person.pseudonym if row["user_id"] == person.user_id else row["user_id"]
    return {**(_without_content(row, person) if kind == "spans" else row), "user_id": user_id}


def _renamed(row: dict[str, Any], person: Person) -> dict[str, Any]:
    """Texts in which the id may stand."""
    texts = row.keys() & {"session_id", "name", "status_message", "preview"}
    new: dict[str, Any] = {name: person.rename(row[name]) for name in texts if isinstance(row[name], str)}
    if person.escaped in (row.get("attributes") or ""):
        new["attributes"] = json.dumps(person.rename_json(json.loads(row["attributes"])), ensure_ascii=False)
    return new


def _without_content(row: dict[str, Any], person: Person) -> dict[str, Any]:
    span = Span(person.tenant_id, row["trace_id"], row["span_id"], None, 0, 0, "", 0)
    span.status, span.status_message = row["status"], row["status_message"]
    span.attributes = json.loads(row["attributes"])
    Door({person.tenant_id: NONE}, b"").apply(span)
    attributes = json.dumps(person.rename_json(span.attributes), ensure_ascii=False)
    return {**row, "preview": "", "status_message": span.status_message, "attributes": attributes}
