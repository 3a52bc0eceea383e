"""A stream as one whole answer and back, for answers that come from the cache, a cascade or a route's static text.

`as_whole(as_stream(answer))` is the answer again, up to the order of its fields.
"""

import time
from collections.abc import Callable

from gateway.dialects.answer_to_responses import message_item, response, responses_usage, text_part
from gateway.dialects.dialect import BadRequest, Dialect, events
from gateway.dialects.replay_chat import chat_as_stream, chat_as_whole
from gateway.dialects.replay_messages import messages_as_stream, messages_as_whole
from gateway.dialects.replay_responses import responses_as_stream, responses_as_whole
from gateway.dialects.wire import ODD, Json, encode, json_object

_AS_WHOLE: dict[str, Callable[[list[Json]], Json | None]] = {
    "chat": chat_as_whole,
    "messages": messages_as_whole,
    "responses": responses_as_whole,
}
_AS_STREAM: dict[str, Callable[[Json, bool], bytes]] = {
    "chat": chat_as_stream,
    "messages": messages_as_stream,
    "responses": responses_as_stream,
}


_ID_PREFIX = {"chat": "chatcmpl-", "messages": "msg_", "responses": "resp_"}


def own_id(dialect: Dialect, digits: str) -> str:
    """The response id of an answer that no provider gave just now, as its format spells them; "" where it has none."""
    prefix = _ID_PREFIX.get(dialect.serves)
    return f"{prefix}{digits}" if prefix else ""


def as_whole(dialect: Dialect, sse: bytes) -> bytes | None:
    """A complete stream as one whole answer; None: it has no end, or is an error, or none of this format."""
    made = _AS_WHOLE.get(dialect.serves)
    if made is None or not dialect.is_last(sse):
        return None
    said = [event for data in events(sse) if (event := json_object(data)) is not None]
    if any(event.get("error") is not None or event.get("type") == "error" for event in said):
        return None
    try:
        answer = made(said)
    except ODD:
        return None
    return None if answer is None else encode(answer)


def as_stream(dialect: Dialect, body: bytes, wants_usage: bool) -> bytes:
    """A whole answer as a stream of several deltas. Raises BadRequest for an operation that has no streams."""
    made, answer = _AS_STREAM.get(dialect.serves), json_object(body)
    if made is None or answer is None:
        raise BadRequest(f"{dialect.operation_path.decode()} has no streams")
    return made(answer, wants_usage)


def fresh(dialect: Dialect, body: bytes, response_id: str) -> bytes:
    """A whole answer under a new id, and without usage: it cost nothing."""
    answer = json_object(body)
    if answer is None:
        return body
    if "id" in answer:
        answer["id"] = response_id
    if "usage" in answer:
        answer["usage"] = _nothing(answer["usage"])
    return encode(answer)


def static_answer(dialect: Dialect, text: str, model: str, response_id: str) -> bytes:
    """A whole answer of that text. Raises BadRequest for an operation that answers with no text."""
    now_s = int(time.time())
    if dialect.serves == "chat":
        message = {"role": "assistant", "content": text, "refusal": None}
        return encode(
            {
                "id": response_id,
                "object": "chat.completion",
                "created": now_s,
                "model": model,
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
            }
        )
    if dialect.serves == "messages":
        return encode(
            {
                "id": response_id,
                "type": "message",
                "role": "assistant",
                "model": model,
                "content": [{"type": "text", "text": text}],
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "usage": {"input_tokens": 0, "output_tokens": 0},
            }
        )
    if dialect.serves == "responses":
        item = message_item(f"msg_{response_id}", [text_part(text)])
        return encode(response(response_id, model, now_s, [item], responses_usage(None)))
    raise BadRequest(f"{dialect.operation_path.decode()} has no answer in words")


def _nothing(usage: object) -> object:
    """The same shape, its numbers zero."""
    if isinstance(usage, dict):
        return {name: _nothing(value) for name, value in usage.items()}
    return 0 if isinstance(usage, int | float) and not isinstance(usage, bool) else usage
