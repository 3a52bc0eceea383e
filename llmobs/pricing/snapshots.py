"""Signed snapshots of prices: a dated file in genai-prices' form, with a detached Ed25519 signature.

1. Who publishes signs the file's bytes; the signature stands beside it (`FILE.sig`, base64).
2. `manage.py prices update FILE` checks it by the configured public key, shows what changes, and stores the file only
   when told to. Nothing is ever fetched.
3. A snapshot holds from its own date on, so each call is priced by the one of its time; older ones stay.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec
import psycopg
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from genai_prices.data_snapshot import DataSnapshot
from genai_prices.types import (
    _providers_from_raw,  # what the library's own update reads its file by; it has no public name, and the pin is exact
)

from llmobs.core.clock import ns_from_utc

MOST_BYTES = 64 * 1024 * 1024  # of a file: genai-prices' own are 3 MB
MOST_PARSED = 8  # snapshots kept in memory as data, a few MB each
MOST_NAME = 60


_READ = msgspec.json.Decoder(float_hook=Decimal).decode  # a price is what was written, no binary fraction near it


class SnapshotError(ValueError):
    """The file, its signature or the key is not what it should be; the message says what to do."""


class SnapshotInfo(msgspec.Struct, frozen=True, array_like=True):
    """A stored snapshot. `body`: the signed file, compressed."""

    name: str
    effective_from_ns: int
    body: bytes

    @property
    def source(self) -> str:
        """As it stands in the version of each of its prices."""
        return f"signed {self.name}"


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A snapshot file that was read, and is well-formed."""

    name: str
    effective_from: datetime
    data: DataSnapshot
    content: bytes

    @property
    def info(self) -> SnapshotInfo:
        return SnapshotInfo(self.name, ns_from_utc(self.effective_from), zstandard.compress(self.content))


class _File(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    effective_from: datetime
    providers: msgspec.Raw


def read_snapshot(content: bytes) -> SnapshotFile:
    """A file's bytes as a snapshot. Raises SnapshotError."""
    if len(content) > MOST_BYTES:
        raise SnapshotError(f"the file is larger than {MOST_BYTES} bytes")
    try:
        file = msgspec.json.decode(content, type=_File)
        data = _data(bytes(file.providers))
    except (msgspec.MsgspecError, ValueError) as error:
        raise SnapshotError(f"the file is no snapshot of prices: {str(error).splitlines()[0][:200]}") from None
    if not file.name or len(file.name) > MOST_NAME or not file.name.isprintable():
        raise SnapshotError(f"`name` has 1 to {MOST_NAME} printable characters")
    if file.effective_from.tzinfo is None:
        raise SnapshotError("`effective_from` has no zone; write it like 2026-11-21T00:00:00Z")
    return SnapshotFile(file.name, file.effective_from.astimezone(UTC), data, content)


def make_snapshot(name: str, effective_from: datetime, providers: bytes) -> bytes:
    """The bytes of a snapshot file, of genai-prices' JSON list of providers."""
    return msgspec.json.encode(_File(name, effective_from, msgspec.Raw(providers)))


def sign(content: bytes, private_key: Ed25519PrivateKey) -> bytes:
    """The detached signature, as `FILE.sig` holds it."""
    return base64.b64encode(private_key.sign(content)) + b"\n"


def check_signature(content: bytes, signature: bytes, public_key: Ed25519PublicKey) -> None:
    """Raises SnapshotError unless these very bytes were signed by the key's owner."""
    try:
        public_key.verify(base64.b64decode(signature.strip(), validate=True), content)
    except (InvalidSignature, binascii.Error):
        raise SnapshotError(
            "the signature is not of this file by the configured key: nothing is changed; "
            "get the file anew from who publishes it"
        ) from None


def public_key_of(text: str) -> Ed25519PublicKey:
    """A public key as the settings hold it: its 32 bytes in base64. Raises SnapshotError."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.strip(), validate=True))
    except (ValueError, binascii.Error):
        raise SnapshotError("the public key is not 32 bytes in base64, as `prices newkey` prints it") from None


def public_text(key: Ed25519PublicKey) -> str:
    """The key as the settings hold it."""
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def fingerprint(key: Ed25519PublicKey) -> str:
    """What tells keys apart on a page: the beginning of the key's digest."""
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def load(conn: psycopg.Connection[Any]) -> list[SnapshotInfo]:
    """All stored snapshots, oldest first."""
    rows = conn.execute("SELECT name, effective_from, body FROM price_snapshot ORDER BY effective_from").fetchall()
    return [SnapshotInfo(name, ns_from_utc(at), bytes(body)) for name, at, body in rows]


def content_of(body: bytes) -> bytes:
    """The signed file of a stored snapshot."""
    return zstandard.decompress(body, max_output_size=MOST_BYTES)


@lru_cache(maxsize=MOST_PARSED)
def data_of(body: bytes) -> DataSnapshot:
    """A stored snapshot's prices. (A second's work, and the same whatever the configuration's version.)"""
    file = msgspec.json.decode(content_of(body), type=_File)
    return _data(bytes(file.providers))


def _data(providers: bytes) -> DataSnapshot:
    listed = _READ(providers)
    if not isinstance(listed, list) or not listed:
        raise ValueError("`providers` is a list of at least one provider")
    return DataSnapshot(providers=_providers_from_raw(listed), from_auto_update=True)
