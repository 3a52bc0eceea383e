"""The one door of content: what a tenant's policy leaves of prompts and answers, before anything reaches the database.

full      as sent
redacted  personal data and secrets replaced by placeholders (`guards.redactor`), attributes and error texts too
hash      each text is a fingerprint under a key of the tenant: equal texts can be found, none can be read
none      not kept
Every span passes, whatever way it came in. An unknown policy keeps nothing: it fails closed.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import msgspec

from llmobs.core.semconv import REFUSED
from llmobs.guards.anchors import OF_INJECTIONS
from llmobs.guards.fingerprint import fingerprint, tenant_key
from llmobs.guards.redactor import Redactor
from llmobs.guards.sieve import may_be_sensitive
from llmobs.guards.texts import decode, encode, rewritten
from llmobs.ingest import compiled
from llmobs.ingest.media import SHORTEST_BASE64
from llmobs.spans.record import Span

FULL = "full"
REDACTED = "redacted"
HASH = "hash"
NONE = "none"

PREVIEW_CHARACTERS = 200
# A string attribute longer than this is taken for content: names, ids and versions are shorter.
LONGEST_LABEL = 128

# Attributes that carry what people or models wrote (OpenTelemetry, OpenInference, traceloop, Vercel, langfuse, mlflow).
_CONTENT_NAME = re.compile(
    r"message|prompt(?!_version|_name|\.version|\.name)|completion|content|input|output|instruction|argument|result"
    r"|query|document|\btext\b|response\.text|response\.object|embedding|exception|stacktrace|stack_trace|body"
    r"|question|answer|transcript|reasoning_text|tool_call(?!\.id)|definition|description|schema",
    re.IGNORECASE,
)

Rewrite = Callable[[str], str]

_compiled = compiled.loaded()


class Clean(NamedTuple):
    """What is certain of a span: where no personal data and no secret stands, whether there is no media anywhere.

    `anchors`: those of injections in what was asked (`guards.anchors`); None: they are not known.
    """

    input: bool = False
    output: bool = False
    attributes: bool = False
    is_without_media: bool = False
    anchors: int | None = None


UNKNOWN = Clean()
_FLAG_BITS = 5  # of what `_compiled.look` says


def look(span: Span) -> Clean:
    """One quick look for all who ask. Without the compiled module each looks closer by itself."""
    if _compiled is None:
        return UNKNOWN
    return _told(_compiled.look(span.input, span.output, span.attributes, OF_INJECTIONS, SHORTEST_BASE64))


@lru_cache(maxsize=4096)
def _told(found: int) -> Clean:
    """Most spans say the same."""
    anchors = found >> _FLAG_BITS if found & 16 else None
    return Clean(bool(found & 1), bool(found & 2), bool(found & 4), bool(found & 8), anchors)


class Door:
    """Applies policies. `policies` by tenant id; `key` is the installation's, from which tenants' are derived."""

    def __init__(self, policies: Mapping[int, str], key: bytes) -> None:
        self._policies = policies
        self._key = key
        self._tenant_keys: dict[int, bytes] = {}

    def policy(self, tenant_id: int) -> str:
        """A tenant that is not known (deleted meanwhile) keeps no content."""
        return self._policies.get(tenant_id, NONE)

    def apply(self, span: Span, clean: Clean = UNKNOWN) -> None:
        """Change the span in place, so that nothing the policy forbids is left in it. `clean`: what `look` said."""
        policy = self.policy(span.tenant_id)
        if policy == FULL:
            return
        if policy == REDACTED:
            _redact(span, clean)
        elif policy == HASH:
            self._hash(span)
        else:
            _drop(span)

    def _hash(self, span: Span) -> None:
        key = self._tenant_key(span.tenant_id)

        def hashed(text: str) -> str:
            return "hmac-sha256:" + fingerprint(key, text)

        span.input = _rewrite_messages(span.input, hashed, only_content=True)
        span.output = _rewrite_messages(span.output, hashed, only_content=True)
        span.attributes = {name: _guarded(name, value, hashed) for name, value in span.attributes.items()}
        if span.status != REFUSED and span.status_message:
            span.status_message = hashed(span.status_message)

    def _tenant_key(self, tenant_id: int) -> bytes:
        key = self._tenant_keys.get(tenant_id)
        if key is None:
            key = self._tenant_keys[tenant_id] = tenant_key(self._key, tenant_id)
        return key


def preview(span: Span) -> str:
    """The first words of the last message that is asked, else of the answer; after the policy."""
    words: str | None = None
    if _compiled is not None and span.input:
        words = _compiled.last_words(span.input, PREVIEW_CHARACTERS)
    return words or _preview(span)


def _preview(span: Span) -> str:
    for text, from_end in ((span.input, True), (span.output, False)):
        if text:
            first = _first_text(text, from_end)
            if first:
                return _in_one_line(first[: 2 * PREVIEW_CHARACTERS])[:PREVIEW_CHARACTERS]
    return ""


def _in_one_line(text: str) -> str:
    """With single blanks between its words."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    return " ".join(text.split())


class _Part(msgspec.Struct):
    content: str = ""


class _Message(msgspec.Struct):
    parts: list[_Part] = []


# The usual form, of which the rest is passed over unread: three times faster than reading all of it.
_USUAL = msgspec.json.Decoder(list[_Message])


# How a message of one text ends a list of them, as Python's and everybody else's JSON is spaced.
_LAST_TEXTS = ('"parts": [{"type": "text", "content": "', '"parts":[{"type":"text","content":"')
_LAST_END = '"}]}]'


