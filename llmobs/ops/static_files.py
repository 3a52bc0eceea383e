"""Static files, collected under names that tell their content. It takes seconds, so only when they have changed."""

import hashlib
from pathlib import Path

from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

from llmobs.core.env import Place


def collect(place: Place) -> bool:
    """Collect into the data folder unless it holds just these files already; True if it was done."""
    mark = place.folder / "static.sha256"
    wanted = fingerprint()
    if mark.exists() and mark.read_text() == wanted:
        return False
    mark.unlink(missing_ok=True)
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    mark.write_text(wanted)
    return True


def fingerprint() -> str:
    """Names, sizes and times of all static files of all apps."""
    digest = hashlib.sha256()
    found: list[tuple[str, int, int]] = []
    for finder in get_finders():
        for path, storage in finder.list([]):
            status = Path(storage.path(path)).stat()
            found.append((path, status.st_size, status.st_mtime_ns))
    for line in sorted(found):
        digest.update(repr(line).encode())
    return digest.hexdigest()
