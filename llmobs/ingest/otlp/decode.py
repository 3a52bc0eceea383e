"""A journalled traces request into spans in our vocabulary.

For each span: 1. leave it out if `check` named it; 2. choose the adapter by what the span says it is, in a fixed order;
3. the adapter takes what it understands, the general `gen_ai` reading takes the rest; 4. attribution; 5. usage in its
normal form; 6. content out of the attributes, large values cut, events made compact.
"""

from collections.abc import Iterable

from llmobs.core import semconv
from llmobs.ingest.entries import OtlpBody
from llmobs.ingest.otlp import (
    genai,
    langfuse,
    litellm,
    logfire,
    mlflow,
    names,
    openinference,
    openlit,
    traceloop,
    vercel,
)
from llmobs.ingest.otlp.check import DAY_NS, DEFAULT_RETENTION_DAYS, fault
from llmobs.ingest.otlp.reading import Attributes, Reading
from llmobs.ingest.otlp.remains import tidy
from llmobs.ingest.otlp.tokens import normal_usage
from llmobs.ingest.otlp.whom import attribute
from llmobs.ingest.otlp.wire import Event, Received, received
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

MOST_CHARACTERS_OF_A_NAME = 200
MOST_CHARACTERS_OF_A_MESSAGE = 2000

_NO_SPAN = bytes(8)
_FIRST_TOKEN_EVENT = "First Token Stream Event"  # noqa: S105
# gen_ai operations that work with models without calling one.
_NO_CALLS = frozenset(
    {semconv.INVOKE_AGENT, semconv.CREATE_AGENT, semconv.EXECUTE_TOOL, semconv.INVOKE_WORKFLOW, "execute_task"}
)


def decode(entry: OtlpBody, key_attribution: Attribution, retention_days: int = DEFAULT_RETENTION_DAYS) -> list[Span]:
    """The spans of a checked body, those that `check` rejected left out. Raises OtlpError if it does not parse."""
    oldest_ns, newest_ns = entry.received_ns - retention_days * DAY_NS, entry.received_ns + DAY_NS
    return [
        _span(span, entry.tenant_id, key_attribution)
        for span in received(entry.body, entry.content_type)
        if not fault(span.identity, oldest_ns, newest_ns)
    ]


def _span(span: Received, tenant_id: int, key: Attribution) -> Span:
    trace_id, span_id, parent_span_id, start_ns, end_ns = span.identity
    reading = _read(span, start_ns)
    attribution = attribute(span.attributes, span.resource, reading, key)
    usage, is_estimated = normal_usage(reading)
    _read_events(span.events, reading, start_ns)
    tidy(span.attributes, span.events, reading, start_ns)
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
        attributes=span.attributes,
        input=reading.input,
        output=reading.output,
    )


def _read(span: Received, start_ns: int) -> Reading:
    attributes, reading = span.attributes, Reading()
    _read_convention(attributes, reading, start_ns)
    genai.fill(attributes, reading)
    if "gen_ai.prompt.0.role" in attributes or "gen_ai.completion.0.role" in attributes:
        genai.fill_numbered(attributes, reading)
    if "traceloop.entity.input" in attributes or "traceloop.entity.output" in attributes:
        traceloop.fill_entity(attributes, reading)
    if span.scope_name.startswith(logfire.SCOPE):
        logfire.refine(attributes, reading, span.name, span.is_error)
    elif span.scope_name == litellm.SCOPE or litellm.USAGE in attributes:
        litellm.refine(attributes, reading)
    elif attributes.get(openlit.SDK) == openlit.NAME or span.resource.get(openlit.SDK) == openlit.NAME:
        openlit.refine(attributes, reading)
    _name(reading, span.scope_name)
    return reading


def _read_convention(attributes: Attributes, reading: Reading, start_ns: int) -> None:
    """The first sign that says what the span is decides, in this order."""
    if openinference.KIND in attributes:
        openinference.read(attributes, reading)
    elif langfuse.TYPE in attributes:
        langfuse.read(attributes, reading, start_ns)
    elif mlflow.TYPE in attributes:
        mlflow.read(attributes, reading)
    elif vercel.OPERATION in attributes:
        vercel.read(attributes, reading)
    elif genai.OPERATION in attributes:
        name = genai.operation(str(attributes[genai.OPERATION]))
        reading.is_call = name in semconv.CALL_OPERATIONS or (
            name not in _NO_CALLS and bool(attributes.get(genai.REQUEST_MODEL))
        )
    elif traceloop.KIND in attributes:
        traceloop.read_kind(attributes, reading)
    elif traceloop.REQUEST_TYPE in attributes:
        traceloop.read_request_type(attributes, reading)
    elif attributes.get(genai.REQUEST_MODEL) or attributes.get("llm.model_name"):
        reading.is_call, reading.operation_name = True, semconv.CHAT
        reading.response_model = str(attributes.pop("llm.model_name", ""))


def _name(reading: Reading, scope_name: str) -> None:
    """One spelling of provider and models. A model's prefix names the provider where nothing better does."""
    reading.provider_name = names.provider(reading.provider_name)
    asked_of, asked = names.split_model(reading.request_model)
    answered_by, answered = names.split_model(reading.response_model)
    prefix = asked_of or answered_by
    # google-adk and litellm write the maker before the model, and google-adk itself as the provider.
    if prefix and (reading.provider_name in ("", prefix) or "google_adk" in scope_name or "litellm" in scope_name):
        reading.provider_name, reading.request_model, reading.response_model = prefix, asked, answered
    if not reading.provider_name and reading.is_call:
        reading.provider_name = names.provider_of_model(reading.response_model or reading.request_model)


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
