"""Gives keys their secrets and takes keys back, with the entry in the audit trail."""

from django.utils import timezone

from llmobs.tenants import audit
from llmobs.tenants.keys import new_secret, prefix_of, secret_hash
from llmobs.tenants.models import Key


def give_secret(key: Key) -> str:
    """Give a key (to be saved yet) a new secret, and return it."""
    secret = new_secret()
    key.prefix, key.secret_hash = prefix_of(secret), secret_hash(secret)
    return secret


def rotate(key: Key, actor: str) -> str:
    """Give a key another secret; the old one is refused within a second. Returns the new one, to be shown once."""
    secret = give_secret(key)
    audit.save(key, actor, "rotate")
    return secret


def revoke(key: Key, actor: str) -> None:
    """Refuse the key's calls from now on. The row stays: its spans and bills name it."""
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        audit.save(key, actor, "revoke")
