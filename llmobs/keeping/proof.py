"""The proof of an erasure: what was found and removed, when, and who asked, signed so that nobody can change it.

It does not name the person: it holds a keyed fingerprint of their id, by which we can show that a proof is about them.
The signature is Ed25519 under a key derived from the installation's secret; whoever keeps the public key can check it.
"""

import base64
import hmac
import json
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def fingerprint(secret_key: str, tenant_id: int, user_id: str) -> str:
    """Of the person, under the installation's key: told by who holds it, guessed by nobody else."""
    return hmac.new(secret_key.encode(), f"erasure {tenant_id} {user_id}".encode(), sha256).hexdigest()


def sign(proof: dict[str, Any], secret_key: str) -> str:
    """The signature over the proof's canonical bytes, base64."""
    return base64.b64encode(_private(secret_key).sign(canonical(proof))).decode()


def public_key(secret_key: str) -> str:
    """By which proofs are checked, base64."""
    return base64.b64encode(_private(secret_key).public_key().public_bytes_raw()).decode()


def is_genuine(proof: dict[str, Any], signature: str, key: str) -> bool:
    """Whether these very words were signed by the key's owner."""
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(key)).verify(base64.b64decode(signature), canonical(proof))
    except (InvalidSignature, ValueError):
        return False
    return True


def canonical(proof: dict[str, Any]) -> bytes:
    """The same bytes for the same proof: sorted names, no blanks, UTF-8."""
    return json.dumps(proof, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _private(secret_key: str) -> Ed25519PrivateKey:
    seed = HKDF(SHA256(), 32, None, b"llmobs proof of erasure").derive(secret_key.encode())
    return Ed25519PrivateKey.from_private_bytes(seed)
