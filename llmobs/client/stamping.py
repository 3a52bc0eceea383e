"""Stamps each span that begins with whom it is for."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from llmobs.client.attributing import ATTRIBUTES, current


class Stamp(SpanProcessor):
    """`defaults` hold where nothing is said. What the span says itself stays."""

    def __init__(self, defaults: Mapping[str, str]) -> None:
        self._defaults = dict(defaults)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        # A span with a context of its own (a root made on purpose) still begins inside the block.
        said = {**self._defaults, **current(), **(current(parent_context) if parent_context is not None else {})}
        own = span.attributes or {}
        for name, value in said.items():
            if value and ATTRIBUTES[name] not in own:
                span.set_attribute(ATTRIBUTES[name], value)

    def on_end(self, span: ReadableSpan) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True
