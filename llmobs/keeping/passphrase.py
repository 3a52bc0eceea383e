"""Secrets sealed by a passphrase, for what leaves the machine: scrypt, then AES-GCM."""

import base64
import os
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_SALT_BYTES, _NONCE_BYTES = 16, 12
_N, _R, _P = 2**15, 8, 1  # 32 MB and a tenth of a second for each guess
LEAST_CHARACTERS = 12


class PassphraseWrong(Exception):
    """The passphrase is not the one that it was sealed by, or the file was changed."""


def seal(plain: bytes, passphrase: str) -> dict[str, Any]:
    """As it stands in a JSON file."""
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    sealed = AESGCM(_key(passphrase, salt)).encrypt(nonce, plain, None)
    return {"scrypt": [_N, _R, _P], "salt": _text(salt), "nonce": _text(nonce), "sealed": _text(sealed)}


def unseal(body: dict[str, Any], passphrase: str) -> bytes:
    """What was sealed; raises PassphraseWrong."""
    salt, nonce, sealed = (base64.b64decode(body[name]) for name in ("salt", "nonce", "sealed"))
    try:
        return AESGCM(_key(passphrase, salt)).decrypt(nonce, sealed, None)
    except InvalidTag:
        raise PassphraseWrong("the passphrase is not the one that the secrets were sealed by") from None


def fingerprint(secret: bytes) -> str:
    """By which two secrets are compared without being told."""
    return sha256(b"llmobs backup " + secret).hexdigest()[:16]


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_N, r=_R, p=_P).derive(passphrase.encode())


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
