"""Images, sound and files within content, kept by reference: media type, size and SHA-256 in place of their base64.

`media:image/png;bytes=5120;sha256=…` stands where the bytes stood: as a data URL, as base64 beside its media type (in
every provider's form), as a text that is nothing else, or in a body that was cut, where only a size from which on it
was is known. Embedding vectors become their dimension (`floats`). Every content passes on its way to the store,
whatever way it came in; the gateway's hot path does not.
"""

import re
from typing import Any

import msgspec

from llmobs.guards.linear import finder
from llmobs.ingest import compiled, floats
from llmobs.ingest.references import UNKNOWN, decoded, reference, type_of
from llmobs.spans.record import Span

_compiled = compiled.loaded()

SHORTEST_BASE64 = 64  # characters; what is shorter is a word
LONGEST_TEXT_RUN = 512  # characters of base64's alphabet without a break: no text has as many
FEWEST_CHARACTERS = 24  # that many different ones are in any such run of real media
LONG_TEXT = 20_000  # characters, from which on a text is looked through for base64 without a word about it

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,\s\"\\]*)*;base64,([A-Za-z0-9+/_-]*={0,2})")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}\Z")
_RUN = re.compile(rf"[A-Za-z0-9+/_-]{{{LONGEST_TEXT_RUN},}}={{0,2}}")
NAMED_VECTOR = 8  # numbers at least, under a name that says what they are
# A vector, also one whose end was cut off.
_NUMBERS = re.compile(rf"\[(?:\s*-?\d[\d.eE+-]*\s*,){{{NAMED_VECTOR - 1},}}\s*(?:-?[\d.eE+-]*\s*\]|-?[\d.eE+-]*\Z)")
_TYPE_KEYS = ("media_type", "mime_type", "mimeType", "mediaType", "contentType", "format")
_DATA_KEYS = frozenset({"data", "content", "bytes", "b64_json", "file_data", "image", "audio", "base64", "blob"})
_VECTOR_KEYS = frozenset({"embedding", "embeddings", "vector", "values"})
_SOUNDS = frozenset({"wav", "mp3", "flac", "opus", "pcm16", "aac", "ogg", "m4a"})
# Without one of these there is nothing to look for, which is most texts: a few hundred nanoseconds.
_SIGNS = (";base64,", '"data"', '"bytes"', '"b64_json"', '"file_data"', '"base64"', '"blob"', '"embedding', '"vector"')
_SOUGHT = finder(_SIGNS)
# Of media that are base64 and nothing else, the first characters, of which each type has its own.
_HEADS = ("iVBORw0K", "/9j/", "R0lGOD", "UklGR", "SUQz", "//[I-Ps-v]", "T2dnUw", "ZkxhQ", "JVBERi")
_OF_MEDIA = re.compile(rf"(?:{'|'.join(_HEADS)})[A-Za-z0-9+/\\_-]{{{LONGEST_TEXT_RUN - 8},}}")
_SOUND_OF_LAYER_3 = re.compile(r"//[I-Ps-v]")  # MPEG sound without a word before it; two bytes, of which few are sure
# What the compiled look does not look for; ingest.floats says the time it takes. No text here has lone surrogates: the
# store takes none.
_MORE_SOUGHT = finder((floats.SIGN, *_HEADS))


def refer(span: Span) -> None:
    """Change a span's content and attributes in place, so that no bytes of media are left in it."""
    if span.input is not None:
        span.input = referred_json(span.input)
    if span.output is not None:
        span.output = referred_json(span.output)
    attributes = span.attributes
    is_plain = _compiled is not None and _compiled.values_hold_no_media(attributes, SHORTEST_BASE64)
    if is_plain and not _more_among(attributes):
        return
    for name, value in attributes.items():
        kind = type(value)
        if kind is str:
            if len(value) >= SHORTEST_BASE64:
                attributes[name] = referred_text(value)
        elif kind is dict or kind is list:
            attributes[name] = referred(value)


def has_more(span: Span) -> bool:
    """Whether a span that the compiled look found nothing in may have vectors, or media as base64 and nothing else."""
    if (span.input and _may_hold_more(span.input)) or (span.output and _may_hold_more(span.output)):
        return True
    return _more_among(span.attributes)


def _more_among(attributes: dict[str, Any]) -> bool:
    for value in attributes.values():
        if type(value) is str and len(value) >= floats.SHORTEST_TEXT and _may_hold_more(value):
            return True
    return False


def referred_json(text: str) -> str:
    """A JSON text (or any other) with references in place of media."""
    if len(text) < LONG_TEXT and not _may_hold(text) and not _may_hold_more(text):
        return text
    try:
        plain = msgspec.json.decode(text)
        changed = referred(plain)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return referred_text(text)
    return text if changed == plain else msgspec.json.encode(changed).decode()


def _may_hold(text: str) -> bool:
    # One search for all of them, in Rust, which takes no lone surrogates: a twentieth of the time.
    return _SOUGHT(text) if text.isascii() else any(sign in text for sign in _SIGNS)


def _may_hold_more(text: str) -> bool:
    return _MORE_SOUGHT(text) and (floats.may_stand_in(text) or _OF_MEDIA.search(text) is not None)


def referred(value: Any) -> Any:
    """The same for plain Python: lists, objects and texts."""
    if isinstance(value, str):
        return referred_text(value)
    if isinstance(value, list):
        dimension = floats.dimension(value)
        return {"dimension": dimension} if dimension else [referred(item) for item in value]
    if isinstance(value, dict):
        return {key: _of_key(key, item, value) for key, item in value.items()}
    return value


def referred_text(text: str) -> str:
    """A text with references in place of its media, and dimensions of its vectors; one that is JSON as JSON."""
    text = _referred_runs(text)
    if not _may_hold_more(text):
        return text
    if _is_media(text):
        return _reference(text, "audio/mpeg" if _SOUND_OF_LAYER_3.match(text) else "", False)
    return _within_json(text) if text.lstrip()[:1] in ("[", "{", '"') else floats.left_out(text)


def _within_json(text: str) -> str:
    try:
        plain = msgspec.json.decode(text)
        changed = referred(plain)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return floats.left_out(text)
    return text if changed == plain else msgspec.json.encode(changed).decode()


def _referred_runs(text: str) -> str:
    """With references in place of data URLs; in a long text, of whatever can only be base64."""
    if ";base64," in text:
        text = _DATA_URL.sub(lambda found: _reference(found[2], found[1] or "", found.end() == len(text)), text)
    if len(text) >= LONG_TEXT:
        text = _RUN.sub(lambda found: _of_run(found, len(text)), text)
    return text


def _is_media(text: str) -> bool:
    """Whether a text is base64 of a known type and nothing else."""
    if len(text) < LONGEST_TEXT_RUN or not _BASE64.match(text):
        return False
    if _SOUND_OF_LAYER_3.match(text):
        return len(set(text)) >= FEWEST_CHARACTERS
    return bool(_sniffed(text))


def referred_body(text: str) -> str:
    """The same for a body that is no whole JSON (any more), lists of numbers too."""
    text = _referred_runs(text)
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
    if isinstance(value, list) and len(value) >= NAMED_VECTOR:
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
    body = decoded(encoded)
    if may_be_cut and len(encoded) % 4:  # whole base64 has its padding
        return f"media:{media_type or type_of(body) or UNKNOWN};bytes>={len(body)}"
    return reference(body, media_type)


def _sniffed(encoded: str) -> str:
    """The media type that the first bytes say, "" if they say none."""
    return type_of(decoded(encoded[:32]))
