"""The one door of content: what a tenant's policy leaves of prompts and answers, before anything reaches the database.

full      as sent
redacted  personal data and secrets replaced by placeholders (`guards.redactor`), in attributes, names and errors too
hash      each text is a fingerprint under a key of the tenant: equal texts can be found, none can be read but labels
none      no text is kept but labels (`labels`)
Every span passes, whatever way it came in. An unknown policy keeps nothing: it fails closed.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

import msgspec

from llmobs.guards.anchors import OF_INJECTIONS
from llmobs.guards.fingerprint import fingerprint, tenant_key
from llmobs.guards.redactor import Redactor
from llmobs.guards.sieve import may_be_sensitive
from llmobs.guards.texts import decode, encode, rewritten
from llmobs.ingest import compiled
from llmobs.ingest.labels import name_somebody, names_somebody
from llmobs.ingest.media import SHORTEST_BASE64
from llmobs.ingest.withheld import hidden_messages, withhold
from llmobs.spans.record import Span

FULL = "full"
REDACTED = "redacted"
HASH = "hash"
NONE = "none"

PREVIEW_CHARACTERS = 200

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
            span.input = span.output = None
            withhold(span, lambda _: None)

    def _hash(self, span: Span) -> None:
        key = self._tenant_key(span.tenant_id)

        def hashed(text: str) -> str:
            return "hmac-sha256:" + fingerprint(key, text)

        span.input = _rewrite_messages(span.input, hashed, hidden_messages)
        span.output = _rewrite_messages(span.output, hashed, hidden_messages)
        withhold(span, hashed)

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
    is_named = _names_nobody(span)
    if is_named and _is_clean(span, clean):
        return
    redact = partial(_redacted, Redactor())
    span.input = _redact_json(span.input, redact)
    span.output = _redact_json(span.output, redact)
    if span.status_message:
        span.status_message = redact(span.status_message)
    if span.attributes:
        span.attributes = {name: rewritten(value, redact, False) for name, value in span.attributes.items()}
    if not is_named:  # last: in names stand the placeholders of the texts
        span.name, span.operation_name = redact(span.name), redact(span.operation_name)
        span.error_type = redact(span.error_type)
        span.attributes = _renamed(span.attributes, redact)


def _renamed(attributes: dict[str, Any], redact: Rewrite) -> dict[str, Any]:
    """Names that become the same have a number behind them: none takes another's value."""
    found: dict[str, Any] = {}
    for name, value in attributes.items():
        shown = alone = redact(name)
        number = 1
        while shown in found:
            number += 1
            shown = f"{alone}.{number}"
        found[shown] = value
    return found


def _names_nobody(span: Span) -> bool:
    if names_somebody(span.name) or names_somebody(span.operation_name):
        return False
    return not ((span.error_type and names_somebody(span.error_type)) or name_somebody(tuple(span.attributes)))


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
    return _rewrite_messages(text, redact, rewritten)


def _rewrite_messages(text: str | None, rewrite: Rewrite, everywhere: Callable[[Any, Rewrite], Any]) -> str | None:
    """Rewrite the strings in a JSON text, those that `everywhere` passes on."""
    if text is None:
        return None
    try:
        value = decode(text.encode("utf-8", "surrogatepass"))
        return encode(everywhere(value, rewrite)).decode()
    except (ValueError, RecursionError):
        return encode([{"role": "", "parts": [{"type": "text", "content": rewrite(text)}]}]).decode()
