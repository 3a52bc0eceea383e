"""Anthropic's stream as one of chat completions.

1. `message_start` brings the first chunk, with the role.
2. Texts, thoughts and a tool's input become deltas as they come; a thought's signature follows its last word, in
   `thinking_blocks`, so that the caller can send it back.
3. `message_delta` brings the finish reason; the usage, if it was asked for, and [DONE] come at the end.
"""

from typing import Any

import msgspec

from gateway.dialects.answer_to_openai import FINISH_REASONS, TIERS, openai_usage, refusal
from gateway.dialects.dialect import events
from gateway.dialects.errors_between import error_to_openai
from gateway.dialects.to_anthropic import OUTPUT_TOOL
from gateway.dialects.wire import DONE, ODD, WRONG, Json, encode, sse


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: dict[str, Any] | None = None
    content_block: dict[str, Any] | None = None
    delta: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_read = msgspec.json.Decoder(_Event).decode
_CHOICE = b'[{"index":0,"logprobs":null,"delta":'


class StreamToOpenAI:
    """One stream under way."""

    __slots__ = (
        "_block", "_calls", "_created_s", "_has_ended", "_is_last", "_start", "_stop", "_usage", "_wants_usage",
    )  # fmt: skip

    def __init__(self, wants_usage: bool, created_s: int) -> None:
        self._wants_usage = wants_usage
        self._created_s = created_s
        self._usage: Json = {}
        self._calls = 0  # tool calls begun
        self._block: Json = {}  # the one under way
        self._has_ended = False  # the finish reason is said
        self._is_last = False
        self._frame({})

    def feed(self, block: bytes) -> bytes:
        out = []
        for data in events(block):
            try:
                out.append(self._translated(_read(data)))
            except (*WRONG, *ODD):
                continue  # an event that is none of the format says nothing
        return b"".join(out)

    def end(self) -> bytes:
        if not self._has_ended or self._is_last:
            return b""
        self._is_last = True
        if not self._wants_usage:
            return DONE
        usage = encode(openai_usage(self._usage))
        return self._start[: -len(_CHOICE)] + b'[],"usage":' + usage + b"}\n\n" + DONE

    def _frame(self, message: Json) -> None:
        """What all chunks have in common, up to the delta, and after it."""
        head: Json = {
            "id": message.get("id"),
            "object": "chat.completion.chunk",
            "created": self._created_s,
            "model": message.get("model"),
        }
        tier = self._usage.get("service_tier")
        if tier in TIERS:
            head["service_tier"] = TIERS[tier]
        self._start = b"data: " + encode(head)[:-1] + b',"choices":' + _CHOICE
        self._stop = b',"finish_reason":null}]' + (b',"usage":null' if self._wants_usage else b"") + b"}\n\n"

    def _chunk(self, delta: Json) -> bytes:
        return self._start + encode(delta) + self._stop

    def _translated(self, event: _Event) -> bytes:
        kind = event.type
        if kind == "content_block_delta":
            return self._delta(event.delta or {})
        if kind == "content_block_start":
            return self._block_start(event.content_block or {})
        if kind == "content_block_stop":
            return self._block_stop()
        if kind == "message_start" and event.message is not None:
            self._usage = event.message.get("usage") or {}
            self._frame(event.message)
            return self._chunk({"role": "assistant", "content": "", "refusal": None})
        if kind == "message_delta":
            return self._message_delta(event.delta or {}, event.usage or {})
        if kind == "error":
            return sse(error_to_openai(500, {"error": event.error})[1])
        return b""

    def _delta(self, delta: Json) -> bytes:
        kind, block = delta.get("type"), self._block
        if kind == "text_delta":
            return self._chunk({"content": delta.get("text", "")})
        if kind == "input_json_delta":
            if not delta.get("partial_json"):
                return b""
            block["has_input"] = True
            return self._input(delta["partial_json"])
        if kind == "thinking_delta":
            block["thinking"] = block.get("thinking", "") + delta.get("thinking", "")
            return self._chunk({"reasoning_content": delta.get("thinking", "")})
        if kind == "signature_delta":
            block["signature"] = delta.get("signature", "")
        return b""

    def _block_start(self, block: Json) -> bytes:
        self._block = block
        kind = block.get("type")
        if kind == "text" and block.get("text"):
            return self._chunk({"content": block["text"]})
        if kind != "tool_use" or block.get("name") == OUTPUT_TOOL:
            return b""
        self._calls += 1
        function = {"name": block.get("name"), "arguments": ""}
        call = {"index": self._calls - 1, "id": block.get("id"), "type": "function", "function": function}
        return self._chunk({"tool_calls": [call]})

    def _block_stop(self) -> bytes:
        block, self._block = self._block, {}
        kind = block.get("type")
        if kind in ("thinking", "redacted_thinking"):
            return self._chunk({"thinking_blocks": [block]})
        if kind == "tool_use" and "has_input" not in block:  # its input came at its start, or it has none
            self._block = block
            return self._input(encode(block.get("input") or {}).decode())
        return b""

    def _input(self, text: str) -> bytes:
        if self._block.get("name") == OUTPUT_TOOL:
            return self._chunk({"content": text})
        return self._chunk({"tool_calls": [{"index": self._calls - 1, "function": {"arguments": text}}]})

    def _message_delta(self, delta: Json, usage: Json) -> bytes:
        self._usage = {**self._usage, **{name: value for name, value in usage.items() if value is not None}}
        if delta.get("stop_reason") is None:
            return b""
        self._has_ended = True
        reason = FINISH_REASONS.get(str(delta["stop_reason"]), "stop")
        if reason == "tool_calls" and not self._calls:
            reason = "stop"
        said = refusal(delta.get("stop_details"))
        stop = self._stop.replace(b"null", b'"%s"' % reason.encode(), 1)
        return self._start + encode({"refusal": said} if said else {}) + stop
