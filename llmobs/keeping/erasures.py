"""Asking for an erasure, and doing it: one way for the command, the REST API and the admin."""

import json
from datetime import UTC, datetime
from typing import Any

import redis
import structlog
from django.conf import settings
from django.db import transaction
from redis.exceptions import RedisError

from llmobs.budgets import ledger, recovery
from llmobs.cache import status
from llmobs.core.env import Secrets
from llmobs.ingest.seal import Sealer
from llmobs.keeping import erased, proof
from llmobs.keeping.archive_erasing import Rewritten, erase_archives
from llmobs.keeping.connecting import alone, connect
from llmobs.keeping.erased import Erased
from llmobs.keeping.erasing import Connection, NotErased, await_journals, erase
from llmobs.keeping.erasing_bodies import erase_letters
from llmobs.keeping.models import Erasure
from llmobs.keeping.person import Person, new_pseudonym
from llmobs.keeping.place import archive_folder
from llmobs.providers.credentials import open_credential, seal
from llmobs.tenants import audit
from llmobs.tenants.models import Tenant

LEDGER_TABLES = ("budget_spend", "threshold_event")
MOST_USER_CHARACTERS = 300
RESTORE = "restore"  # who asks for those whom a backup brought back

log = structlog.get_logger()


def ask(tenant: Tenant, user_id: str, actor: str, secrets: Secrets | None = None) -> Erasure:
    """Write down what is to be done; the person's id is sealed until then, and never in the audit trail."""
    given = secrets or settings.SECRETS
    sealed = seal(json.dumps([user_id, new_pseudonym()]), given.encryption_keys)
    print_ = proof.fingerprint(given.secret_key, tenant.pk, user_id)
    with transaction.atomic():
        erasure = Erasure.objects.create(tenant=tenant, sealed=sealed, fingerprint=print_, asked_by=actor)
        audit.record(actor, "erase", erasure, {"person": [print_, None]})
    return erasure


def carry_out(erasure: Erasure, seconds: float = 60.0) -> Erasure:
    """Do it, or go on with it. Raises NotErased, ArchiveError, RedisError: the row says why, it can be tried again."""
    try:
        _carry_out(erasure, seconds)
    except Exception as error:
        told = str(error) if isinstance(error, NotErased) else f"{type(error).__name__}: {error}"
        Erasure.objects.filter(pk=erasure.pk).update(error=_without(erasure, told)[:400])
        raise
    return erasure


def person_of(erasure: Erasure, secrets: Secrets | None = None) -> Person:
    keys = (secrets or settings.SECRETS).encryption_keys
    user_id, pseudonym = json.loads(open_credential(erasure.sealed, keys))
    return Person(erasure.tenant_id, user_id, pseudonym)


def ask_again(conn: Connection, people: list[Erased], secrets: Secrets, may_come: bool) -> list[Erasure]:
    """Erase those whom a restored backup brought back, from the tables at once; workers do the rest, with proofs.

    `may_come`: journals wait to be written, so that also those may come back whom no table names yet.
    """
    asked = []
    for tenant in Tenant.objects.filter(slug__in={each.tenant for each in people}).order_by("pk"):
        prints = {each.fingerprint for each in people if each.tenant == tenant.slug}
        found = erased.find(conn, secrets.secret_key, tenant.pk, prints)
        for user_id in found.values():
            erasure = ask(tenant, user_id, RESTORE, secrets)
            _count(erasure, erase(conn, person_of(erasure, secrets)))
            asked.append(erasure)
        for print_ in sorted(prints - found.keys()) if may_come else ():
            asked.append(Erasure.objects.create(tenant=tenant, fingerprint=print_, asked_by=RESTORE))
    return asked


def _is_known(conn: Connection, erasure: Erasure) -> bool:
    """Whether the person is named by an id; one of whom only the fingerprint is kept is looked for in the tables."""
    if not erasure.sealed:
        found = erased.find(conn, settings.SECRETS.secret_key, erasure.tenant_id, {erasure.fingerprint})
        if not found:
            return False
        given = json.dumps([found[erasure.fingerprint], new_pseudonym()])
        erasure.sealed = seal(given, settings.SECRETS.encryption_keys)
        erasure.save(update_fields=["sealed"])
    return True


def _without(erasure: Erasure, told: str) -> str:
    return told.replace(person_of(erasure).user_id, "(the person)") if erasure.sealed else told


