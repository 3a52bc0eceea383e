"""Which account a report belongs to: the one that is named, made at its first report."""

from typing import Any

import psycopg

from llmobs.reconcile.rows import ReportError

KINDS = ("openai", "anthropic")


def account_named(conn: "psycopg.Connection[Any]", name: str) -> int:
    """The account of this name, or that draws for a provider of this name.

    Made where there is none and it is plain whose reports it gets: by its own name, or the provider's dialect. Raises
    ReportError.
    """
    known = conn.execute("SELECT id FROM reconcile_account WHERE name = %s", (name,)).fetchone()
    known = (
        known
        or conn.execute(
            "SELECT id FROM reconcile_account WHERE providers @> to_jsonb(%s::text) ORDER BY id LIMIT 1", (name,)
        ).fetchone()
    )
    if known:
        return int(known[0])
    dialect = conn.execute("SELECT dialect FROM providers_provider WHERE name = %s", (name,)).fetchone()
    kind = str(dialect[0]) if dialect else name
    if kind not in KINDS:
        raise ReportError(f"There is no account {name[:100]!r}, nor a provider of that name; make one in the admin.")
    conn.execute(
        "INSERT INTO reconcile_account (name, kind, providers, keys, aliases, credential, base_url, is_enabled, "
        "failures, fetch_error, created_at) VALUES (%s, %s, '[]', '{}', '{}', '', '', true, 0, '', now()) "
        "ON CONFLICT (name) DO NOTHING",
        (name, kind),
    )
    return account_named(conn, name)
