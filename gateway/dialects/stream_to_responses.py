"""A stream of chat completions as one of OpenAI's responses.

1. The first chunk brings `response.created`.
2. An item is open for as long as deltas of its kind come: a thought, a message, one call. When it closes, its `done`
   event is followed by nothing of it.
3. The end brings the whole response. A stream that broke off before its finish reason gets no such end.
"""

from collections.abc import Iterable

from gateway.dialects.answer_to_responses import (
    call_item,
    ended,
    message_item,
    reasoning_item,
    response,
    responses_usage,
    text_part,
)
from gateway.dialects.dialect import events
from gateway.dialects.response_events import Arguments, Part, item_begins, item_ends
from gateway.dialects.wire import ODD, Json, json_object, named_sse, objects


class StreamToResponses:
    """One stream under way."""

    __slots__ = (
        "_call_key", "_created_s", "_finish_reason", "_id", "_is_last", "_kind", "_model", "_number", "_open",
        "_output", "_said", "_thoughts", "_told", "_usage",
    )  # fmt: skip

    def __init__(self) -> None:
        self._id: object = ""
        self._model: object = ""
        self._created_s: object = 0
        self._number = 0  # of the next event
        self._output: list[Json] = []  # closed items
        self._kind = ""  # of the open item
        self._open: Json = {}  # it, as it began
        self._told: Part | Arguments  # how its text is told
        self._said: list[str] = []  # that text so far
        self._call_key: object = None  # its call's index there
        self._thoughts: list[Json] = []  # signed
        self._finish_reason: object = None
        self._usage: object = None
        self._is_last = False

    def feed(self, block: bytes) -> bytes:
        out: list[Json] = []
        for data in events(block):
            chunk = json_object(data)
            if chunk is None:
                continue
            try:
                self._translate(chunk, out)
            except ODD:
                continue  # an event that is none of the format says nothing
        return self._numbered(out)

    def end(self) -> bytes:
        if self._finish_reason is None or self._is_last:
            return b""
        self._is_last = True
        out: list[Json] = []
        self._close(out)
        whole = response(self._id, self._model, self._created_s, self._output, responses_usage(self._usage))
        whole = ended(whole, self._finish_reason)
        out.append({"type": f"response.{whole['status']}", "response": whole})
        return self._numbered(out)

    def _numbered(self, out: Iterable[Json]) -> bytes:
        said = b""
        for event in out:
            said += named_sse({**event, "sequence_number": self._number})
            self._number += 1
        return said

    def _translate(self, chunk: Json, out: list[Json]) -> None:
        error = chunk.get("error")
        if error is not None:
            told = error if isinstance(error, dict) else {"message": str(error)}
            code = told.get("code") or told.get("type")
            out.append({"type": "error", "code": code, "message": told.get("message") or "", "param": None})
            return
        self._usage = chunk.get("usage") or self._usage
        choice = next(iter(objects(chunk.get("choices"))), None)
        if choice is None:
            return
        if not self._number and not out:
            self._id, self._model, self._created_s = chunk.get("id"), chunk.get("model"), chunk.get("created") or 0
            begun = response(self._id, self._model, self._created_s, [], None)
            begun["status"] = "in_progress"
            out += [{"type": f"response.{name}", "response": begun} for name in ("created", "in_progress")]
        self._delta(choice.get("delta") or {}, out)
        self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def _delta(self, delta: Json, out: list[Json]) -> None:
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought:
            self._enter("summary_text", out)
            self._say(thought, out)
        for block in objects(delta.get("thinking_blocks")):
            self._enter("summary_text", out)
            self._thoughts.append(block)
        for name, kind in (("content", "output_text"), ("refusal", "refusal")):
            if delta.get(name):
                self._enter(kind, out)
                self._say(delta[name], out)
        for call in objects(delta.get("tool_calls")):
            self._call(call, out)

    def _call(self, call: Json, out: list[Json]) -> None:
        function, key = call.get("function") or {}, call.get("index")
        is_new = bool(call.get("id")) and call["id"] != self._open.get("call_id")
        if self._kind != "function_call" or is_new or (key is not None and key != self._call_key):
            self._close(out)
            self._call_key = key
            item = call_item(call.get("id"), function.get("name"), "")
            self._begin("function_call", item, Arguments(item["id"], len(self._output)), out)
        if function.get("arguments"):
            self._say(function["arguments"], out)

    def _enter(self, kind: str, out: list[Json]) -> None:
        """Go on with the open item, or close it and open one of this kind of part."""
        if self._kind == kind:
            return
        self._close(out)
        number = len(self._output)
        is_thought = kind == "summary_text"
        item = (
            reasoning_item(f"rs_{self._id}_{number}", "", [])
            if is_thought
            else message_item(f"msg_{self._id}_{number}", [])
        )
        self._begin(kind, item, Part(kind, item["id"], number), out)

    def _begin(self, kind: str, item: Json, told: Part | Arguments, out: list[Json]) -> None:
        self._kind, self._open, self._told, self._said = kind, item, told, []
        out.append(item_begins(item, len(self._output)))

    def _say(self, text: str, out: list[Json]) -> None:
        if not self._said:
            out += self._told.begins(_part(self._kind, ""))
        self._said.append(text)
        out.append(self._told.says(text))

    def _close(self, out: list[Json]) -> None:
        if not self._kind:
            return
        said, item = "".join(self._said), self._open
        part = _part(self._kind, said)
        if self._kind == "summary_text":
            item = reasoning_item(item["id"], said, self._thoughts)
            self._thoughts = []
        elif self._kind == "function_call":
            item = part = call_item(item["call_id"], item["name"], said)
        else:
            item = message_item(item["id"], [part])
        if self._said or self._kind == "function_call":
            out += self._told.ends(part)
        out.append(item_ends(item, len(self._output)))
        self._output.append(item)
        self._kind, self._open = "", {}


def _part(kind: str, text: str) -> Json:
    if kind == "refusal":
        return {"type": "refusal", "refusal": text}
    return text_part(text) if kind == "output_text" else {"type": "summary_text", "text": text}
