"""A journalled traces request into spans in our vocabulary.

For each span: 1. leave it out if `check` named it; 2. an adapter takes what it understands (`adapters`), at once where
its attributes' names are usual (`usual`);
3. attribution; 4. usage in its normal form; 5. content out of the attributes, large values cut, events made compact;
6. what could not be explained is noted (`remarks`).
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from llmobs.core import semconv
from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.otlp import adapters, names, remarks
from llmobs.ingest.otlp.alike import Found, Kinds
from llmobs.ingest.otlp.check import DAY_NS, DEFAULT_RETENTION_DAYS, fault
from llmobs.ingest.otlp.reading import Attributes, Reading
from llmobs.ingest.otlp.remains import is_tidy, note, tidy
from llmobs.ingest.otlp.tokens import normal_usage
from llmobs.ingest.otlp.usual import Shape, shape_of
from llmobs.ingest.otlp.whom import Origin, attribute, attributed, origin
from llmobs.ingest.otlp.wire import Event, Received, received
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

MOST_CHARACTERS_OF_A_NAME = 200
MOST_CHARACTERS_OF_A_MESSAGE = 2000

_NO_SPAN = bytes(8)
_KINDS = Kinds()
_FIRST_TOKEN_EVENT = "First Token Stream Event"  # noqa: S105


def decode(entry: OtlpBody, key_attribution: Attribution, retention_days: int = DEFAULT_RETENTION_DAYS) -> list[Span]:
    """The spans of a checked body, those that `check` rejected left out. Raises OtlpError if it does not parse."""
    oldest_ns, newest_ns = entry.received_ns - retention_days * DAY_NS, entry.received_ns + DAY_NS
    found = _KINDS.read(entry, oldest_ns, newest_ns)
    if found is not None and not any(type(each) is dict and adapters.is_marked(each) for each in found):
        return _by_kinds(found, entry.tenant_id, key_attribution, (oldest_ns, newest_ns))
    spans: list[Span] = []
    resource: Attributes | None = None
    for span in received(entry.body, entry.content_type):
        if span.resource is not resource:  # one for all of its spans
            resource, of = span.resource, origin(span.resource, key_attribution)
        if not fault(span.identity, oldest_ns, newest_ns):
            spans.append(_span(span, entry.tenant_id, of))
    return spans


def _by_kinds(found: list[Found], tenant_id: int, key: Attribution, between: tuple[int, int]) -> list[Span]:
    """Spans that are like others, which were made already, and all others in full."""
    spans: list[Span] = []
    of, who = origin({}, key), key
    said: Any = None  # by the span before: user, session and feature, one tuple as long as they stay
    for each in found:
        if isinstance(each, Span):
            if each.attribution is not said:
                said = each.attribution
                who = attributed(of, *said)
            each.attribution = who
            spans.append(each)
        elif isinstance(each, dict):
            of, said = origin(each, key), None
        elif (span := _KINDS.learned(each, partial(_possible, tenant_id, of, between))) is not None:
            spans.append(span)
    return spans


def _possible(tenant_id: int, of: Origin, between: tuple[int, int], span: Received) -> Span | None:
    return None if fault(span.identity, *between) else _span(span, tenant_id, of)


def _span(span: Received, tenant_id: int, of: Origin) -> Span:
    trace_id, span_id, parent_span_id, start_ns, end_ns = span.identity
    shape = _shape(span)
    reading = _read(span, shape, start_ns)
    attribution = attribute(span.attributes, of, reading, None if shape is None else shape.whom)
    usage, is_estimated = normal_usage(reading)
    _read_events(span.events, reading, start_ns)
    unknown = _tidied(span, shape, reading, start_ns)
    remarks.flag_known_limits(reading, usage, span.scope_name)
    error_type = _error_type(span, reading)
    start_ns -= min(reading.starts_earlier_ns, start_ns)
    return Span(
        tenant_id=tenant_id,
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=None if not parent_span_id or parent_span_id == _NO_SPAN else parent_span_id,
        start_ns=start_ns,
        duration_ns=end_ns - start_ns,
        name=_label(span.name),
        source=semconv.SOURCE_OTLP,
        attribution=attribution,
        is_call=reading.is_call,
        operation_name=_label(reading.operation_name),
        status=_status(span, reading, error_type),
        error_type=error_type,
        status_message=span.status_message[:MOST_CHARACTERS_OF_A_MESSAGE].replace("\x00", ""),
        provider_name=_label(reading.provider_name),
        request_model=_label(reading.request_model),
        response_model=_label(reading.response_model),
        response_id=_label(reading.response_id),
        finish_reasons=tuple(_label(reason) for reason in reading.finish_reasons[:16]),
        usage=usage,
        is_estimated=is_estimated,
        stated_cost_nanousd=reading.stated_cost_nanousd if reading.is_call else None,
        ttft_ns=reading.ttft_ns,
        is_stream=reading.is_stream,
        prompt_version=_label(reading.prompt_version),
        scope_name=_label(span.scope_name),
        scope_version=_label(span.scope_version),
        adapter=reading.adapter,
        remarks=(*reading.remarks, *unknown),
        attributes=span.attributes,
        input=reading.input,
        output=reading.output,
    )


def _shape(span: Received) -> Shape | None:
    if span.events or adapters.is_marked(span.resource):
        return None
    return shape_of(tuple(span.attributes), span.scope_name)


def _read(span: Received, shape: Shape | None, start_ns: int) -> Reading:
    if shape is None:
        return adapters.read(span, start_ns)
    return adapters.read_usual(span, shape.names, shape.adapter)


def _tidied(span: Received, shape: Shape | None, reading: Reading, start_ns: int) -> tuple[str, ...]:
    """The attributes as they are kept; what there is to say of their names."""
    attributes = span.attributes
    if shape is None or not is_tidy(attributes):
        tidy(attributes, span.events, reading, start_ns)
        shape = None
    if len(span.name) > MOST_CHARACTERS_OF_A_NAME or len(span.status_message) > MOST_CHARACTERS_OF_A_MESSAGE:
        note("text_cut", reading)
    if shape is None or shape.names.counts:
        remarks.flag_unreadable(attributes, reading)
    if shape is not None and reading.is_call:  # of what is no call counts and the like are left
        return shape.unknown
    if reading.adapter == adapters.PLAIN.code:
        return remarks.unknown_of_plain(attributes, span.scope_name, span.name)
    return remarks.unknown(attributes)


def _read_events(events: Iterable[Event], reading: Reading, start_ns: int) -> None:
    for name, at_ns, attributes in events:
        if name == _FIRST_TOKEN_EVENT and reading.ttft_ns is None and at_ns >= start_ns:
            reading.ttft_ns, reading.is_stream = at_ns - start_ns, True
        elif name == "exception" and not reading.error_type:
            reading.error_type = str(attributes.get("exception.type") or "")
    if reading.ttft_ns is not None:
        reading.is_stream = True


def _error_type(span: Received, reading: Reading) -> str:
    if reading.error_type and (span.is_error or reading.is_failed or not span.events):
        return _label(names.error(reading.error_type))
    if span.is_error or reading.is_failed:
        return _label(names.error_in(span.status_message)) or "error"
    return ""


def _status(span: Received, reading: Reading, error_type: str) -> str:
    if not (span.is_error or reading.is_failed or error_type):
        return semconv.OK
    return semconv.TIMED_OUT if error_type == "timeout" else semconv.FAILED


def _label(text: str) -> str:
    if len(text) > MOST_CHARACTERS_OF_A_NAME:
        text = text[:MOST_CHARACTERS_OF_A_NAME]
    return text.replace("\x00", "") if "\x00" in text else text
