"""Marks of secrets: by which hosts can tell that they have the same ones, and nobody anything else.

A mark is the beginning of a keyed hash under a label of its own; secrets have 256 random bits, so nothing is guessed.
"""

import hmac
from collections.abc import Iterable
from hashlib import sha256
from typing import Protocol

DIGITS = 16

SECRET_KEY, JOURNAL_KEY, ENCRYPTION_KEYS = "LLMOBS_SECRET_KEY", "LLMOBS_JOURNAL_KEY", "LLMOBS_ENCRYPTION_KEYS"


class SecretsLike(Protocol):
    """What hosts of one platform share (`core.env.Secrets`)."""

    @property
    def secret_key(self) -> str: ...

    @property
    def journal_key(self) -> bytes: ...

    @property
    def encryption_keys(self) -> tuple[str, ...]: ...


def marks(secrets: SecretsLike) -> str:
    """The marks of a host's secrets, as its writer's heartbeat says them."""
    encryption = ",".join(_mark(key.encode()) for key in secrets.encryption_keys)
    return f"{_mark(secrets.secret_key.encode())}:{_mark(secrets.journal_key)}:{encryption}"


def differing(ours: str, theirs: str) -> list[str]:
    """The variables whose secrets differ; encryption keys may be rotated host by host, as long as one is shared."""
    if not theirs:  # of a version that said nothing
        return []
    mine, others = ours.split(":"), theirs.split(":")
    found = [name for name, a, b in zip((SECRET_KEY, JOURNAL_KEY), mine, others, strict=False) if a != b]
    return found if _share(mine[2], others[2]) else [*found, ENCRYPTION_KEYS]


def differing_from_any(ours: str, others: Iterable[str]) -> list[str]:
    """The variables whose secrets differ from those of at least one other host."""
    return sorted({name for theirs in others for name in differing(ours, theirs)})


def _share(mine: str, others: str) -> bool:
    return bool(set(mine.split(",")) & set(others.split(",")))


def _mark(secret: bytes) -> str:
    return hmac.new(secret, b"llmobs: the same secret on every host", sha256).hexdigest()[:DIGITS]
