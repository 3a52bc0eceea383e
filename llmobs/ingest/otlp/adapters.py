"""Which adapter reads a span: chosen per span by what the span says it is, each with a version of its own.

1. The first sign that says what the span is decides, in a fixed order (a span may carry several conventions).
2. The general `gen_ai` reading takes what is left.
3. What only one library writes, or writes otherwise, is put right (`refine`).
The adapter that had the last word stands on the span as a small number, so that a later version can find what an
earlier one has read (`manage.py remap`). A change of what an adapter reads raises its version.
"""

from collections.abc import Container
from typing import NamedTuple

from llmobs.core import semconv
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
from llmobs.ingest.otlp.reading import Attributes, Reading
from llmobs.ingest.otlp.remembering import remembering
from llmobs.ingest.otlp.wire import Received

VERSIONS_PER_ADAPTER = 100


class Adapter(NamedTuple):
    """A convention as we read it. Numbers are stored: never used again for another one."""

    number: int
    name: str
    version: int

    @property
    def code(self) -> int:
        """As it stands on the span."""
        return self.number * VERSIONS_PER_ADAPTER + self.version


PLAIN = Adapter(1, "plain", 1)  # says nothing of models: a span of the application's own
GEN_AI = Adapter(2, "gen_ai", 1)
GEN_AI_OLD = Adapter(3, "gen_ai-old", 1)  # up to 1.36: gen_ai.system
OPENINFERENCE = Adapter(4, "openinference", 1)
TRACELOOP = Adapter(5, "traceloop", 1)
VERCEL = Adapter(6, "vercel-ai", 1)
LANGFUSE = Adapter(7, "langfuse", 1)
MLFLOW = Adapter(8, "mlflow", 1)
LOGFIRE = Adapter(9, "logfire", 1)
PYDANTIC_AI = Adapter(10, "pydantic-ai", 1)
OPENLIT = Adapter(11, "openlit", 1)
LITELLM = Adapter(12, "litellm", 1)
SDK = Adapter(13, "provider-sdk", 1)  # what providers' own SDKs emit unasked
ADAPTERS = (
    PLAIN, GEN_AI, GEN_AI_OLD, OPENINFERENCE, TRACELOOP, VERCEL, LANGFUSE, MLFLOW, LOGFIRE, PYDANTIC_AI, OPENLIT,
    LITELLM, SDK,
)  # fmt: skip
_NAMES = {adapter.number: adapter.name for adapter in ADAPTERS}

# gen_ai operations that work with models without calling one.
_NO_CALLS = frozenset(
    {semconv.INVOKE_AGENT, semconv.CREATE_AGENT, semconv.EXECUTE_TOOL, semconv.INVOKE_WORKFLOW, "execute_task"}
)
_SDK_SCOPES = frozenset({"com.anthropic.sdk.python", "com.anthropic.sdk.typescript", "com.openai.sdk.python"})
# OpenTelemetry's own instrumentations of models, which share their prefix with OpenLLMetry's.
_OFFICIAL = ("opentelemetry.instrumentation.genai.", "opentelemetry.instrumentation.google_genai")
_LLMETRY = "opentelemetry.instrumentation."
# By one of these attributes `read` does otherwise than the general reading.
_SIGNS = (
    openinference.KIND, langfuse.TYPE, mlflow.TYPE, vercel.OPERATION, "gen_ai.prompt.0.role",
    "gen_ai.completion.0.role", "traceloop.entity.input", "traceloop.entity.output", litellm.USAGE, openlit.SDK,
)  # fmt: skip


def spelled(code: int) -> str:
    """`openinference@1` of a stored number; "" for spans from before adapters had versions, or that had none."""
    number, version = divmod(code, VERSIONS_PER_ADAPTER)
    return f"{_NAMES[number]}@{version}" if number in _NAMES else ""


def read(span: Received, start_ns: int) -> Reading:
    """What the span says, taken out of its attributes; the reading names its adapter."""
    attributes, reading = span.attributes, Reading()
    adapter = _read_convention(attributes, reading, start_ns, span.scope_name)
    genai.fill(attributes, reading)
    if "gen_ai.prompt.0.role" in attributes or "gen_ai.completion.0.role" in attributes:
        genai.fill_numbered(attributes, reading)
    if "traceloop.entity.input" in attributes or "traceloop.entity.output" in attributes:
        traceloop.fill_entity(attributes, reading)
    if span.scope_name.startswith(logfire.SCOPE):
        adapter = LOGFIRE
        logfire.refine(attributes, reading, span.name, span.is_error)
    elif span.scope_name == litellm.SCOPE or litellm.USAGE in attributes:
        adapter = LITELLM
        litellm.refine(attributes, reading)
    elif attributes.get(openlit.SDK) == openlit.NAME or is_marked(span.resource):
        adapter = OPENLIT
        openlit.refine(attributes, reading)
    reading.adapter = adapter.code
    _name(reading, span.scope_name)
    return reading


