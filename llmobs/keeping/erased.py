"""Who has been erased, by keyed fingerprint: a line for each in the data folder and beside the archives.

A backup or an archived file of before holds the person again, and a backup's own table of erasures knows nothing of
the later ones. So the list is kept outside of the tables: what is brought back is looked through for people whose
fingerprint is in it, and they are erased again. It holds no id; whoever has the installation's key and an id in hand
can tell whether it is in it, nobody else can.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg

from llmobs.keeping import passphrase
from llmobs.keeping.archive_erasing import Rewritten, erase_folder, user_ids
from llmobs.keeping.manifest import settle
from llmobs.keeping.person import Person, new_pseudonym
from llmobs.keeping.proof import fingerprint

FILE = "erased.jsonl"

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Erased:
    """A person who was erased. `key`: of which key the fingerprint is."""

    tenant: str  # its slug
    fingerprint: str
    at: str  # ISO 8601
    key: str


def key_name(secret_key: str) -> str:
    return passphrase.fingerprint(secret_key.encode())[:16]


def remember(folders: Iterable[Path], people: Iterable[Erased]) -> None:
    """Add them to the lists of these folders, those that are there already left out. Raises OSError."""
    for folder in folders:
        known = set(read([folder / FILE]))
        lines = "".join(json.dumps(asdict(each)) + "\n" for each in people if each not in known)
        if lines:
            descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())


def read(files: Iterable[Path]) -> list[Erased]:
    """All that these files name, each once; a line that a kill cut off is left out."""
    found: dict[Erased, None] = {}
    for file in files:
        for line in file.read_text().splitlines() if file.exists() else ():
            try:
                found[Erased(**json.loads(line))] = None
            except (ValueError, TypeError):
                continue
    return list(found)


def of_tables(conn: Connection, secret_key: str) -> list[Erased]:
    """Whom the database's own erasures name."""
    if conn.execute("SELECT to_regclass('erasure')").fetchone() == (None,):
        return []
    rows = conn.execute(
        "SELECT t.slug, e.fingerprint, e.finished_at FROM erasure e JOIN tenants_tenant t ON t.id = e.tenant_id "
        "WHERE e.finished_at IS NOT NULL ORDER BY e.id"
    ).fetchall()
    return [Erased(slug, print_, at.isoformat(), key_name(secret_key)) for slug, print_, at in rows]


def since(people: Iterable[Erased], known: Iterable[Erased]) -> list[Erased]:
    """Those whom the tables do not know to be erased, or not as late as they were; of each person the last time."""
    done: dict[tuple[str, str], datetime] = {}
    for each in known:
        whose = (each.tenant, each.fingerprint)
        done[whose] = max(datetime.fromisoformat(each.at), done.get(whose, datetime.fromisoformat(each.at)))
    last: dict[tuple[str, str], Erased] = {}
    for each in sorted(people, key=lambda each: datetime.fromisoformat(each.at)):
        if (before := done.get((each.tenant, each.fingerprint))) is None or before < datetime.fromisoformat(each.at):
            last[each.tenant, each.fingerprint] = each
    return list(last.values())


_IDS = (
    "SELECT DISTINCT user_id FROM span WHERE tenant_id = %(tenant)s",
    "SELECT DISTINCT user_id FROM trace WHERE tenant_id = %(tenant)s",
    "SELECT DISTINCT user_id FROM bill WHERE tenant_id = %(tenant)s",
    "SELECT DISTINCT user_id FROM rollup_user_day WHERE tenant_id = %(tenant)s",
    "SELECT DISTINCT user_id FROM braked_session WHERE tenant_id = %(tenant)s",
    "SELECT DISTINCT unnest(users) FROM raw_body WHERE tenant_id = %(tenant)s",
)


def find(conn: Connection, secret_key: str, tenant_id: int, prints: set[str]) -> dict[str, str]:
    """Ids that the tenant's tables hold and whose fingerprint is one of these, by the fingerprint."""
    ids = {str(row[0]) for query in _IDS for row in conn.execute(query, {"tenant": tenant_id})} - {""}
    return _matching(ids, secret_key, tenant_id, prints)


def clean_folder(folder: Path, whose: tuple[int, str, date], secret_key: str, prints: set[str]) -> list[Rewritten]:
    """An archived day without those who were erased since it was copied. Raises ArchiveError, OSError."""
    tenant_id, slug, day = whose
    ids = user_ids(folder, settle(folder, slug, day))
    done: list[Rewritten] = []
    for user_id in _matching(ids, secret_key, tenant_id, prints).values():
        done += erase_folder(folder, slug, day, Person(tenant_id, user_id, new_pseudonym()))
    return done


def _matching(ids: Iterable[str], secret_key: str, tenant_id: int, prints: set[str]) -> dict[str, str]:
    found = {fingerprint(secret_key, tenant_id, user_id): user_id for user_id in sorted(ids)}
    return {print_: user_id for print_, user_id in found.items() if print_ in prints}
