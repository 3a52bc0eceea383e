"""A person out of archived files: a file that names them is written anew with the same rows and sums.

The new file is checked like any other before it takes the old one's place, and the manifest with it.
"""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from llmobs.ingest.content import NONE, Door
from llmobs.keeping.archive import LEVEL, file_sums
from llmobs.keeping.horizons import CONTENT
from llmobs.keeping.manifest import ArchiveError, FileEntry, changed, days, keep, read
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


def erase_archives(archive: Path, slug: str, person: Person) -> list[Rewritten]:
    """Every file of the tenant. Raises ArchiveError."""
    found = []
    for day, folder in days(archive, slug):
        entries = read(folder)
        keys = _keys(folder, entries, person)
        for entry in entries:
            if (done := _rewrite(folder, (slug, day), entry, person, keys)) is not None:
                found.append(done)
    return found


def _keys(folder: Path, entries: list[FileEntry], person: Person) -> set[Key]:
    """Spans of the person, and those without a user in the person's traces."""
    rows = []
    for entry in entries:
        if entry.kind == "spans":
            table = pq.read_table(folder / entry.file, columns=["trace_id", "span_id", "user_id"], partitioning=None)
            rows += list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    traces = {trace_id for trace_id, _, user_id in rows if user_id == person.user_id}
    return {
        (trace_id, span_id)
        for trace_id, span_id, user_id in rows
        if user_id == person.user_id or (not user_id and trace_id in traces)
    }


def _rewrite(
    folder: Path, whose: tuple[str, date], entry: FileEntry, person: Person, keys: set[Key]
) -> Rewritten | None:
    path = folder / entry.file
    making = folder / f".{entry.file}.erasing"
    changed_rows = 0
    with (
        pq.ParquetFile(path) as file,
        pq.ParquetWriter(making, file.schema_arrow, compression="zstd", compression_level=LEVEL) as writer,
    ):
        for batch in file.iter_batches(5000):
            rows = batch.to_pylist()
            erased = [_erased(entry.kind, row, person, keys) for row in rows]
            changed_rows += sum(new != old for new, old in zip(erased, rows, strict=True))
            writer.write_batch(pa.RecordBatch.from_pylist(erased, schema=file.schema_arrow))
    making.chmod(0o600)
    if not changed_rows:
        making.unlink()
        return None
    if file_sums(making) != entry.sums:
        making.unlink()
        raise ArchiveError(f"{path} could not be written anew with the same sums")
    # Killed between these two lines the file is not what its manifest says, and the next run writes both again.
    making.replace(path)
    new = changed(folder, entry)
    keep(folder, *whose, new)
    return Rewritten(str(path.relative_to(folder.parent.parent)), changed_rows, entry.sha256, new.sha256)


def _erased(kind: str, row: dict[str, Any], person: Person, keys: set[Key]) -> dict[str, Any]:
    if kind == CONTENT:
        is_theirs = (row["trace_id"], row["span_id"]) in keys
        return {**row, "input": None, "output": None} if is_theirs else row
    if kind == "traces":
        if row["user_id"] != person.user_id:
            return row
    elif (row["trace_id"], row["span_id"]) not in keys:
        return row
    renamed = {
        name: person.rename(row[name]) if isinstance(row[name], str) else row[name]
        for name in row.keys() & {"session_id", "name", "status_message"}
    }
    user_id = person.pseudonym if row["user_id"] == person.user_id else row["user_id"]
    row = {**row, **renamed, "user_id": user_id}
    return _without_content(row, person) if kind == "spans" else row


def _without_content(row: dict[str, Any], person: Person) -> dict[str, Any]:
    span = Span(person.tenant_id, row["trace_id"], row["span_id"], None, 0, 0, "", 0)
    span.status, span.status_message = row["status"], row["status_message"]
    span.attributes = json.loads(row["attributes"])
    Door({person.tenant_id: NONE}, b"").apply(span)
    attributes = json.dumps(person.rename_json(span.attributes), ensure_ascii=False)
    return {**row, "preview": "", "status_message": span.status_message, "attributes": attributes}
