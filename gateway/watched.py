"""Files that the configuration names: a stamp of each says when it is to be read again."""

from pathlib import Path

Stamp = tuple[int, int, int] | None


def stamp(path: str) -> Stamp:
    """What changes when a file's content does, or the file behind a link; None: there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
