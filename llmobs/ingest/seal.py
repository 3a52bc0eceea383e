"""Sealing of what rests on disk or waits in a dead letter: AES-GCM, a nonce never used twice under the key.

A nonce is 8 random bytes, new for each `Sealer`, and a counter of 4: two sealers that draw the same 8 bytes are
not to be expected (2**32 sealers for an even chance), and a sealer refuses before its counter wraps.
"""

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
OVERHEAD_BYTES = NONCE_BYTES + 16  # nonce and tag

_MOST_SEALED = 2**32 - 1
_nonce = struct.Struct("<8sI")


class SealBroken(Exception):
    """The bytes were not sealed with this key, or were changed since."""


class Sealer:
    """Seals under one key. Not for several threads at once."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._prefix = os.urandom(8)
        self._sealed = 0

    def seal(self, plain: bytes | bytearray) -> bytes:
        """Nonce, ciphertext and tag."""
        nonce = self._new_nonce()
        return nonce + self._aead.encrypt(nonce, plain, None)

    def seal_into(self, plain: bytes | bytearray, room: memoryview) -> None:
        """As `seal`, into `room` of OVERHEAD_BYTES more than `plain` has: of what is long no copy is made."""
        room[:NONCE_BYTES] = nonce = self._new_nonce()
        self._aead.encrypt_into(nonce, plain, None, room[NONCE_BYTES:])

    def _new_nonce(self) -> bytes:
        if self._sealed >= _MOST_SEALED:
            self._prefix, self._sealed = os.urandom(8), 0
        self._sealed += 1
        return _nonce.pack(self._prefix, self._sealed)

    def unseal(self, sealed: bytes | memoryview) -> bytes:
        """What was sealed; raises SealBroken."""
        try:
            whole = memoryview(sealed)  # of which no copy is made: a body may be long
            return self._aead.decrypt(whole[:NONCE_BYTES], whole[NONCE_BYTES:], None)
        except (InvalidTag, ValueError):
            raise SealBroken("not sealed with this journal key, or damaged") from None
