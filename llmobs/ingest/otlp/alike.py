"""Spans that are like others before them, made of those by the compiled module: only what is their own is read.

An exporter sends the same few kinds of spans over and over. Two calls whose attributes have the same names (their
shape, `otlp.usual`), and that say the same operation, provider, models, name and status, differ in their ids, times,
tokens, user, contents and in the attributes that are kept, and in nothing else. So a span that was read in full is
kept as a template, and the next of its kind is a copy of it, filled:

1. `spans_alike` (`_compiled_usual.c`) gives the spans that it can make, and tuples of all others with what they teach.
2. Those are read in full. What was new of one is kept: the plan of its shape first, then the span as a template.
Whatever is unusual in a value is read in full, each time.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from llmobs.ingest import compiled
from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.otlp import genai, messages
from llmobs.ingest.otlp.usual import Shape, shape_of
from llmobs.ingest.otlp.wire import PROTOBUF, Received, has_bytes, media_type
from llmobs.pricing.usage import Usage
from llmobs.spans.record import Span

MOST_SHAPES = 1024
MOST_TEMPLATES = 4096  # of all shapes together, about 1 KB each; when there are more, all are forgotten

# What becomes of an attribute, as in `_compiled_usual.c`: a field of the span, or kept (0).
_OPERATION, _RESPONSE_ID, _USER, _SESSION, _FEATURE, _INPUT, _OUTPUT, _AS_IT_IS = 1, 6, 7, 8, 9, 10, 11, 18
_FIELDS = {"provider": 2, "request_model": 3, "response_model": 4, "error": 5}
_COUNTS = {
    "input_tokens": 12, "output_tokens": 13, "cache_read": 14, "cache_write": 15, "cache_write_1h": 16,
    "reasoning": 17,
}  # fmt: skip
_RANK_BITS, _MOST_RANKS = 5, 8
# Taken of calls alone: of other spans they stay attributes.
_OF_CALLS = frozenset((*genai.EVERY_NAME.counts, *genai.EVERY_NAME.finish, *genai.EVERY_NAME.is_stream))
Plan = tuple[bytes, tuple[str, ...], dict[bytes, Span | None]]  # actions, names, templates
Found = Span | dict[str, Any] | tuple[Any, ...]

_compiled = compiled.loaded()


class Kinds:
    """What was learned of the spans that came so far."""

    def __init__(self) -> None:
        self._plans: dict[bytes, Plan | None] = {}
        self._templates = 0

    def read(self, entry: OtlpBody, oldest_ns: int, newest_ns: int) -> list[Found] | None:
        """In the order of the body: each resource before its spans; spans that are ready but for whom they are of
        (user, session, feature: the attribution is a tuple of them); tuples for `learned`. None: read in full.
        """
        if _compiled is None or media_type(entry.content_type) != PROTOBUF:
            return None
        makings = (Span, Usage, messages.official, self._plans)
        found: list[Found] | None = _compiled.spans_alike(
            entry.body, makings, entry.tenant_id, max(oldest_ns, 1), max(newest_ns, 0)
        )
        if found is not None and any(type(each) is tuple and has_bytes(each) for each in found):
            return None
        return found

    def learned(self, found: tuple[Any, ...], read: Callable[[Received], Span | None]) -> Span | None:
        """The span of such a tuple as `read` reads it; what can be is kept for the next one that is like it."""
        received, teaches = Received(*found[:-1]), found[-1]
        names = tuple(received.attributes)
        span = read(received)
        if isinstance(teaches, bytes):
            self._learn_shape(teaches, names, received.scope_name)
        elif teaches is not None and span is not None:
            templates, key = teaches
            self._learn_template(templates, key, names, span)
        return span

    def _learn_shape(self, key: bytes, names: tuple[str, ...], scope_name: str) -> None:
        if len(self._plans) >= MOST_SHAPES:
            self._forget()
        shape = shape_of(names, scope_name)
        actions = None if shape is None else _actions(names, shape)
        self._plans[key] = None if actions is None else (actions, names, {})

    def _learn_template(
        self, templates: dict[bytes, Span | None], key: bytes, names: tuple[str, ...], span: Span
    ) -> None:
        if self._templates >= MOST_TEMPLATES:
            self._forget()
            return
        self._templates += 1
        is_alike = span.is_call or _OF_CALLS.isdisjoint(names)
        templates[key] = replace(span, attributes={}, input=None, output=None, usage=None) if is_alike else None

    def _forget(self) -> None:
        self._plans.clear()
        self._templates = 0


def _actions(names: tuple[str, ...], shape: Shape) -> bytes | None:
    """What becomes of each attribute of a shape; None: more than is foreseen."""
    of = shape.names
    if of.system or of.total or of.cost or of.ttft or of.others or shape.whom.has_more:
        return None
    fields: list[tuple[int, tuple[str, ...]]] = [
        (_OPERATION, (genai.OPERATION,)), (_RESPONSE_ID, of.response_id), (_INPUT, of.input), (_OUTPUT, of.output),
        (_USER, shape.whom.user), (_SESSION, shape.whom.session), (_FEATURE, shape.whom.feature),
    ]  # fmt: skip
    fields += [(slot, getattr(of, field)) for field, slot in _FIELDS.items()]
    fields += [
        (slot, tuple(name for name in of.counts if genai.COUNTS[name] == field)) for field, slot in _COUNTS.items()
    ]
    fields += [(_AS_IT_IS, (name,)) for name in (*of.finish, *of.is_stream)]
    taken = [name for _, group in fields for name in group]
    if len(taken) != len(set(taken)) or any(len(group) > _MOST_RANKS for _, group in fields):
        return None
    actions = {name: slot | rank << _RANK_BITS for slot, group in fields for rank, name in enumerate(group)}
    return bytes(actions.get(name, 0) for name in names)
