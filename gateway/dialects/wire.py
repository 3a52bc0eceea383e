"""What the formats have in common on the wire: heads of requests, JSON that may be wrong, fields changed in place,
events written.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeVar

import msgspec

from gateway.dialects.dialect import MOST_MODEL_CHARACTERS, MOST_OUTPUT_TOKENS, Asked, BadRequest, plain, text

Request = TypeVar("Request", bound="Head")

Json = dict[str, Any]
ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_MODEL_CHARACTERS)]
Tokens = Annotated[int, msgspec.Meta(ge=1, le=MOST_OUTPUT_TOKENS)]
# What reading bytes from outside may raise.
WRONG = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
# What JSON of unexpected types makes of code that reads it: only the heads of bodies and events are checked.
ODD = (TypeError, AttributeError, KeyError, IndexError, ValueError, RecursionError)
# Names by which a request is admitted, bounded and routed.
_READ = frozenset(
    {
        "model", "messages", "input", "system", "instructions", "prompt", "stream", "stream_options", "n", "max_tokens",
        "max_completion_tokens", "max_output_tokens", "tools", "functions", "background", "previous_response_id",
        "conversation", "thinking", "reasoning", "reasoning_effort", "prediction", "service_tier", "store",
    }
)  # fmt: skip
_PIECE_CHARACTERS = 32  # of a text that is told in deltas

DONE = b"data: [DONE]\n\n"  # the end of a stream of chat completions

encode = msgspec.json.encode
read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_object = msgspec.json.Decoder(dict[str, Any]).decode


class Head(msgspec.Struct, kw_only=True):
    """What the requests of all formats begin with."""

    model: ModelName
    stream: bool | None = None
    metadata: Json | None = None


def read_request(decode: Callable[[bytes], Request], body: bytes) -> Request:
    """What the decoder reads. Raises BadRequest, which quotes nothing of the caller's text."""
    try:
        request = decode(body)
        names = read_fields(body)
    except WRONG as error:
        raise BadRequest(str(error)) from None
    if "\x00" in request.model:  # which some providers take for the name's end
        raise BadRequest("`model` holds a character that no name has")
    together = "".join(names)
    if not together.islower() or not together.isascii():
        _check_letters(names)
    return request


def _check_letters(names: Iterable[str]) -> None:
    """Raises BadRequest on a name that we read, in other letters: providers in some languages read it all the same."""
    for name in names:
        if name not in _READ and name.casefold() in _READ:
            raise BadRequest(f"`{name.casefold()}` is written in other letters")


def attribute(asked: Asked, metadata: Json | None) -> None:
    """Attribution that stands in the body's metadata."""
    if not metadata:
        return
    asked.feature = text(metadata.get("feature"))
    asked.environment = text(metadata.get("environment"))
    asked.session = text(metadata.get("session"))
    asked.user = asked.user or text(metadata.get("user_id")) or text(metadata.get("user"))


def cache_write(names: bytes) -> str:
    """The dearest cache marker in a body (its names in plain): "", "5m" or "1h"."""
    if b'"cache_control"' not in names and b'"prompt_cache_breakpoint"' not in names:
        return ""
    return "1h" if b'"1h"' in names else "5m"


def with_fields(body: bytes, **changes: object) -> bytes:
    """The body with these top-level fields set (None takes a field out); what is not named keeps its bytes."""
    names = plain(body)
    if any(b'"%s"' % name.encode() in names for name in changes):
        fields = read_fields(body)
        for name, value in changes.items():
            if value is None:
                fields.pop(name, None)
            else:
                fields[name] = msgspec.Raw(encode(value))
        return encode(fields)
    added = {name: value for name, value in changes.items() if value is not None}
    if not added:
        return body
    start = body.index(b"{") + 1
    return body[:start] + encode(added)[1:-1] + b"," + body[start:]


def json_object(data: bytes) -> Json | None:
    """The bytes as a JSON object; None: they are none."""
    if not data.lstrip().startswith(b"{"):
        return None
    try:
        return _read_object(data)
    except WRONG:
        return None


def objects(value: object) -> list[Json]:
    """The objects of a JSON list; what is none is left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def pieces(text: str) -> list[str]:
    """A text as a model would have streamed it: some words at a time."""
    return [text[start : start + _PIECE_CHARACTERS] for start in range(0, len(text), _PIECE_CHARACTERS)]


def sse(event: object) -> bytes:
    """An event of OpenAI's chat completions."""
    return b"data: " + encode(event) + b"\n\n"


def named_sse(event: Json) -> bytes:
    """An event that carries its type in its name too, as Anthropic's and those of OpenAI's responses do."""
    return b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), encode(event))
