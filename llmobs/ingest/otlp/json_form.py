"""OTLP/JSON as msgspec structs: hex ids, 64-bit integers as strings or numbers, unknown fields skipped.

https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from typing import Any

import msgspec

from llmobs.ingest.references import decoded, reference


class AnyValue(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    array_value: "ArrayValue | None" = None
    kvlist_value: "KeyValueList | None" = None
    bytes_value: str | None = None

    def plain(self) -> Any:
        """The value as plain Python; None where none is set. Raises ValueError for an integer that is none."""
        if self.string_value is not None:
            return self.string_value
        if self.int_value is not None:
            return _int64(self.int_value)
        if self.bool_value is not None:
            return self.bool_value
        if self.double_value is not None:
            return float(self.double_value)
        if self.array_value is not None:
            return [value.plain() for value in self.array_value.values or ()]
        if self.kvlist_value is not None:
            return attributes(self.kvlist_value.values)
        return None if self.bytes_value is None else reference(decoded(self.bytes_value))


class ArrayValue(msgspec.Struct, rename="camel"):
    values: list[AnyValue] | None = None


class KeyValue(msgspec.Struct, rename="camel"):
    key: str = ""
    value: AnyValue | None = None


class KeyValueList(msgspec.Struct, rename="camel"):
    values: list[KeyValue] | None = None


class Status(msgspec.Struct, rename="camel"):
    message: str = ""
    code: int | str = 0


class Event(msgspec.Struct, rename="camel"):
    time_unix_nano: int | str = 0
    name: str = ""
    attributes: list[KeyValue] | None = None


class SpanForm(msgspec.Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str | None = None
    name: str = ""
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[KeyValue] | None = None
    events: list[Event] | None = None
    status: Status | None = None


class Scope(msgspec.Struct, rename="camel"):
    name: str = ""
    version: str | None = None


class ScopeSpans(msgspec.Struct, rename="camel"):
    scope: Scope | None = None
    spans: list[SpanForm] | None = None


class Resource(msgspec.Struct, rename="camel"):
    attributes: list[KeyValue] | None = None


class ResourceSpans(msgspec.Struct, rename="camel"):
    resource: Resource | None = None
    scope_spans: list[ScopeSpans] | None = None


class TracesRequest(msgspec.Struct, rename="camel"):
    resource_spans: list[ResourceSpans] | None = None


def attributes(pairs: list[KeyValue] | None) -> dict[str, Any]:
    return {pair.key: None if pair.value is None else pair.value.plain() for pair in pairs or ()}


def _int64(value: int | str) -> int:
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError("not a 64-bit integer")
    return number
