"""What stands where bytes stood: `media:image/png;bytes=5120;sha256=…`. Standard library only: the gateway loads it."""

import binascii
from base64 import b64decode
from hashlib import sha256

UNKNOWN = "application/octet-stream"

_BEGINNINGS = (
    (b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"), (b"%PDF", "application/pdf"),
    (b"ID3", "audio/mpeg"), (b"OggS", "audio/ogg"), (b"fLaC", "audio/flac"),
)  # fmt: skip
_FORMS_OF_RIFF = {b"WAVE": "audio/wav", b"WEBP": "image/webp"}


def reference(body: bytes, media_type: str = "") -> str:
    """A reference to bytes, by what they are where nobody says it."""
    return f"media:{media_type or type_of(body) or UNKNOWN};bytes={len(body)};sha256={sha256(body).hexdigest()}"


def type_of(body: bytes) -> str:
    """The media type that the first bytes say, "" if they say none."""
    if body[:4] == b"RIFF":
        return _FORMS_OF_RIFF.get(body[8:12], "")
    return next((name for beginning, name in _BEGINNINGS if body.startswith(beginning)), "")


def decoded(encoded: str) -> bytes:
    """The bytes of base64, in either alphabet, with or without its padding."""
    plain = encoded.rstrip("=").replace("-", "+").replace("_", "/")
    if len(plain) % 4 == 1:  # one character alone says no byte
        plain = plain[:-1]
    try:
        return b64decode(plain + "=" * (-len(plain) % 4))
    except (binascii.Error, ValueError):
        return plain.encode()
