"""Makes a week of history from the trace: OTLP as applications would have sent it, hour by hour.

An hour is made from its own number alone: the same hour has the same spans (ids too) in every run, so that a second run
within the week adds only the hours since. Sizes of prompts and answers are the trace's; what the trace does not hold
(models, tools, errors, durations, when people work) is made up here.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status

from llmobs.ops.demo.plan import (
    ATLAS,
    CODE_FEATURE,
    CODE_MODEL,
    CODE_USERS,
    CONVERSATION_MODEL,
    CONVERSATION_USERS,
    FORGE,
)
from llmobs.ops.demo.trace import Row

HOUR_S = 3600
WEEK_HOURS = 168
SPANS_PER_BATCH = 500
NS = 1_000_000_000

# Share of a day's traffic by hour (UTC), as offices work; weekends have the given part of it.
DAY_SHAPE = (2, 1, 1, 1, 1, 2, 4, 7, 11, 13, 14, 13, 11, 12, 13, 13, 12, 10, 7, 5, 4, 4, 3, 3)
WEEKEND_PART = 0.35
WEEK_WEIGHT = sum(DAY_SHAPE) * (5 + 2 * WEEKEND_PART)

# Mean spans of a trace, by the shares in `_atlas` and `_forge`.
SPANS_PER_TRACE = 1.92
ATLAS_PART = 0.65

ERROR_RATE, INCIDENT_ERROR_RATE = 0.012, 0.18
# About one hour in sixty, the same whoever asks: a provider has an incident.
INCIDENT_EVERY_HOURS = 61

ERRORS = (("RateLimitError", "429: too many requests"), ("APITimeoutError", "no answer within 30 s"))
TOOLS = ("find_order", "search_documents", "create_ticket", "read_calendar")
CODE_TOOLS = ("read_file", "run_tests", "search_code")


@dataclass(frozen=True, slots=True)
class Model:
    provider: str
    name: str
    token_ms: float  # per token of the answer
    weight: int


CONVERSATION_MODELS = (
    Model("openai", CONVERSATION_MODEL, 9.0, 74),
    Model("openai", "gpt-4o", 14.0, 8),
    Model("anthropic", "claude-haiku-4-5", 8.0, 10),
    Model("gcp.gemini", "gemini-2.5-flash", 6.0, 8),
)
CODE_MODELS = (
    Model("anthropic", CODE_MODEL, 16.0, 82),
    Model("openai", "gpt-4.1-mini", 9.0, 18),
)
EMBEDDING = Model("openai", "text-embedding-3-small", 0.0, 1)


@dataclass(frozen=True, slots=True)
class Batch:
    """One request to /v1/traces."""

    tenant: str
    body: bytes
    span_count: int


@dataclass(slots=True)
class _Hour:
    """What makes one hour of one tenant."""

    random: Random
    rows: Sequence[Row]
    service: str
    latency: float
    error_rate: float
    spans: list[Span] = field(default_factory=list)
    trace_id: bytes = b""
    feature: str = ""
    user: str = ""
    session: str = ""


def hours_before(now_s: float, hours: int = WEEK_HOURS) -> range:
    """The numbers of the whole hours before the running one, oldest first (hours since 1970)."""
    current = int(now_s) // HOUR_S
    return range(current - hours, current)


def batches(
    conversation: Sequence[Row], code: Sequence[Row], hours: Sequence[int], spans_per_week: int = 100_000
) -> Iterator[Batch]:
    """The hours' spans, oldest first, one tenant per batch; about `spans_per_week` for 168 hours."""
    for hour in hours:
        traces = spans_per_week / SPANS_PER_TRACE * _weight(hour)
        for tenant, rows, part in ((ATLAS, conversation, ATLAS_PART), (FORGE, code, 1 - ATLAS_PART)):
            if rows:
                yield from _hour_of(tenant, rows, hour, traces * part)


def _weight(hour: int) -> float:
    """The hour's share of a week's traffic."""
    at = datetime.fromtimestamp(hour * HOUR_S, UTC)
    return DAY_SHAPE[at.hour] * (WEEKEND_PART if at.weekday() >= 5 else 1.0) / WEEK_WEIGHT


