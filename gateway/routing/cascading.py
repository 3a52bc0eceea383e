"""Whether a cheap answer is good enough, or the dearer model is asked: a score from 0 to 1 of the answer's text. Pure.

Each sign takes from the score; below the route's threshold the cascade goes on. What is scored is a whole answer:
a stream cannot be taken back once it flows, so the gateway asks for whole answers where a route cascades.
"""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

THRESHOLD = 0.5
MOST_SCORED_BYTES = 1024 * 1024  # the signs stand at the beginning; a longer answer is no stub
SHORT_CHARACTERS = 12
HEAD_CHARACTERS = 400  # a refusal or a doubt stands at the beginning; later it is what the answer speaks of

_REFUSES = re.compile(
    r"\b(i|we)( am|'m|’m| are)? ?(sorry|unable|not able|can ?not|can't|can’t|won't|won’t)\b.{0,60}"
    r"\b(help|assist|comply|answer|provide|do that|fulfil|fulfill|respond|determine)"
    r"|\bas an ai\b|\bas a language model\b",
    re.IGNORECASE | re.DOTALL,
)
_DOUBTS = re.compile(
    r"\b(i('m|’m| am)? not (entirely |completely |really )?(sure|certain)|i (do not|don't|don’t) know"
    r"|it('s|’s| is) (unclear|hard to say|difficult to say)|i (may|might) be wrong|cannot be determined"
    r"|(i|we) (lack|don't have|don’t have|do not have) (enough |sufficient |the necessary )(information|context))",
    re.IGNORECASE,
)
_FENCE = "```"

# What each sign leaves of the score; several leave their product.
LEAVES = {"refuses": 0.2, "doubts": 0.4, "short": 0.45, "cut_by_length": 0.4}


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the model said, whatever its format."""

    text: str
    has_tool_calls: bool = False
    finish_reason: str = ""


def score(spoken: Spoken, wants_json: bool = False) -> float:
    """How good the answer looks: 0 nothing of use, 1 no sign against it."""
    if spoken.has_tool_calls:
        return 1.0
    text = spoken.text.strip()
    if not text or (wants_json and not _is_json(text)):
        return 0.0
    head, found = text[:HEAD_CHARACTERS], 1.0
    if _REFUSES.search(head):
        found *= LEAVES["refuses"]
    if _DOUBTS.search(head):
        found *= LEAVES["doubts"]
    if len(text) < SHORT_CHARACTERS and not wants_json and not _is_verdict(text):
        found *= LEAVES["short"]
    if spoken.finish_reason in ("length", "max_tokens", "max_output_tokens"):
        found *= LEAVES["cut_by_length"]
    return found


def goes_on(spoken: Spoken, threshold: float = THRESHOLD, wants_json: bool = False) -> bool:
    """Whether the next, dearer candidate is asked."""
    return score(spoken, wants_json) < threshold


def wants_json(body: bytes) -> bool:
    """Whether a request asks for JSON as its answer."""
    return b'"response_format"' in body and (b'"json_object"' in body or b'"json_schema"' in body)


def spoken(body: bytes, dialect: str) -> Spoken:
    """What a whole answer said, in the provider's own format; empty where it is none."""
    if len(body) > MOST_SCORED_BYTES:
        return Spoken(body[:HEAD_CHARACTERS].decode("utf-8", "replace"))
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Spoken("")
    if not isinstance(answer, dict):
        return Spoken("")
    if dialect == "anthropic":
        return _anthropic(answer)
    return _responses(answer) if "output" in answer else _chat(answer)


def _chat(answer: dict[str, Any]) -> Spoken:
    choice = next(iter(_objects(answer.get("choices"))), {})
    message = choice.get("message")
    if not isinstance(message, dict):
        return Spoken(_text(choice.get("text")), False, _text(choice.get("finish_reason")))
    content = message.get("content")
    said = content if isinstance(content, str) else _parts(content)
    has_tools = bool(message.get("tool_calls") or message.get("function_call"))
    return Spoken(said or _text(message.get("refusal")), has_tools, _text(choice.get("finish_reason")))


def _anthropic(answer: dict[str, Any]) -> Spoken:
    content = answer.get("content")
    has_tools = any(part.get("type") in ("tool_use", "server_tool_use") for part in _objects(content))
    return Spoken(_parts(content), has_tools, _text(answer.get("stop_reason")))


def _responses(answer: dict[str, Any]) -> Spoken:
    output = _objects(answer.get("output"))
    has_tools = any(str(item.get("type", "")).endswith("_call") for item in output)
    said = "".join(_parts(item.get("content")) for item in output)
    details = answer.get("incomplete_details")
    return Spoken(said, has_tools, _text(details.get("reason")) if isinstance(details, dict) else "")


def _parts(content: object) -> str:
    return "".join(_text(part.get("text")) for part in _objects(content))


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_verdict(text: str) -> bool:
    """A label or a number is a whole answer to a question that asks for one: `positive`, `42`, `yes.`"""
    return re.fullmatch(r"[\w.,%€$-]+[.!]?", text) is not None


def _unfenced(text: str) -> str:
    """Without the marks of a block of code around it."""
    return text.strip().removeprefix(f"{_FENCE}json").removeprefix(_FENCE).removesuffix(_FENCE)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(_unfenced(text))
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True
