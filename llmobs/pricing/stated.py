"""What a provider says that its answer cost: kept beside ours, and counted instead where the operator trusts it."""

from typing import Any

import psycopg

_PREFIX = "stated by "


def stated_version(provider: str) -> str:
    """The price version of a cost that is the provider's own word."""
    return f"{_PREFIX}{provider}"


def is_stated(version: str) -> bool:
    """Whether no rates stand behind the version."""
    return version.startswith(_PREFIX)


def load(conn: psycopg.Connection[Any]) -> frozenset[str]:
    """The providers (as calls name them) whose own word counts."""
    return frozenset(name for (name,) in conn.execute("SELECT provider FROM pricing_trustedprovider").fetchall())
