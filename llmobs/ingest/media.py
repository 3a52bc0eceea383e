"""Images, sound and files within content, kept by reference: media type, size and SHA-256 in place of their base64.

`media:image/png;bytes=5120;sha256=…` stands where the bytes stood: as a data URL, as base64 beside its media type (in
every provider's form), or in a body that was cut, where only a size from which on it was is known. Embedding vectors
become their dimension. Every content passes on its way to the store, whatever way it came in; the gateway's hot path
does not.
"""

import binascii
import re
from base64 import b64decode
from hashlib import sha256
from typing import Any

import msgspec

from llmobs.guards.linear import finder
from llmobs.ingest import compiled
from llmobs.spans.record import Span

_compiled = compiled.loaded()

SHORTEST_BASE64 = 64  # characters; what is shorter is a word
LONGEST_TEXT_RUN = 512  # characters of base64's alphabet without a break: no text has as many
FEWEST_CHARACTERS = 24  # that many different ones are in any such run of real media
SHORTEST_VECTOR = 8  # numbers
LONG_TEXT = 20_000  # characters, from which on a text is looked through for base64 without a word about it

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,\s\"\\]*)*;base64,([A-Za-z0-9+/_-]*={0,2})")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}\Z")
_RUN = re.compile(rf"[A-Za-z0-9+/_-]{{{LONGEST_TEXT_RUN},}}={{0,2}}")
# A vector, also one whose end was cut off.
_NUMBERS = re.compile(rf"\[(?:\s*-?\d[\d.eE+-]*\s*,){{{SHORTEST_VECTOR - 1},}}\s*(?:-?[\d.eE+-]*\s*\]|-?[\d.eE+-]*\Z)")
_TYPE_KEYS = ("media_type", "mime_type", "mimeType", "mediaType", "contentType", "format")
_DATA_KEYS = frozenset({"data", "content", "bytes", "b64_json", "file_data", "image", "audio", "base64", "blob"})
_VECTOR_KEYS = frozenset({"embedding", "embeddings", "vector", "values"})
_SOUNDS = frozenset({"wav", "mp3", "flac", "opus", "pcm16", "aac", "ogg", "m4a"})
_BEGINNINGS = (
    (b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"), (b"%PDF", "application/pdf"),
    (b"ID3", "audio/mpeg"), (b"OggS", "audio/ogg"), (b"fLaC", "audio/flac"),
)  # fmt: skip
# Without one of these there is nothing to look for, which is most texts: a few hundred nanoseconds.
_SIGNS = (";base64,", '"data"', '"bytes"', '"b64_json"', '"file_data"', '"base64"', '"blob"', '"embedding', '"vector"')
_SOUGHT = finder(_SIGNS)


def refer(span: Span) -> None:
    """Change a span's content and attributes in place, so that no bytes of media are left in it."""
    if span.input is not None:
        span.input = referred_json(span.input)
    if span.output is not None:
        span.output = referred_json(span.output)
    if _compiled is not None and _compiled.values_hold_no_media(span.attributes, SHORTEST_BASE64):
        return
    for name, value in span.attributes.items():
        kind = type(value)
        if kind is str:
            if len(value) >= SHORTEST_BASE64 and ";base64," in value:
                span.attributes[name] = referred_text(value)
        elif kind is dict or kind is list:
            span.attributes[name] = referred(value)


def referred_json(text: str) -> str:
    """A JSON text (or any other) with references in place of media."""
    if len(text) < LONG_TEXT and not _may_hold(text):
        return text
    try:
        plain = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return referred_text(text)
    changed = referred(plain)
    return text if changed == plain else msgspec.json.encode(changed).decode()


def _may_hold(text: str) -> bool:
    # One search for all of them, in Rust, which takes no lone surrogates: a twentieth of the time.
    return _SOUGHT(text) if text.isascii() else any(sign in text for sign in _SIGNS)


def referred(value: Any) -> Any:
    """The same for plain Python: lists, objects and texts."""
    if isinstance(value, str):
        return referred_text(value)
    if isinstance(value, list):
        return [referred(item) for item in value]
    if isinstance(value, dict):
        return {key: _of_key(key, item, value) for key, item in value.items()}
    return value


def referred_text(text: str) -> str:
    """A text with references in place of its data URLs; in a long one, of whatever can only be base64."""
    if ";base64," in text:
        text = _DATA_URL.sub(lambda found: _reference(found[2], found[1] or "", found.end() == len(text)), text)
    if len(text) >= LONG_TEXT:
        text = _RUN.sub(lambda found: _of_run(found, len(text)), text)
    return text


def referred_body(text: str) -> str:
    """The same for a body that is no whole JSON (any more), lists of numbers too."""
    text = referred_text(text)
    text = _RUN.sub(lambda found: _of_run(found, len(text)), text)
    return _NUMBERS.sub(lambda found: f'{{"dimension":{found[0].count(",") + 1}}}', text)


def _of_run(found: re.Match[str], length: int) -> str:
    """Base64 uses its whole alphabet; a line of dashes or one long word does not."""
    run = found[0]
    return run if len(set(run[:LONGEST_TEXT_RUN])) < FEWEST_CHARACTERS else _reference(run, "", found.end() == length)


def _of_key(key: str, item: Any, whole: dict[str, Any]) -> Any:
    if key in _VECTOR_KEYS and (dimension := _dimension(item)):
        return {"dimension": dimension}
    if key in _DATA_KEYS and isinstance(item, str) and len(item) >= SHORTEST_BASE64 and _BASE64.match(item):
        told = next((str(whole[name]) for name in _TYPE_KEYS if whole.get(name)), "")
        if told or key == "b64_json" or _sniffed(item):
            return _reference(item, _full_type(told), False)
    return referred(item)


def _dimension(value: Any) -> int:
    """Of a vector, as numbers or as base64 of 32-bit floats; 0 for anything else."""
    if isinstance(value, list) and len(value) >= SHORTEST_VECTOR:
        return len(value) if all(type(each) in (int, float) for each in value) else 0
    if isinstance(value, str) and len(value) >= SHORTEST_BASE64 and _BASE64.match(value):
        return len(value.rstrip("=")) * 3 // 4 // 4
    return 0


def _full_type(told: str) -> str:
    """`wav`, as OpenAI names a sound's format, in full."""
    if not told or "/" in told:
        return told
    return f"{'audio' if told.lower() in _SOUNDS else 'image'}/{told.lower()}"


def _reference(encoded: str, media_type: str, may_be_cut: bool) -> str:
    body = _decoded(encoded)
    media_type = media_type or _sniffed(encoded) or "application/octet-stream"
    if may_be_cut and len(encoded) % 4:  # whole base64 has its padding
        return f"media:{media_type};bytes>={len(body)}"
    return f"media:{media_type};bytes={len(body)};sha256={sha256(body).hexdigest()}"


def _decoded(encoded: str) -> bytes:
    plain = encoded.rstrip("=").replace("-", "+").replace("_", "/")
    if len(plain) % 4 == 1:  # one character alone says no byte
        plain = plain[:-1]
    try:
        return b64decode(plain + "=" * (-len(plain) % 4))
    except (binascii.Error, ValueError):
        return plain.encode()


def _sniffed(encoded: str) -> str:
    """The media type that the first bytes say, "" if they say none."""
    head = _decoded(encoded[:32])
    if head[:4] == b"RIFF":
        return {b"WAVE": "audio/wav", b"WEBP": "image/webp"}.get(head[8:12], "")
    return next((name for beginning, name in _BEGINNINGS if head.startswith(beginning)), "")
