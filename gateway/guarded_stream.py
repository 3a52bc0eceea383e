"""The output's guard: personal data and secrets in answers, of all wire formats, whole and streamed.

1. A stream's events are read one by one; each text in them (an answer's, its thoughts', a tool's arguments) flows
   through a tail of its own (`guards.tail`), which holds back a word or two where a value may go on.
2. Masking puts what the tail lets go into the event that brought the text; one that is left without anything is left
   out. Where a text ends, what was held goes out before the event that says so, as an event of the same kind.
3. Blocking ends the stream with an error event at the first finding: nothing of it went out before.
4. Flagging changes no byte; it only reads along.

A thought that is masked no longer matches its signature: sent back, the provider refuses it. Probabilities of tokens
(`logprobs`) spell the text out, and go where it is masked.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.errors import Headers, error_event, error_response
from gateway.event_texts import (
    Piece,
    TextKey,
    ended,
    ending,
    is_empty,
    pieces,
    sse,
    strip_logprobs,
    whole_texts,
    with_data,
)
from gateway.recorder import KEPT_BYTES
from llmobs.guards.json_tail import JsonTail
from llmobs.guards.redactor import Redactor
from llmobs.guards.signs import sensitive
from llmobs.guards.tail import Tail
from llmobs.guards.texts import OUTPUT, Json, answered, decode, encode
from llmobs.ingest.entries import Finding
from llmobs.ingest.findings import DONE, found

REASON = "sensitive_data"
MOST_CHANNELS = 1000  # texts of one stream; more is a broken one's, and passes as the text of the last

_EVENT_END = re.compile(rb"(\r?\n\r?\n)")


@dataclass(slots=True)
class _Channel:
    """One text that flows. `event(text)` is an event that brings a piece of it."""

    tail: Tail | JsonTail
    event: Callable[[str], Json]


class OutputGuard:
    """Guards one call's answer. `action`: flag, mask or block; `key`: of the tenant, for fingerprints."""

    reason = REASON
    __slots__ = (
        "_channels",
        "_kept",
        "_kept_bytes",
        "_partial",
        "_redactor",
        "_tenant_key",
        "action",
        "dialect",
        "is_blocked",
    )

    def __init__(self, action: str, dialect: str, tenant_key: bytes) -> None:
        self.action = action
        self.dialect = dialect
        self.is_blocked = False  # nothing goes out any more
        self._tenant_key = tenant_key
        self._redactor = Redactor(where=OUTPUT)
        self._channels: dict[TextKey, _Channel] = {}
        self._partial = b""  # an event whose end has not come
        self._kept: list[bytes] = []
        self._kept_bytes = 0

    @property
    def rewrites(self) -> bool:
        """Whether what goes out may differ from what came."""
        return self.action != "flag"

    @property
    def findings(self) -> list[Finding]:
        """What was found so far."""
        return [found(sign, DONE[self.action], self._tenant_key) for sign in sensitive(self._redactor)]

    @property
    def kept(self) -> bytes | None:
        """What went out, as far as content is kept, in the place of what the provider sent; None: that is the same."""
        return b"".join(self._kept) if self.is_blocked or (self.rewrites and self._redactor.seen) else None

    # ------------------------------------------------------------ whole answers

    def guard_answer(self, body: bytes) -> bytes:
        """The answer that may go out; where it is blocked, the body of `refusal`. What cannot be read is blocked."""
        self._redactor, self.is_blocked = Redactor(where=OUTPUT), False  # another attempt's findings are not this one's
        try:
            value = decode(body)
            for place in answered(value)[0].places:
                place.rewrite(self._redactor.redact)
        except (ValueError, RecursionError, AttributeError):
            value = None
        if self.action == "flag" or (value is not None and not self._redactor.seen):
            return body
        if self.action == "block" or value is None:
            self.is_blocked = True
            body = self.refusal()[2]
        else:
            strip_logprobs(value)
            body = encode(value)
        self._kept = [body]
        return body

    def refusal(self) -> tuple[int, Headers, bytes]:
        """Status, headers and body in the place of a blocked answer."""
        return error_response(REASON, self._message(), self.dialect)

    def _message(self) -> str:
        names = sorted({sign.name for sign in sensitive(self._redactor)})
        what = f"holds sensitive data ({', '.join(names)})" if names else "cannot be read by the guard that looks at it"
        return f"Output failed security validation: the answer {what}"

    # ------------------------------------------------------------ streams

    def feed(self, block: bytes) -> bytes:
        """What may go out of the stream by now."""
        if self.is_blocked:
            return b""
        parts = _EVENT_END.split(self._partial + block)
        self._partial = parts.pop()
        return self._out(b"".join(self._events(parts)), block)

    def end(self) -> bytes:
        """The rest, when no more will come."""
        if self.is_blocked:
            return b""
        rest, self._partial = self._partial, b""
        out = b"".join(self._events([rest, b""] if rest.strip() else []))
        if not self.is_blocked:
            out += b"".join(self._checked(self._flushed(())))
        return self._out(out, b"")

    def _out(self, out: bytes, given: bytes) -> bytes:
        if not self.rewrites:
            return given
        if self._kept_bytes < KEPT_BYTES:
            self._kept.append(out)
            self._kept_bytes += len(out)
        return out

    def _events(self, parts: list[bytes]) -> Iterator[bytes]:
        """Each event's bytes and what ends it, in turn."""
        for event, end in zip(parts[::2], parts[1::2], strict=True):
            yield from self._checked(self._event(event, end))
            if self.is_blocked:
                return

    def _checked(self, out: list[bytes]) -> list[bytes]:
        if self.action == "block" and self._redactor.seen:
            self.is_blocked = True
            return [error_event(REASON, self._message(), self.dialect)]
        return out

    def _event(self, raw: bytes, end: bytes) -> list[bytes]:
        data = b"\n".join(line[5:].strip() for line in raw.split(b"\n") if line.startswith(b"data:"))
        if not data:
            return [raw + end]
        if data == b"[DONE]":
            return [*self._flushed(()), raw + end]
        try:
            event = decode(data)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            return [self._redactor.redact(raw.decode("utf-8", "replace")).encode() + end]
        return self._rewritten(event, raw, end)

    def _rewritten(self, event: Json, raw: bytes, end: bytes) -> list[bytes]:
        before = [flushed for prefix in ended(event) for flushed in self._flushed(prefix)]
        texts = list(pieces(event))
        is_changed = False
        for piece in texts:
            given = piece.holder[piece.name]
            piece.holder[piece.name] = self._channel(piece).tail.feed(given)
            is_changed |= piece.holder[piece.name] != given
        is_changed |= self._repeated(event)
        for prefix in ending(event):
            own = {piece.key: piece for piece in texts if piece.key[: len(prefix)] == prefix}
            for key, piece in own.items():  # the event that ends a text brings the last of it
                rest = self._channel(piece).tail.end()
                self._channels.pop(key, None)
                piece.holder[piece.name] += rest
                is_changed |= bool(rest)
            before += self._flushed(prefix)
        if not is_changed:
            return [*before, raw + end]
        if texts and is_empty(event):
            return before
        return [*before, with_data(raw, event) + end]

    def _channel(self, piece: Piece) -> _Channel:
        channel = self._channels.get(piece.key)
        if channel is None:
            if len(self._channels) >= MOST_CHANNELS:
                return self._channels[next(reversed(self._channels))]
            tail = JsonTail(self._redactor.redact) if piece.is_json else Tail(self._redactor.redact)
            channel = self._channels[piece.key] = _Channel(tail, piece.event)
        return channel

    def _flushed(self, prefix: TextKey) -> list[bytes]:
        """The rest of the texts whose keys begin so, as events; they have ended."""
        out: list[bytes] = []
        for key in [key for key in self._channels if key[: len(prefix)] == prefix]:
            channel = self._channels.pop(key)
            rest = channel.tail.end()
            if rest:
                out.append(sse(channel.event(rest)))
        return out

    def _repeated(self, event: Json) -> bool:
        """Texts that stand whole in an event: most say again what came in pieces. Whether one was changed."""
        is_changed = self.rewrites and strip_logprobs(event)
        places = whole_texts(event)
        if places:
            self._redactor.is_repeat = True
            before = [encode(place.holder[place.key]) for place in places]
            for place in places:
                place.rewrite(self._redactor.redact)
            is_changed |= before != [encode(place.holder[place.key]) for place in places]
            self._redactor.is_repeat = False
        return is_changed
