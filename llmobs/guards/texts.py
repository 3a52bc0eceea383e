"""Where people's and models' texts stand in a body: requests and answers of each wire format, and stored messages.

A body is decoded JSON. Texts come by message, each with the place where it stands, so that it can be replaced there.
What is no text (roles, types, ids, images, files, signatures) is passed over. A model's thoughts in a request are the
provider's own, signed: they go back as they came.

A name is read in whatever letters it is written, as providers in some languages read it. A type says what a block is,
not what of it is read: a text within is a text, whatever its block calls itself.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

INPUT, TOOL_RESULT, OUTPUT = "input", "tool_result", "output"

Json = dict[str, Any]
Rewrite = Callable[[str], str]

# Who wrote it is the application itself, or the model: not scored as an injection.
TRUSTED = frozenset({"system", "developer", "assistant"})
TOOLS = frozenset({"tool", "function"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
_TEXTS = frozenset(
    {
        "text", "content", "refusal", "thinking", "reasoning", "reasoning_content", "title", "context", "cited_text",
        "citations", "summary", "parts", "code", "transcript", "audio",
    }
)  # fmt: skip
_SYSTEM = frozenset({"system", "instructions"})
_SAID = frozenset({"messages", "input", "prompt"})
# What the application tells the model beside its messages.
_DESCRIBED = frozenset({"tools", "functions", "response_format", "text", "documents"})
_RESULT_KINDS = ("tool_result", "_output", "tool_call_response")
_RESULTS = ("content", "output", "response", "outputs")
_ARGUMENTS = ("arguments", "input")
MOST_DEPTH = 40
# A number of fewer digits is no telephone's and no card's.
SHORTEST_NUMBER = 10**10


@dataclass(slots=True)
class Place:
    """A text, or a JSON value with texts in it, at `holder[key]`. `is_json`: a text that is itself JSON (arguments);
    `has_numbers`: its numbers may be somebody's too, a schema's are not.
    """

    holder: Any
    key: Any
    is_json: bool = False
    has_numbers: bool = True

    def texts(self) -> Iterator[str]:
        yield from strings(self.holder[self.key])

    def rewritten(self, rewrite: Rewrite) -> Any:
        """What would stand there with `rewrite`'s answer in the place of each text."""
        value = self.holder[self.key]
        return rewritten_json(value, rewrite) if self.is_json else rewritten(value, rewrite, self.has_numbers)

    def rewrite(self, rewrite: Rewrite) -> None:
        """Put it there."""
        self.holder[self.key] = self.rewritten(rewrite)


@dataclass(slots=True)
class Message:
    """What one party said at once."""

    role: str
    where: str
    places: list[Place] = field(default_factory=list)

    @property
    def is_trusted(self) -> bool:
        return self.where != TOOL_RESULT and self.role in TRUSTED

    def text(self) -> str:
        """All of it, a line for each part."""
        return "\n".join(text for place in self.places for text in place.texts())


def asked(body: Json) -> list[Message]:
    """The messages of a request, of any wire format."""
    walk = _Walk(passes_thoughts=True)
    for name in _named(body, _SYSTEM):
        walk.add("system", body, name)
    for name in _named(body, _DESCRIBED):
        walk.found.append(Message("system", INPUT, [Place(body, name, has_numbers=False)]))
    for name in _named(body, _SAID):
        said = body[name]
        if isinstance(said, list):
            walk.add_items(said)
        elif isinstance(said, dict):  # a prompt stored at the provider, with its variables
            walk.add_variables(said)
        else:
            walk.add("user", body, name)
    if isinstance(body.get("prediction"), dict):
        walk.add("assistant", body["prediction"], "content")
    if isinstance(body.get("metadata"), dict):  # of a registered prompt: rendered after this
        walk.add_variables(body["metadata"])
    return walk.found


def answered(body: Json) -> list[Message]:
    """The one message of a whole answer, of any wire format."""
    message, walk = Message("assistant", OUTPUT), _Walk(where=OUTPUT)
    for choice in _dicts(body.get("choices")):
        walk.take_block(message.places, choice.get("message"))
        walk.take(message.places, choice, "text")
    walk.take(message.places, body, "content")
    for item in _dicts(body.get("output")):
        walk.take_block(message.places, item)
    return [message]


def shown(block: Any) -> list[Place]:
    """Where texts stand in a part of an answer: a message, an item, a block."""
    places: list[Place] = []
    _Walk(where=OUTPUT).take_block(places, block)
    return places


def stored(messages: Any, where: str) -> list[Message]:
    """Messages as spans keep them, `{"role", "parts"}`; of anything else, all texts as one message."""
    walk = _Walk(where)
    if isinstance(messages, list) and all(isinstance(message, dict) for message in messages):
        walk.add_items(messages)
        return walk.found
    return [Message("", where, [Place([messages], 0)])]