def _hour_of(tenant: str, rows: Sequence[Row], hour: int, traces: float) -> Iterator[Batch]:
    random = Random(f"{tenant}-{hour}")  # noqa: S311 - made-up history, the same each time
    is_incident = hour % INCIDENT_EVERY_HOURS == 0
    made = _Hour(
        random,
        rows,
        service="assistant" if tenant == ATLAS else "editor",
        latency=2.2 if is_incident else 1.0 + 0.15 * math.sin(hour / 7),
        error_rate=INCIDENT_ERROR_RATE if is_incident else ERROR_RATE,
    )
    count = int(traces * random.uniform(0.85, 1.15) + random.random())
    for number in range(count):
        # The last minute stays free: what begins in the hour ends in it.
        start_ns = hour * HOUR_S * NS + random.randrange((HOUR_S - 60) * NS)
        (_atlas if tenant == ATLAS else _forge)(made, start_ns, number)
        if len(made.spans) >= SPANS_PER_BATCH:
            yield _batch(tenant, made)
    if made.spans:
        yield _batch(tenant, made)


def _batch(tenant: str, made: _Hour) -> Batch:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    _put(resource.resource, "service.name", made.service)
    _put(resource.resource, "deployment.environment.name", "production")
    _put(resource.resource, "telemetry.sdk.language", "python")
    scope = ScopeSpans()
    scope.scope.name = "llmobs.demo"
    scope.spans.extend(made.spans)
    resource.scope_spans.append(scope)
    batch = Batch(tenant, request.SerializeToString(), len(made.spans))
    made.spans.clear()
    return batch


# ---------------------------------------------------------------- traces


def _atlas(made: _Hour, start_ns: int, number: int) -> None:
    _begin(made, "support" if number % 2 else "search", ATLAS, CONVERSATION_USERS)
    dice = made.random.random()
    if dice < 0.62:
        _call(made, b"", start_ns, CONVERSATION_MODELS, has_messages=dice < 0.08)
    elif dice < 0.85:
        _agent(made, "support-agent", start_ns, CONVERSATION_MODELS, TOOLS)
    else:
        _retrieval(made, start_ns)


def _forge(made: _Hour, start_ns: int, number: int) -> None:
    _begin(made, CODE_FEATURE, FORGE, CODE_USERS)
    if number % 7:
        _call(made, b"", start_ns, CODE_MODELS, has_messages=number % 11 == 0)
    else:
        _agent(made, "review-agent", start_ns, CODE_MODELS, CODE_TOOLS)


def _begin(made: _Hour, feature: str, tenant: str, users: int) -> None:
    made.trace_id = made.random.randbytes(16)
    made.feature = feature
    made.user = f"{tenant}-user-{1 + int(users * made.random.random() ** 2):03d}"
    made.session = f"{feature}-{made.user}-{made.random.randrange(4)}"


def _agent(made: _Hour, name: str, start_ns: int, models: Sequence[Model], tools: Sequence[str]) -> None:
    """An agent that calls its model, uses a tool, and calls its model again, once or twice."""
    root = _span(made, f"invoke_agent {name}", b"", start_ns, Span.SPAN_KIND_INTERNAL)
    _put(root, "gen_ai.operation.name", "invoke_agent")
    _put(root, "gen_ai.agent.name", name)
    at_ns = start_ns + 2_000_000
    for _ in range(1 + (made.random.random() < 0.35)):
        at_ns = _call(made, root.span_id, at_ns, models, finish="tool_calls") + 1_000_000
        tool = made.random.choice(tools)
        span = _span(made, f"execute_tool {tool}", root.span_id, at_ns, Span.SPAN_KIND_INTERNAL)
        _put(span, "gen_ai.operation.name", "execute_tool")
        _put(span, "gen_ai.tool.name", tool)
        at_ns += int(made.random.lognormvariate(-2.2, 0.6) * NS)
        span.end_time_unix_nano = at_ns
    at_ns = _call(made, root.span_id, at_ns + 1_000_000, models, has_messages=made.random.random() < 0.15)
    root.end_time_unix_nano = at_ns + 1_000_000


