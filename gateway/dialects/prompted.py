"""A rendered prompt in a request of each format: its messages before the caller's own, system messages first.

What the request says itself goes before what the prompt would say: its model unless that is "auto" or left out, its
parameters always. `metadata.variables` were for us, and go no further.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.dialects.dialect import BadRequest
from gateway.dialects.wire import WRONG, encode, read_fields
from llmobs.prompts.render import Rendered

AUTO = "auto"
Fields = dict[str, msgspec.Raw]

_SYSTEM = ("system", "developer")
_ABSENT = (b"null", b'""', b"[]")
_SHORT = 16  # bytes: nothing longer is looked at for being empty
# One ceiling, as each format calls it.
_CEILINGS = frozenset({"max_tokens", "max_completion_tokens", "max_output_tokens"})
_CEILING = {"chat": "max_completion_tokens", "messages": "max_tokens", "responses": "max_output_tokens"}
# A count of tokens takes none of a request's other parameters.
_COUNTED = frozenset({"tools", "tool_choice", "thinking"})


class _Message(msgspec.Struct):
    role: Any = None


class _Metadata(msgspec.Struct):
    variables: Any = None


class _Varied(msgspec.Struct):
    metadata: _Metadata | None = None


_read_object = msgspec.json.Decoder(dict[str, Any]).decode
_read_text = msgspec.json.Decoder(str).decode
_read_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_read_message = msgspec.json.Decoder(_Message).decode
_read_varied = msgspec.json.Decoder(_Varied).decode


def completed(serves: str, body: bytes) -> bytes:
    """The body with stand-ins for what a prompt may bring, so that it can be read before the prompt is known."""
    try:
        fields = read_fields(body)
    except WRONG:
        return body  # the dialect says what is wrong
    stand_ins: dict[str, object] = {"model": AUTO}
    if serves in ("chat", "messages", "count_tokens"):
        stand_ins["messages"] = [{}]
    if serves == "messages":
        stand_ins["max_tokens"] = 1
    for name, value in stand_ins.items():
        if _is_absent(fields, name):
            fields[name] = msgspec.Raw(encode(value))
    return encode(fields)


def spelled_out(body: bytes) -> bytes:
    """The body with variables that came as the JSON of an object written out, so that guards see what they say.

    OpenAI's metadata holds texts alone: clients that hold to that send them so.
    """
    try:
        fields = read_fields(body)
        metadata = read_fields(fields["metadata"])
        given = msgspec.Raw(_read_text(metadata["variables"]).encode())
        _read_object(given)
    except (KeyError, *WRONG):
        return body  # there are none, or they are an object already, or what stands there is refused later
    metadata["variables"] = given
    fields["metadata"] = msgspec.Raw(encode(metadata))
    return encode(fields)


def variables(body: bytes) -> object:
    """`metadata.variables` as the caller sent them. Raises BadRequest."""
    try:
        metadata = _read_varied(body).metadata
    except WRONG as error:
        raise BadRequest(str(error)) from None
    return metadata.variables if metadata is not None else None


def with_prompt(serves: str, body: bytes, prompt: Rendered) -> bytes:
    """The request with the prompt in it. Raises BadRequest where the format has no place for one."""
    place = _PLACES.get(serves)
    if place is None:
        raise BadRequest(f"a prompt (x-llmobs-prompt) has no place in a request for {serves}")
    try:
        fields = read_fields(body)
        _take_variables(fields)
        _name_model(fields, prompt.model)
        _set_params(fields, serves, prompt.params)
        place(fields, prompt)
    except WRONG as error:
        raise BadRequest(str(error)) from None
    return encode(fields)


def _is_absent(fields: Fields, name: str) -> bool:
    value = bytes(fields.get(name, b"null"))
    return len(value) < _SHORT and b"".join(value.split()) in _ABSENT


def _take_variables(fields: Fields) -> None:
    if _is_absent(fields, "metadata"):
        return
    metadata = read_fields(fields["metadata"])
    if metadata.pop("variables", None) is None:
        return
    if metadata:
        fields["metadata"] = msgspec.Raw(encode(metadata))
    else:
        del fields["metadata"]


def _name_model(fields: Fields, model: str) -> None:
    if model and (_is_absent(fields, "model") or msgspec.json.decode(fields["model"]) == AUTO):
        fields["model"] = msgspec.Raw(encode(model))


def _set_params(fields: Fields, serves: str, params: dict[str, Any]) -> None:
    has_ceiling = any(name in fields for name in _CEILINGS)
    for name, value in params.items():
        if serves == "count_tokens" and name not in _COUNTED:
            continue
        if name in _CEILINGS:
            if has_ceiling:
                continue
            if name != "max_tokens" or serves != "chat":  # what older servers know is left as it was written
                name = _CEILING[serves]
        if name not in fields:
            fields[name] = msgspec.Raw(encode(value))


def _place_chat(fields: Fields, prompt: Rendered) -> None:
    own = [] if _is_absent(fields, "messages") else _read_list(fields["messages"])
    leading = 0
    while leading < len(own) and _read_message(own[leading]).role in _SYSTEM:
        leading += 1
    system = [_message("system", text) for text in prompt.system]
    fields["messages"] = msgspec.Raw(encode([*system, *own[:leading], *_turns(prompt), *own[leading:]]))


def _place_messages(fields: Fields, prompt: Rendered) -> None:
    own = [] if _is_absent(fields, "messages") else _read_list(fields["messages"])
    fields["messages"] = msgspec.Raw(encode([*_turns(prompt), *own]))
    if not prompt.system:
        return
    system: object = "\n\n".join(prompt.system)
    if not _is_absent(fields, "system"):
        given = msgspec.json.decode(fields["system"])
        if isinstance(given, str):
            system = f"{system}\n\n{given}"
        else:  # blocks, which may carry a cache marker
            system = [{"type": "text", "text": system}, *(given if isinstance(given, list) else [given])]
    fields["system"] = msgspec.Raw(encode(system))


def _place_responses(fields: Fields, prompt: Rendered) -> None:
    if prompt.system:
        texts = list(prompt.system)
        if not _is_absent(fields, "instructions"):
            texts.append(_read_text(fields["instructions"]))
        fields["instructions"] = msgspec.Raw(encode("\n\n".join(texts)))
    if not prompt.turns:
        return
    own: list[msgspec.Raw] = []
    if not _is_absent(fields, "input"):
        given = fields["input"]
        is_text = bytes(given).lstrip()[:1] == b'"'
        own = [_message("user", _read_text(given))] if is_text else _read_list(given)
    fields["input"] = msgspec.Raw(encode([*_turns(prompt), *own]))


def _turns(prompt: Rendered) -> list[msgspec.Raw]:
    return [_message(role, text) for role, text in prompt.turns]


def _message(role: str, text: str) -> msgspec.Raw:
    return msgspec.Raw(encode({"role": role, "content": text}))


_PLACES: dict[str, Callable[[Fields, Rendered], None]] = {
    "chat": _place_chat,
    "messages": _place_messages,
    "count_tokens": _place_messages,
    "responses": _place_responses,
}