def _last_plain_text(text: str) -> str:
    """The text of the last message, where it is one without escapes, as most are; "" for any other."""
    if text.endswith(_LAST_END):
        for beginning in _LAST_TEXTS:
            at = text.rfind(beginning)
            if at >= 0:
                last = text[at + len(beginning) : -len(_LAST_END)]
                return "" if '"' in last or "\\" in last or last.isspace() else last
    return ""


def _first_text(text: str, from_end: bool) -> str:
    if from_end and (last := _last_plain_text(text)):
        return last
    try:
        usual = _USUAL.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return _first_unusual_text(text, from_end)
    for message in reversed(usual) if from_end else usual:
        for part in message.parts:
            if part.content.strip():
                return part.content
    return ""


def _first_unusual_text(text: str, from_end: bool) -> str:
    try:
        messages = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text
    if not isinstance(messages, list):
        return text
    for message in reversed(messages) if from_end else messages:
        parts = message.get("parts") if isinstance(message, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and isinstance(content := part.get("content"), str) and content.strip():
                return content
    return ""


def _redact(span: Span, clean: Clean) -> None:
    if _is_clean(span, clean):
        return
    redact = partial(_redacted, Redactor())
    span.input = _redact_json(span.input, redact)
    span.output = _redact_json(span.output, redact)
    if span.status_message:
        span.status_message = redact(span.status_message)
    if span.attributes:
        span.attributes = {name: rewritten(value, redact, False) for name, value in span.attributes.items()}


# Letters that an encoder of JSON wrote as escapes (but quotes and backslashes); its blanks, for which others stand.
_ESCAPED = re.compile(r"\\(?:u00(?!22|5[cC])([2-7][0-9a-fA-F])|/)")
_BREAK = re.compile(r"\\([bfnrt])")
_BLANKS = dict(zip("bfnrt", "\x1c\x1d\x1e\x1f\x0b", strict=True))
_BREAKS = {ord(blank): f"\\{letter}" for letter, blank in _BLANKS.items()}


def _redacted(redactor: Redactor, text: str) -> str:
    """A text without what should not be kept: also one that is JSON itself, or the beginning of it that was cut off."""
    if "\\" not in text or any(blank in text for blank in _BLANKS.values()):
        return redactor.redact(text)
    plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1] else "/", text)
    plain = _BREAK.sub(lambda found: _BLANKS[found[1]], plain)  # else its letter would be one of the word behind it
    redacted = redactor.redact(plain)
    return text if redacted == plain else redacted.translate(_BREAKS)


def _is_clean(span: Span, clean: Clean) -> bool:
    """One look over all short texts of the span together, which is far cheaper than one at each.

    Contents apart from them: ids among the attributes have digits, and only what has them need be searched for numbers.
    """
    if clean.input and clean.output and clean.attributes and not span.status_message:
        return True
    if not ((clean.input or _is_clean_json(span.input)) and (clean.output or _is_clean_json(span.output))):
        return False
    if _compiled is not None and not span.status_message and _compiled.values_look_clean(span.attributes):
        return True
    texts = [span.status_message]
    for value in span.attributes.values():
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list | dict):
            texts.append(msgspec.json.encode(value).decode())
    return _is_clean_json("\n".join(texts))


def _is_clean_json(text: str | None) -> bool:
    if not text or (_compiled is not None and _compiled.looks_clean(text)):
        return True
    return "\\u" not in text and "\\/" not in text and not may_be_sensitive(text)


def _redact_json(text: str | None, redact: Rewrite) -> str | None:
    # An escape (backslash u0040, or the one that PHP writes before each slash) would hide a letter from the search,
    # and a match must not eat half an escape: whatever may hold something is decoded, rewritten string by string, and
    # encoded again.
    if text is None or _is_clean_json(text):
        return text
    return _rewrite_messages(text, redact, only_content=False)


def _rewrite_messages(text: str | None, rewrite: Rewrite, only_content: bool) -> str | None:
    """Rewrite the strings in a JSON text; `only_content`: all but roles, types, ids and names of parts."""
    if text is None:
        return None
    try:
        value = decode(text.encode("utf-8", "surrogatepass"))
        changed = _content_rewritten(value, rewrite) if only_content else rewritten(value, rewrite)
        return encode(changed).decode()
    except (ValueError, RecursionError):
        return encode([{"role": "", "parts": [{"type": "text", "content": rewrite(text)}]}]).decode()


_LABELS = frozenset({"role", "type", "finish_reason"})


def _content_rewritten(value: Any, rewrite: Rewrite) -> Any:
    if isinstance(value, str):
        return rewrite(value)
    if isinstance(value, list):
        return [_content_rewritten(item, rewrite) for item in value]
    if isinstance(value, dict):
        return {
            key: item
            if key in _LABELS and isinstance(item, str) and len(item) <= 32
            else _content_rewritten(item, rewrite)
            for key, item in value.items()
        }
    return value


def _guarded(name: str, value: Any, rewrite: Rewrite) -> Any:
    """An attribute whose text is content by its name or its length is rewritten, others stay."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    if _CONTENT_NAME.search(name):
        return rewritten(value, rewrite, False)
    if isinstance(value, str):
        return rewrite(value) if len(value) > LONGEST_LABEL else value
    if isinstance(value, list):
        return [_guarded(name, item, rewrite) for item in value]
    if isinstance(value, dict):
        return {key: _guarded(f"{name}.{key}", item, rewrite) for key, item in value.items()}
    return rewrite(str(value))


def _drop(span: Span) -> None:
    span.input = span.output = None
    span.attributes = {
        name: kept
        for name, value in span.attributes.items()
        if (kept := _guarded(name, value, lambda _: "")) not in ("", [], {}) or kept == value
    }
    if span.status != REFUSED:
        span.status_message = ""