def _carry_out(erasure: Erasure, seconds: float) -> None:
    with connect() as conn:
        await_journals(conn, settings.PLACE, settings.SECRETS.journal_key, seconds)
        alone(conn)
        before = _billed(conn, erasure.tenant_id)
        files = _erase(conn, erasure) if _is_known(conn, erasure) else []
        after = _billed(conn, erasure.tenant_id)
    at = datetime.now(UTC)
    erasure.proof = {
        "erasure": erasure.pk,
        "tenant": erasure.tenant.slug,
        "person": erasure.fingerprint,
        "asked_by": erasure.asked_by,
        "asked_at": erasure.asked_at.isoformat(),
        "finished_at": at.isoformat(),
        "found_and_removed": erasure.found,
        "archive_files": [
            {"file": each.file, "rows": each.rows, "sha256_before": each.sha256_before, "sha256": each.sha256}
            for each in files
        ],
        "bills_before": before,
        "bills_after": after,
        "public_key": proof.public_key(settings.SECRETS.secret_key),
    }
    erasure.signature = proof.sign(erasure.proof, settings.SECRETS.secret_key)
    _remember(erasure, at)
    erasure.finished_at, erasure.sealed, erasure.error = at, "", ""
    with transaction.atomic():
        erasure.save()
        audit.record(erasure.asked_by, "erased", erasure, {"found": [erasure.found, None]})


def _erase(conn: Connection, erasure: Erasure) -> list[Rewritten]:
    person = person_of(erasure)
    _count(erasure, erase(conn, person))
    _count(erasure, {"dead_letter": erase_letters(conn, person, Sealer(settings.SECRETS.journal_key))})
    files = erase_archives(archive_folder(settings.PLACE), erasure.tenant.slug, person)
    _count(erasure, {"archive files": len(files)})
    _forget_in_valkey(erasure, person)
    return files


def _remember(erasure: Erasure, at: datetime) -> None:
    """In the lists outside of the tables, before it counts as done: what is restored later is erased again."""
    key = erased.key_name(settings.SECRETS.secret_key)
    line = Erased(erasure.tenant.slug, erasure.fingerprint, at.isoformat(), key)
    folders = [settings.PLACE.folder, archive_folder(settings.PLACE)]
    erased.remember([folder for folder in folders if folder.is_dir()], [line])


def _count(erasure: Erasure, more: dict[str, int]) -> None:
    """Counts are kept step by step, so that a run that goes on tells of all."""
    for name, count in more.items():
        if count:
            erasure.found[name] = erasure.found.get(name, 0) + count
    erasure.save(update_fields=["found"])


def _billed(conn: Connection, tenant_id: int) -> dict[str, Any]:
    row = conn.execute(
        "SELECT count(*), COALESCE(sum(cost_nanousd), 0)::bigint FROM bill WHERE tenant_id = %s", (tenant_id,)
    ).fetchone()
    assert row is not None
    return {"bills": row[0], "cost_nanousd": row[1]}


def _forget_in_valkey(erasure: Erasure, person: Person) -> None:
    """Cached answers of the tenant, counters that name the person; a ledger that did is rebuilt by the writer."""
    with redis.Redis.from_url(settings.VALKEY_URL, socket_timeout=10, socket_connect_timeout=2) as client:
        status.empty(client, person.tenant_id)
        names = _named_keys(client, person)
        if any(name.startswith(ledger.PREFIX.encode()) for name in names) or any(
            table in erasure.found for table in LEDGER_TABLES
        ):
            recovery.close(client)
            names = _named_keys(client, person)
        if names:
            client.unlink(*names)
            _count(erasure, {"valkey keys": len(names)})


def _named_keys(client: Any, person: Person) -> list[bytes]:
    """Keys of the tenant (they carry it as hash tag) in which the id stands: in the name, or in what it holds."""
    tag = f"{{{person.tenant_id}}}".encode()
    of_tenant = [name for name in client.scan_iter(count=1000) if tag in name]
    return [name for name in of_tenant if _names(person, name) or _names(person, *_held(client, name))]


def _names(person: Person, *texts: bytes) -> bool:
    given = [text.decode(errors="replace") for text in texts if person.user_id.encode() in text]
    return any(person.rename(text) != text for text in given)


def _held(client: Any, name: bytes) -> list[bytes]:
    """What a key holds, as far as it is text; cached answers are sealed, and forgotten as a whole."""
    kind = client.type(name)
    if kind == b"hash":
        return [part for pair in client.hgetall(name).items() for part in pair]
    if kind in (b"set", b"zset", b"list"):
        return _members(client, name, kind)
    return [client.get(name) or b""] if kind == b"string" else []


def _members(client: Any, name: bytes, kind: bytes) -> list[bytes]:
    if kind == b"set":
        return list(client.sscan_iter(name))
    return list(client.zrange(name, 0, -1) if kind == b"zset" else client.lrange(name, 0, -1))


def go_on() -> None:
    """Whatever was asked and is not done, one after the other; one that cannot be done now says why and waits."""
    for erasure in Erasure.objects.filter(finished_at=None).select_related("tenant").order_by("pk"):
        try:
            carry_out(erasure, seconds=20.0)
        except (NotErased, RedisError, OSError) as error:
            log.warning("erasure not now", erasure=erasure.pk, reason=type(error).__name__)
        except Exception:
            log.exception("erasure stopped", erasure=erasure.pk)
