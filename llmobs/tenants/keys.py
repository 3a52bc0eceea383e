"""Secrets of keys: made once, known afterwards by their SHA-256; and the short-lived tokens of our own worker.

A key's secret has 256 random bits, so a plain hash is enough: there is nothing to guess that a slow one would slow.
An internal token says "our own process calls as this key", is signed with a secret of the platform and lives for
minutes. So a judge can call with a key whose secret nobody keeps.
"""

import hmac
import secrets
from hashlib import sha256

from llmobs.core.clock import NS_PER_SECOND

PREFIX = "llmobs-"
INTERNAL_PREFIX = "llmobsint."
SHOWN_CHARACTERS = 14  # "llmobs-" and 7 of 43: enough to know a key by, far too few to guess the rest
INTERNAL_SECONDS = 600


def new_secret() -> str:
    """A new key's secret: 256 random bits in URL-safe text."""
    return PREFIX + secrets.token_urlsafe(32)


def secret_hash(secret: str) -> str:
    """What is stored and looked up: SHA-256, hex."""
    return sha256(secret.encode()).hexdigest()


def prefix_of(secret: str) -> str:
    """The beginning that people may see. Of a short secret of one's own, no more than a third."""
    return secret[: min(SHOWN_CHARACTERS, len(secret) // 3)]


def mint_internal(key_id: int, platform_secret: str, now_ns: int, seconds: int = INTERNAL_SECONDS) -> str:
    """A token by which a process of this platform calls the gateway as key `key_id`, for `seconds`."""
    expires_s = now_ns // NS_PER_SECOND + seconds
    claim = f"{key_id}.{expires_s}"
    return f"{INTERNAL_PREFIX}{claim}.{_signature(claim, platform_secret)}"


def check_internal(token: str, platform_secret: str, now_ns: int) -> int | None:
    """The key's id, or None: not a token of this platform, tampered with, or expired."""
    claim, _, signature = token.removeprefix(INTERNAL_PREFIX).rpartition(".")
    if not token.startswith(INTERNAL_PREFIX) or not token.isascii():
        return None
    if not hmac.compare_digest(signature, _signature(claim, platform_secret)):
        return None
    key_id, _, expires_s = claim.partition(".")
    return int(key_id) if now_ns // NS_PER_SECOND < int(expires_s) else None


def _signature(claim: str, platform_secret: str) -> str:
    # The label keeps these signatures apart from every other use of the same secret.
    return hmac.new(platform_secret.encode(), f"internal key:{claim}".encode(), sha256).hexdigest()