def strings(value: Any) -> Iterator[str]:
    """All texts within a JSON value, however deep."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            left += reversed(value.values())
        elif isinstance(value, list):
            left += reversed(value)


def rewritten(value: Any, rewrite: Rewrite, has_numbers: bool = True) -> Any:
    """The value with each text rewritten, names too; a number becomes a text where that changes it."""
    if isinstance(value, str):
        return rewrite(value)
    if isinstance(value, list):
        return [rewritten(item, rewrite, has_numbers) for item in value]
    if isinstance(value, dict):
        return {rewrite(key): rewritten(item, rewrite, has_numbers) for key, item in value.items()}
    if has_numbers and isinstance(value, int) and value >= SHORTEST_NUMBER:
        text = str(value)
        return value if (changed := rewrite(text)) == text else changed
    return value


def rewritten_json(text: Any, rewrite: Rewrite) -> Any:
    """A text that is JSON, rewritten within; it stays JSON. One that is none is a text like any other."""
    if not isinstance(text, str):
        return rewritten(text, rewrite)
    try:
        value = decode(text.encode())
    except (ValueError, RecursionError):
        return rewrite(text)
    changed = rewritten(value, rewrite)
    return text if changed == value else encode(changed).decode()


def decode(body: bytes) -> Any:
    """JSON as a value. Raises ValueError, RecursionError."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError):
        return json.loads(body)  # reads lone surrogates too


def encode(value: Any) -> bytes:
    """A value as JSON. Raises ValueError on what JSON cannot hold."""
    try:
        return msgspec.json.encode(value)
    except (UnicodeError, ValueError):
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


class _Walk:
    """Collects messages. In a request what tools brought is a message of its own, and thoughts are passed over."""

    def __init__(self, where: str = INPUT, passes_thoughts: bool = False) -> None:
        self.found: list[Message] = []
        self._where = where
        self._passes_thoughts = passes_thoughts

    def add(self, role: str, holder: Json, key: str) -> None:
        message = Message(role, self._where)
        self.take(message.places, holder, key)
        self._keep(message)

    def add_variables(self, holder: Json) -> None:
        if isinstance(holder.get("variables"), dict):
            self.found.append(Message("user", self._where, [Place(holder, "variables")]))

    def add_items(self, items: list[Any]) -> None:
        """Messages of chat and messages; items of responses; texts to embed."""
        for index, item in enumerate(items):
            if isinstance(item, str):
                self.found.append(Message("user", self._where, [Place(items, index)]))
            elif isinstance(item, dict):
                self._add_item(item)

    def _add_item(self, item: Json) -> None:
        role, kind = str(item.get("role") or ""), str(item.get("type") or "message")
        is_result = role in TOOLS or kind.endswith("_output")
        if not role and kind not in ("message", "text", "input_text"):
            role = "assistant"  # an item that the model made: a call of a function, its thoughts
        message = Message(role or "user", TOOL_RESULT if is_result and self._where == INPUT else self._where)
        self.take_block(message.places, item)
        self._keep(message)

    def _keep(self, message: Message) -> None:
        if message.places:
            self.found.append(message)

    def take(self, places: list[Place], holder: Any, key: Any, depth: int = 0) -> None:
        """The texts of content: a string, a block, or a list of both."""
        value = holder.get(key) if isinstance(holder, dict) else holder[key]
        if isinstance(value, str):
            if value:
                places.append(Place(holder, key))
        elif isinstance(value, dict):
            self.take_block(places, value, depth + 1)
        elif isinstance(value, list) and depth < MOST_DEPTH:
            for index in range(len(value)):
                self.take(places, value, index, depth + 1)
        elif isinstance(value, list):  # deeper than any format has it: all that is in it
            places.append(Place(holder, key))

    def take_block(self, places: list[Place], block: Any, depth: int = 0) -> None:
        """The texts of one block, message or item."""
        if not isinstance(block, dict):
            return
        kind, is_message = str(block.get("type") or ""), "role" in block
        if kind.endswith(_RESULT_KINDS) and not is_message:
            self._take_result(places, block)
            return
        is_thought = self._passes_thoughts and kind in _THOUGHTS and not is_message
        for name in _named(block, _TEXTS):
            if not is_thought or name.casefold() == "text":
                self.take(places, block, name, depth)
        if is_thought:
            return
        _take_arguments(places, block)
        source = block.get("source")
        for kind, name in (("text", "data"), ("content", "content")):  # of a document in plain text
            if isinstance(source, dict) and source.get("type") == kind:
                self.take(places, source, name, depth)

    def _take_result(self, places: list[Place], block: Json) -> None:
        own = Message("tool", TOOL_RESULT, [] if self._where == INPUT else places)
        for name in _RESULTS:
            if isinstance(block.get(name), str | list):
                self.take(own.places, block, name)
            elif block.get(name):
                own.places.append(Place(block, name))
        if self._where == INPUT:
            self._keep(own)


def _take_arguments(places: list[Place], block: Json) -> None:
    """What a tool is called with: a block's own, or those of chat's calls, which are JSON in a string."""
    calls = _dicts(block.get("tool_calls"))
    called = [call.get(kind) for call in calls for kind in ("function", "custom")]
    for holder in (block, block.get("function_call"), *called):
        for name in _ARGUMENTS:
            if isinstance(holder, dict) and holder.get(name):
                places.append(Place(holder, name, is_json=True))


def _named(holder: Json, names: frozenset[str]) -> list[str]:
    """Those of its names that are among these, in whatever letters."""
    return [name for name in holder if name in names or name.casefold() in names]


def _dicts(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
