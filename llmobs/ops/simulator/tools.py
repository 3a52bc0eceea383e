"""Which tools an answer calls: those the request forces, or those its last text scripts.

`[[call NAME {"json": 1}]]` in the last user text calls NAME with these arguments, `[[call NAME]]` with arguments made
from its schema; several markers are parallel calls. A name that is not among the tools makes the call a 400.
"""

import json
from typing import Any

import msgspec

from llmobs.ops.simulator.instance import instance

CALL_BEGINS, CALL_ENDS = "[[call ", "]]"
PIECES = 4  # a call's arguments are streamed in so many


class Tool(msgspec.Struct, frozen=True):
    name: str
    parameters: dict[str, Any]


class ToolCall(msgspec.Struct, frozen=True):
    name: str
    arguments: dict[str, Any]

    @property
    def json(self) -> str:
        return json.dumps(self.arguments, ensure_ascii=False)

    @property
    def tokens(self) -> int:
        return 1 + len(self.json.split())

    def pieces(self) -> list[str]:
        """The arguments' JSON as it is streamed."""
        text = self.json
        size = max(1, -(-len(text) // PIECES))
        return [text[start : start + size] for start in range(0, len(text), size)]


class ToolError(Exception):
    """A tool is forced or scripted that was not given, or its arguments are no JSON object."""


class Choice(msgspec.Struct, frozen=True):
    """What the request says about calling: "auto", "none" or "required", and a `name` where it names one tool."""

    mode: str = "auto"
    name: str = ""
    is_parallel: bool = True


def calls(tools: list[Tool], choice: Choice, text: str) -> tuple[ToolCall, ...]:
    """The calls to answer with; empty: answer text. Raises ToolError."""
    if choice.mode == "none" or not tools:
        return ()
    by_name = {tool.name: tool for tool in tools}
    scripted = [_call(by_name, name, arguments) for name, arguments in _markers(text)]
    if choice.name:
        scripted = [call for call in scripted if call.name == choice.name] or [_call(by_name, choice.name, None)]
    elif choice.mode == "required" and not scripted:
        scripted = [_call(by_name, tools[0].name, None)]
    return tuple(scripted if choice.is_parallel else scripted[:1])


def _call(tools: dict[str, Tool], name: str, arguments: dict[str, Any] | None) -> ToolCall:
    if name not in tools:
        raise ToolError(f"there is no tool {name[:50]!r}")
    made = instance(tools[name].parameters) if arguments is None else arguments
    return ToolCall(name, made if isinstance(made, dict) else {})


def _markers(text: str) -> list[tuple[str, dict[str, Any] | None]]:
    found = []
    at = text.find(CALL_BEGINS)
    while at >= 0:
        at += len(CALL_BEGINS)
        end = text.find(CALL_ENDS, at)
        name, has_arguments, _ = text[at : end if end >= 0 else len(text)].partition(" ")
        arguments = None
        if has_arguments:
            # The arguments may hold "]]" themselves: where they end, their own syntax says.
            try:
                arguments, end = json.JSONDecoder().raw_decode(text, at + len(name) + 1)
            except json.JSONDecodeError as error:
                raise ToolError(f"the arguments scripted for {name[:50]!r} are no JSON: {error}") from None
        if not text.startswith(CALL_ENDS, end) or not isinstance(arguments, dict | None):
            raise ToolError(f"the call scripted for {name[:50]!r} is not [[call NAME {{...}}]]")
        found.append((name, arguments))
        at = text.find(CALL_BEGINS, end)
    return found
