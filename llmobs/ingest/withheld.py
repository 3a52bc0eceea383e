"""What the policies `hash` and `none` leave of a span: counts, times, whom it is of, and labels (`labels`).

1. Of its messages nothing; under `hash` their form, with a fingerprint in the place of each text.
2. Of its attributes and events numbers, labels, and under `hash` fingerprints of all other texts.
3. A name of its own that is no label is the operation's; an error that is none is `error`.
Whoever adds a convention adds its labels: what nobody has named is content. It fails closed.
"""

from collections.abc import Callable
from typing import Any

from llmobs.core.semconv import REFUSED
from llmobs.guards.redactor import Redactor
from llmobs.guards.texts import SHORTEST_NUMBER, rewritten
from llmobs.ingest.labels import (
    LONGEST_LABEL,
    is_attribute_name,
    is_label,
    is_label_of_messages,
    is_span_name,
    is_word,
    names_somebody,
)
from llmobs.spans.record import Span

Hide = Callable[[str], str | None]

NAMELESS, SOME_ERROR = "span", "error"
_EVENTS = "events"  # as `otlp.remains` keeps them
_NOTHING: tuple[Any, ...] = (None, [], {})


def withhold(span: Span, hide: Hide) -> None:
    """Change all but the messages in place. `hide`: what stands for a text; None: nothing does."""
    if span.operation_name and not is_word(span.operation_name):
        span.operation_name = ""
    if span.name and not is_span_name(span.name):
        span.name = span.operation_name or NAMELESS
    if span.error_type and not is_word(span.error_type):
        span.error_type = SOME_ERROR
    span.finish_reasons = tuple(reason for reason in span.finish_reasons if is_word(reason))
    is_refusal = span.status == REFUSED  # said by the gateway alone, in its own words
    if span.status_message:
        said = span.status_message
        span.status_message = Redactor().redact(said) if is_refusal else hide(said) or ""
    try:
        span.attributes = _entries("", span.attributes, hide, is_refusal)
    except RecursionError:
        span.attributes = {}


def hidden_messages(value: Any, hide: Callable[[str], str]) -> Any:
    """Messages in their form: roles, types and reasons stay, and counts; keys that are names."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, list):
        return [hidden_messages(item, hide) for item in value]
    if isinstance(value, dict):
        return {
            key if is_attribute_name(key) else hide(key): item
            if isinstance(item, str) and is_label_of_messages(key, item)
            else hidden_messages(item, hide)
            for key, item in value.items()
        }
    if isinstance(value, int) and value >= SHORTEST_NUMBER and names_somebody(str(value)):
        return hide(str(value))
    return value


def _entries(prefix: str, values: dict[str, Any], hide: Hide, is_refusal: bool) -> dict[str, Any]:
    """What is left of attributes, or of an object in one, whose names go on from the attribute's."""
    left: dict[str, Any] = {}
    for name, value in values.items():
        shown = name if is_attribute_name(name) else hide(name)
        if shown is not None and (kept := _value(prefix + name, value, hide, is_refusal)) not in _NOTHING:
            left[shown] = kept
    return left


def _value(name: str, value: Any, hide: Hide, is_refusal: bool) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _label(value, hide) if is_label(name, is_refusal) else hide(value)
    if isinstance(value, list):
        if name == _EVENTS:
            return [_event(event, hide) for event in value if isinstance(event, dict)]
        items = (_value(name, item, hide, is_refusal) for item in value)
        return [item for item in items if item not in _NOTHING]
    if isinstance(value, dict):
        return _entries(f"{name}.", value, hide, is_refusal)
    return hide(str(value))


def _label(text: str, hide: Hide) -> str | None:
    return hide(text) if len(text) > LONGEST_LABEL else rewritten(text, Redactor().redact)


def _event(event: dict[str, Any], hide: Hide) -> dict[str, Any]:
    """An event's attributes are called like a span's; its own name is a word, as instrumentations name them."""
    said = event.get("name")
    name = {"name": said} if isinstance(said, str) and is_word(said) else {}
    return name | _entries("", {key: value for key, value in event.items() if key != "name"}, hide, is_refusal=False)
