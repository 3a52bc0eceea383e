"""What an archived day holds: each file with its counts, sums and digest, in `manifest.json` beside the files."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

from llmobs.core.env import replace_file

NAME = "manifest.json"
VERSION = 1


class ArchiveError(Exception):
    """An archive cannot be written, read or trusted; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What is counted in a day of a tenant, the same in the tables, the file and the manifest."""

    rows: int = 0
    cost_nanousd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a day."""

    file: str
    kind: str  # spans, traces, content
    sums: Sums
    bytes: int
    sha256: str


def day_folder(archive: Path, slug: str, day: date) -> Path:
    """Named as DuckDB, Spark and the like read partitions."""
    return archive / f"tenant={slug}" / f"day={day}"


def read(folder: Path) -> list[FileEntry]:
    """The day's entries; none where there is no manifest. Raises ArchiveError."""
    path = folder / NAME
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_bytes())
        if found["version"] != VERSION:
            raise ArchiveError(f"{path} is of version {found['version']}; this llmobs reads version {VERSION}")
        return [FileEntry(**{**entry, "sums": Sums(**entry["sums"])}) for entry in found["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"{path} cannot be read: {type(error).__name__}") from None


def keep(folder: Path, slug: str, day: date, entry: FileEntry) -> None:
    """Write an entry into the manifest, in place of one of the same file."""
    entries = [each for each in read(folder) if each.file != entry.file] + [entry]
    body: dict[str, Any] = {
        "version": VERSION, "tenant": slug, "day": str(day), "files": [asdict(each) for each in entries],
    }  # fmt: skip
    replace_file(folder / NAME, json.dumps(body, indent=1).encode() + b"\n")


def entry_of(path: Path, kind: str, sums: Sums) -> FileEntry:
    """The entry of a file that is on disk."""
    return FileEntry(path.name, kind, sums, path.stat().st_size, digest(path))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    found = sha256()
    with path.open("rb") as file:
        while block := file.read(1024 * 1024):
            found.update(block)
    return found.hexdigest()


def changed(folder: Path, entry: FileEntry) -> FileEntry:
    """The entry of a file that was rewritten with the same rows."""
    path = folder / entry.file
    return replace(entry, bytes=path.stat().st_size, sha256=digest(path))


def days(archive: Path, slug: str) -> Iterator[tuple[date, Path]]:
    """A tenant's archived days."""
    for folder in sorted((archive / f"tenant={slug}").glob("day=*")):
        yield date.fromisoformat(folder.name.removeprefix("day=")), folder
