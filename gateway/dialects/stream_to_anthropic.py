"""A stream of chat completions as Anthropic's.

1. The first chunk brings `message_start`; its input count is a placeholder, since OpenAI reports usage at the end.
2. A content block is open for as long as deltas of its kind come: a thought, a text, one tool call.
3. The end closes the block and says stop reason and usage: `message_delta`, `message_stop`. A stream that broke off
   before its finish reason gets no such end.
"""

from typing import Any

import msgspec

from gateway.dialects.answer_to_anthropic import anthropic_usage, stop_reason
from gateway.dialects.dialect import events
from gateway.dialects.errors_between import error_to_anthropic
from gateway.dialects.wire import ODD, WRONG, Json, named_sse, objects


class _Choice(msgspec.Struct):
    delta: dict[str, Any] | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_read = msgspec.json.Decoder(_Chunk).decode
_NONE = -1


class StreamToAnthropic:
    """One stream under way."""

    __slots__ = ("_calls", "_finish_reason", "_has_started", "_is_last", "_kind", "_next", "_open", "_usage")

    def __init__(self) -> None:
        self._has_started = False
        self._is_last = False
        self._next = 0  # content block
        self._open = _NONE  # the block under way
        self._kind = ""  # of that block
        self._calls: dict[object, tuple[int, object]] = {}  # a tool call's index there: its block here, its id
        self._finish_reason: str | None = None
        self._usage: Json | None = None

    def feed(self, block: bytes) -> bytes:
        out: list[Json] = []
        for data in events(block):
            if not data.startswith(b"{"):
                continue
            try:
                self._translate(_read(data), out)
            except (*WRONG, *ODD):
                continue  # an event that is none of the format says nothing
        return b"".join(map(named_sse, out))

    def end(self) -> bytes:
        if self._finish_reason is None or self._is_last:
            return b""
        self._is_last = True
        out: list[Json] = []
        self._close(out)
        reason = stop_reason(self._finish_reason, bool(self._calls))
        out.append(
            {
                "type": "message_delta",
                "delta": {"stop_reason": reason, "stop_sequence": None},
                "usage": anthropic_usage(self._usage),
            }
        )
        out.append({"type": "message_stop"})
        return b"".join(map(named_sse, out))

    def _translate(self, chunk: _Chunk, out: list[Json]) -> None:
        if chunk.error is not None:
            out.append(error_to_anthropic(500, {"error": chunk.error})[1])
            return
        if chunk.usage is not None:
            self._usage = chunk.usage
        if not chunk.choices:
            return
        if not self._has_started:
            self._start(chunk, out)
        choice = chunk.choices[0]
        if choice.delta:
            self._delta(choice.delta, out)
        self._finish_reason = choice.finish_reason or self._finish_reason

    def _start(self, chunk: _Chunk, out: list[Json]) -> None:
        self._has_started = True
        message: Json = {
            "id": chunk.id or "",
            "type": "message",
            "role": "assistant",
            "model": chunk.model or "",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": anthropic_usage(None),
        }
        out.append({"type": "message_start", "message": message})

    def _delta(self, delta: Json, out: list[Json]) -> None:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(thought, str) and thought:
            self._enter("thinking", {"type": "thinking", "thinking": "", "signature": ""}, out)
            self._say({"type": "thinking_delta", "thinking": thought}, out)
        for block in objects(delta.get("thinking_blocks")):
            self._sign(block, out)
        for name in ("content", "refusal"):
            text = delta.get(name)
            if isinstance(text, str) and text:
                self._enter("text", {"type": "text", "text": ""}, out)
                self._say({"type": "text_delta", "text": text}, out)
        for call in objects(delta.get("tool_calls")):
            self._call(call, out)

    def _sign(self, block: Json, out: list[Json]) -> None:
        """A whole thought, from a server that hands on Anthropic's: only its signature is new."""
        if block.get("type") == "redacted_thinking":
            self._enter("redacted_thinking", block, out, is_new=True)
        elif block.get("signature") and self._kind == "thinking":
            self._say({"type": "signature_delta", "signature": block["signature"]}, out)

    def _call(self, call: Json, out: list[Json]) -> None:
        function, call_id, index = call.get("function") or {}, call.get("id"), call.get("index")
        if index is None:  # some servers leave it out: then each call that has an id is a new one
            index = call_id or next(reversed(self._calls), 0)
        known = self._calls.get(index)
        if known is None or (call_id and call_id != known[1]):  # others give the same index to all
            block: Json = {"type": "tool_use", "id": call_id, "name": function.get("name"), "input": {}}
            self._enter("tool_use", block, out, is_new=True)
            known = self._calls[index] = (self._open, call_id)
        written = function.get("arguments")
        if isinstance(written, str) and written:
            delta = {"type": "input_json_delta", "partial_json": written}
            out.append({"type": "content_block_delta", "index": known[0], "delta": delta})

    def _enter(self, kind: str, block: Json, out: list[Json], is_new: bool = False) -> None:
        if self._kind == kind and not is_new:
            return
        self._close(out)
        self._kind, self._open = kind, self._next
        self._next += 1
        out.append({"type": "content_block_start", "index": self._open, "content_block": block})

    def _say(self, delta: Json, out: list[Json]) -> None:
        out.append({"type": "content_block_delta", "index": self._open, "delta": delta})

    def _close(self, out: list[Json]) -> None:
        if self._open != _NONE:
            out.append({"type": "content_block_stop", "index": self._open})
        self._kind, self._open = "", _NONE