def _read_convention(attributes: Attributes, reading: Reading, start_ns: int, scope_name: str) -> Adapter:
    """The first sign that says what the span is decides, in this order."""
    if openinference.KIND in attributes:
        openinference.read(attributes, reading)
        return OPENINFERENCE
    if langfuse.TYPE in attributes:
        langfuse.read(attributes, reading, start_ns)
        return LANGFUSE
    if mlflow.TYPE in attributes:
        mlflow.read(attributes, reading)
        return MLFLOW
    if vercel.OPERATION in attributes:
        vercel.read(attributes, reading)
        return VERCEL
    general = _general(attributes)
    if genai.OPERATION in attributes:
        reading.is_call = _is_call(attributes)
    elif traceloop.KIND in attributes:
        traceloop.read_kind(attributes, reading)
        return TRACELOOP
    elif traceloop.REQUEST_TYPE in attributes:
        traceloop.read_request_type(attributes, reading)
        general = TRACELOOP
    elif attributes.get(genai.REQUEST_MODEL) or attributes.get("llm.model_name"):
        reading.is_call, reading.operation_name = True, semconv.CHAT
        reading.response_model = str(attributes.pop("llm.model_name", ""))
        general = general if general is not PLAIN else GEN_AI
    return _emitter(scope_name) or general


def _is_call(attributes: Attributes) -> bool:
    name = genai.operation(str(attributes[genai.OPERATION]))
    return name in semconv.CALL_OPERATIONS or (name not in _NO_CALLS and bool(attributes.get(genai.REQUEST_MODEL)))


def read_usual(span: Received, names: genai.Names, adapter: int) -> Reading:
    """The same of a span that has no other convention's signs, and of `gen_ai` these names."""
    reading = Reading(is_call=_is_call(span.attributes), adapter=adapter)
    genai.fill(span.attributes, reading, names)
    _name(reading, span.scope_name)
    return reading


def is_marked(resource: Attributes) -> bool:
    """Whether a resource names a library that writes otherwise than the general reading."""
    return bool(resource.get(openlit.SDK) == openlit.NAME)


def usual_adapter(names: Container[str], scope_name: str) -> Adapter | None:
    """Which one reads a span with these attributes, where it is the general one; None: `read` must find out."""
    if genai.OPERATION not in names or any(sign in names for sign in _SIGNS):
        return None
    if scope_name.startswith(logfire.SCOPE) or scope_name == litellm.SCOPE:
        return None
    return _emitter(scope_name) or _general(names)


def _general(attributes: Container[str]) -> Adapter:
    if "gen_ai.system" in attributes and "gen_ai.provider.name" not in attributes:
        return GEN_AI_OLD
    return GEN_AI if genai.OPERATION in attributes or "gen_ai.provider.name" in attributes else PLAIN


@remembering(1024)
def _emitter(scope_name: str) -> Adapter | None:
    """The library that writes `gen_ai` with additions of its own, by its instrumentation scope."""
    if scope_name == "pydantic-ai":
        return PYDANTIC_AI
    if scope_name in _SDK_SCOPES:
        return SDK
    if scope_name == "traceloop.tracer":
        return TRACELOOP
    is_llmetry = scope_name.startswith(_LLMETRY) and not scope_name.startswith(_OFFICIAL)
    tail = scope_name.removeprefix(_LLMETRY).partition(".")[0]
    return TRACELOOP if is_llmetry and tail in traceloop.INSTRUMENTED else None


def _name(reading: Reading, scope_name: str) -> None:
    reading.provider_name, reading.request_model, reading.response_model = _named(
        reading.provider_name, reading.request_model, reading.response_model, reading.is_call, scope_name
    )


@remembering(4096)
def _named(provider: str, asked: str, answered: str, is_call: bool, scope_name: str) -> tuple[str, str, str]:
    """One spelling of provider and models. A model's prefix names the provider where nothing better does."""
    provider = names.provider(provider)
    asked_of, asked_bare = names.split_model(asked)
    answered_by, answered_bare = names.split_model(answered)
    prefix = asked_of or answered_by
    # google-adk and litellm write the maker before the model, and google-adk itself as the provider.
    if prefix and (provider in ("", prefix) or "google_adk" in scope_name or "litellm" in scope_name):
        provider, asked, answered = prefix, asked_bare, answered_bare
    if not provider and is_call:
        provider = names.provider_of_model(answered or asked)
    return provider, asked, answered
