"""Where archives lie, and how retention has days archived there."""

from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import structlog

from llmobs.core.env import Place, read_str
from llmobs.keeping.archive import Archive
from llmobs.keeping.horizons import Horizon
from llmobs.keeping.letting_go import Secure, is_archived
from llmobs.keeping.manifest import ArchiveError

VARIABLE = "LLMOBS_ARCHIVE"

log = structlog.get_logger()


def archive_folder(place: Place) -> Path:
    """The configured folder (it must be there), else `archive` in the data folder."""
    return Path(read_str(VARIABLE, str(place.folder / "archive"))).expanduser().absolute()


def open_archive(place: Place) -> Archive:
    """Raises ArchiveError where a configured folder is not there."""
    return Archive(archive_folder(place), is_ours=not read_str(VARIABLE))


def secure_in(place: Place) -> Secure:
    """How retention secures a day: archived and checked where the tenant archives; what fails is told, and waits."""

    def secure(conn: psycopg.Connection[Any], tenant: Horizon, day: date, kind: str) -> bool:
        if not is_archived(tenant, kind):
            return True
        try:
            open_archive(place).secure(conn, tenant, day, kind)
        except (ArchiveError, OSError) as error:
            log.error("not archived, so not let go", tenant=tenant.slug, day=str(day), kind=kind, error=str(error))
            return False
        return True

    return secure