def _retrieval(made: _Hour, start_ns: int) -> None:
    """A question's embedding, then the answer from what was found."""
    root = _span(made, "invoke_workflow answer-from-documents", b"", start_ns, Span.SPAN_KIND_INTERNAL)
    _put(root, "gen_ai.operation.name", "invoke_workflow")
    span = _span(made, f"embeddings {EMBEDDING.name}", root.span_id, start_ns + 1_000_000, Span.SPAN_KIND_CLIENT)
    _put(span, "gen_ai.operation.name", "embeddings")
    _put(span, "gen_ai.provider.name", EMBEDDING.provider)
    _put(span, "gen_ai.request.model", EMBEDDING.name)
    _put_count(span, "gen_ai.usage.input_tokens", made.random.randrange(5, 60))
    span.end_time_unix_nano = start_ns + int((0.06 + 0.05 * made.random.random()) * made.latency * NS)
    root.end_time_unix_nano = _call(made, root.span_id, span.end_time_unix_nano + 8_000_000, CONVERSATION_MODELS)


def _call(
    made: _Hour,
    parent_span_id: bytes,
    start_ns: int,
    models: Sequence[Model],
    finish: str = "stop",
    has_messages: bool = False,
) -> int:
    """A call of a model with the sizes of one of the trace's requests; returns when it ended."""
    random = made.random
    row = made.rows[random.randrange(len(made.rows))]
    model = random.choices(models, [one.weight for one in models])[0]
    span = _span(made, f"chat {model.name}", parent_span_id, start_ns, Span.SPAN_KIND_CLIENT)
    _put(span, "gen_ai.operation.name", "chat")
    _put(span, "gen_ai.provider.name", model.provider)
    _put(span, "gen_ai.request.model", model.name)
    _put_count(span, "gen_ai.request.max_tokens", 2048)
    if random.random() < made.error_rate:
        return _fail(made, span, start_ns)
    first_s = random.lognormvariate(-1.0, 0.35) * made.latency
    duration_s = first_s + row.generated_tokens * model.token_ms / 1000 * made.latency * random.uniform(0.8, 1.25)
    span.end_time_unix_nano = start_ns + int(min(duration_s, 20.0) * NS)
    _put(span, "gen_ai.response.model", model.name)
    _put(span, "gen_ai.response.id", f"resp-{random.randbytes(12).hex()}")
    _put_count(span, "gen_ai.usage.input_tokens", row.context_tokens)
    _put_count(span, "gen_ai.usage.output_tokens", row.generated_tokens)
    span.attributes.add(key="gen_ai.response.finish_reasons").value.array_value.values.add(string_value=finish)
    if random.random() < 0.1:
        span.attributes.add(key="gen_ai.response.time_to_first_chunk").value.double_value = first_s
    if has_messages:
        _put_messages(made, span, row)
    return span.end_time_unix_nano


def _fail(made: _Hour, span: Span, start_ns: int) -> int:
    kind, message = made.random.choice(ERRORS)
    span.status.code = Status.STATUS_CODE_ERROR
    span.status.message = message
    _put(span, "error.type", kind)
    seconds = 15.0 if kind == "APITimeoutError" else 0.2 + made.random.random()
    span.end_time_unix_nano = start_ns + int(seconds * NS)
    return span.end_time_unix_nano


def _put_messages(made: _Hour, span: Span, row: Row) -> None:
    asked = f"[{row.context_tokens} words of {made.feature}; the trace holds sizes, no text]"
    answered = f"[{row.generated_tokens} words]"
    _put(span, "gen_ai.input.messages", _messages("user", asked))
    _put(span, "gen_ai.output.messages", _messages("assistant", answered))


def _messages(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def _span(made: _Hour, name: str, parent_span_id: bytes, start_ns: int, kind: "Span.SpanKind.ValueType") -> Span:
    span = Span(
        trace_id=made.trace_id,
        span_id=made.random.randbytes(8),
        parent_span_id=parent_span_id,
        name=name,
        kind=kind,
        start_time_unix_nano=start_ns,
        end_time_unix_nano=start_ns,
    )
    _put(span, "llmobs.feature", made.feature)
    _put(span, "user.id", made.user)
    _put(span, "session.id", made.session)
    made.spans.append(span)
    return span


def _put(holder: Span, name: str, text: str) -> None:
    holder.attributes.add(key=name).value.string_value = text


def _put_count(holder: Span, name: str, count: int) -> None:
    holder.attributes.add(key=name).value.int_value = count
