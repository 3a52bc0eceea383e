"""What an archived day holds: each file with its counts, sums and digest, in `manifest.json` beside the files.

The manifest is first and last: it names a new file before the file has its name, and of a file that is replaced the
digest of what it becomes. Killed anywhere, a file is what its line says, or is not there and is written again.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

from llmobs.core.env import replace_file, sync_folder

NAME = "manifest.json"
VERSION = 1
MAKING, ERASING = ".making", ".erasing"  # ends of the names of files that are not finished


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
    becomes: str = ""  # SHA-256 of what is about to take its place; "": nothing is


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
    _write(folder, slug, day, [each for each in read(folder) if each.file != entry.file] + [entry])


def add(folder: Path, slug: str, day: date, entry: FileEntry, made: Path) -> None:
    """Give a file that was made and checked its name, its line first: a line without a file is written again."""
    keep(folder, slug, day, entry)
    move(made, folder / entry.file)


def exchange(folder: Path, slug: str, day: date, entry: FileEntry, made: Path) -> FileEntry:
    """Put a file with the same rows, made and checked, in the place of an entry's; answers its entry."""
    new = replace(entry, bytes=made.stat().st_size, sha256=digest(made), becomes="")
    keep(folder, slug, day, replace(entry, becomes=new.sha256))
    move(made, folder / entry.file)
    keep(folder, slug, day, new)
    return new


def settle(folder: Path, slug: str, day: date) -> list[FileEntry]:
    """Finish what a kill cut short, drop what it left half made; the day's entries. Raises ArchiveError."""
    for suffix in (MAKING, ERASING):
        for left in folder.glob(f".*{suffix}"):
            left.unlink()
    entries = [_settled(folder, entry) for entry in read(folder)]
    if entries != read(folder):
        _write(folder, slug, day, entries)
    return entries


def _settled(folder: Path, entry: FileEntry) -> FileEntry:
    path = folder / entry.file
    if entry.becomes and path.exists() and digest(path) == entry.becomes:
        return replace(entry, bytes=path.stat().st_size, sha256=entry.becomes, becomes="")
    return replace(entry, becomes="")


def is_sound(folder: Path, entry: FileEntry) -> bool:
    """Whether the file is what its line says, or what it was about to become."""
    path = folder / entry.file
    return path.exists() and digest(path) in {entry.sha256, entry.becomes}


def move(made: Path, path: Path) -> None:
    """A file under its name, also after a loss of power."""
    made.replace(path)
    sync_folder(path.parent)


def _write(folder: Path, slug: str, day: date, entries: list[FileEntry]) -> None:
    body: dict[str, Any] = {
        "version": VERSION, "tenant": slug, "day": str(day), "files": [asdict(each) for each in entries],
    }  # fmt: skip
    replace_file(folder / NAME, json.dumps(body, indent=1).encode() + b"\n")
    sync_folder(folder)


def entry_of(made: Path, name: str, kind: str, sums: Sums) -> FileEntry:
    """The entry of a file that is made and has not its name yet."""
    return FileEntry(name, kind, sums, made.stat().st_size, digest(made))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    found = sha256()
    with path.open("rb") as file:
        while block := file.read(1024 * 1024):
            found.update(block)
    return found.hexdigest()


def days(archive: Path, slug: str) -> Iterator[tuple[date, Path]]:
    """A tenant's archived days."""
    for folder in sorted((archive / f"tenant={slug}").glob("day=*")):
        yield date.fromisoformat(folder.name.removeprefix("day=")), folder
