"""Reported bodies as they came, for as long as their tenant says: what a better adapter reads again (`ingest.remap`).

Only of tenants whose content policy is `full`: a body holds all that was sent, and no policy can be applied to it.
Fails closed: any other policy, or a tenant that is not known, keeps none. Written with the spans that they hold.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import psycopg
import zstandard

from llmobs.core.clock import ns_from_utc, utc_from_ns
from llmobs.ingest.entries import OtlpBody
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

LEVEL = 3  # at 9 it would be 3 % smaller, for four times the work
CHUNK_ROWS = 500
FULL = "full"

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class RawBody:
    """A body and what is needed to read it again as it was read then."""

    tenant_id: int
    body_id: int
    received_ns: int
    key_id: int
    defaults: tuple[str, str, str]  # of its key: service, environment, feature
    content_type: str
    users: tuple[str, ...]
    body: bytes  # compressed

    def entry(self) -> OtlpBody:
        """As the journal held it."""
        plain = zstandard.ZstdDecompressor().decompress(self.body, max_output_size=2**31 - 1)
        return OtlpBody(self.tenant_id, self.key_id, self.received_ns, self.content_type, plain)

    def key_attribution(self) -> Attribution:
        service, environment, feature = self.defaults
        return Attribution(service=service, environment=environment, feature=feature, key_id=self.key_id)


def raw_body(owner: str, position: int, entry: OtlpBody, key: Attribution, spans: Iterable[Span]) -> RawBody:
    """To be kept; the same entry has the same id, however often the writer comes by."""
    digest = sha256(f"{owner}:{position}".encode()).digest()
    return RawBody(
        tenant_id=entry.tenant_id,
        body_id=int.from_bytes(digest[:8], "big") >> 1,
        received_ns=entry.received_ns,
        key_id=entry.key_id,
        defaults=(key.service, key.environment, key.feature),
        content_type=entry.content_type,
        users=tuple(sorted({span.attribution.user_id for span in spans} - {""})),
        body=zstandard.ZstdCompressor(level=LEVEL).compress(entry.body),
    )


def keep(conn: Connection, bodies: Iterable[RawBody]) -> None:
    """Write them, each once. Commits nothing itself."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO raw_body (tenant_id, body_id, received_at, key_id, defaults, content_type, users, body) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [
                (b.tenant_id, b.body_id, utc_from_ns(b.received_ns), b.key_id, list(b.defaults), b.content_type,
                 list(b.users), b.body)
                for b in bodies
            ],
        )  # fmt: skip


def kept(conn: Connection, tenant_id: int, since: datetime, until: datetime) -> Iterator[RawBody]:
    """Bodies received from `since` to before `until`, in order; a few at a time."""
    after: tuple[datetime, int] = (since, -1)
    while True:
        rows = conn.execute(
            "SELECT received_at, body_id, key_id, defaults, content_type, users, body FROM raw_body "
            "WHERE tenant_id = %s AND (received_at, body_id) > (%s, %s) AND received_at < %s "
            "ORDER BY received_at, body_id LIMIT 20",
            (tenant_id, *after, until),
            binary=True,
        ).fetchall()
        for received_at, body_id, key_id, (service, environment, feature), content_type, users, body in rows:
            after = received_at, body_id
            defaults = (service, environment, feature)
            yield RawBody(
                tenant_id, body_id, ns_from_utc(received_at), key_id, defaults, content_type, tuple(users), bytes(body)
            )
        if not rows:
            return


def let_go(conn: Connection) -> int:
    """Delete what is past its tenant's days, or may not be kept any more; how many. `conn` is in autocommit."""
    deleted = 0
    while True:
        rows = conn.execute(
            "DELETE FROM raw_body r USING (SELECT b.tenant_id, b.body_id FROM raw_body b "
            "LEFT JOIN tenants_tenant t ON t.id = b.tenant_id WHERE t.id IS NULL OR t.content <> %s "
            "OR b.received_at < now() - t.raw_body_days * interval '1 day' LIMIT %s) o "
            "WHERE r.tenant_id = o.tenant_id AND r.body_id = o.body_id",
            (FULL, CHUNK_ROWS),
        ).rowcount
        deleted += rows
        if rows < CHUNK_ROWS:
            return deleted


def forget_user(conn: Connection, tenant_id: int, user_id: str) -> int:
    """Delete each body with a span of this user, whoever else is in it; how many. In the caller's transaction."""
    return conn.execute(
        "DELETE FROM raw_body WHERE tenant_id = %s AND users @> ARRAY[%s]", (tenant_id, user_id)
    ).rowcount


def forget(conn: Connection, tenant_id: int, body_ids: list[int]) -> int:
    """Delete these bodies; how many were there."""
    return conn.execute(
        "DELETE FROM raw_body WHERE tenant_id = %s AND body_id = ANY(%s)", (tenant_id, body_ids)
    ).rowcount
