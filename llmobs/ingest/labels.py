"""What holds no content by its name or its form: the texts that stay readable under the policies `hash` and `none`.

Attributes: identifiers, names of models, agents and tools, operations, reasons, versions, units, places in code and on
the network, as the conventions of `otlp.known_names` and of OpenTelemetry name them. Any other name may hold content.
Names of spans: one word, as code is named (`ChatOpenAI`), or an operation and what it is done to (`chat gpt-4o`).
A label in which personal data or a secret stands is none.
"""

import re
from functools import lru_cache

from llmobs.core import semconv
from llmobs.guards.redactor import Redactor

# A text longer than this is no label: names, ids and versions are shorter.
LONGEST_LABEL = 128

_OF_GEN_AI = """
agent.call.id agent.id agent.name agent.version application_name conversation.id data_source.id environment
evaluation.name evaluation.score.label openai.api_type openai.api_version openai.request.response_format
openai.request.service_tier openai.response.service_tier openai.response.system_fingerprint openai.system_fingerprint
operation.name output.type prompt.name prompt.version provider.name request.encoding_formats request.model
request.reasoning_effort response.finish_reason response.finish_reasons response.id response.model sdk.version system
task.id task.name task.parent.id task.status token.type tool.call.id tool.name tool.type workflow.name
"""
_OTHERS = """
ai.finishReason ai.model.id ai.model.provider ai.operationId ai.response.finishReason ai.response.id ai.response.model
ai.response.timestamp ai.schema.name ai.telemetry.functionId ai.toolCall.id ai.toolCall.name
anthropic.message.stop_reason anthropic.organization.id anthropic.request.id anthropic.response.service_tier
anthropic.thinking.type embedding.model_name input.mime_type output.mime_type
langfuse.environment langfuse.observation.level langfuse.observation.type langfuse.release langfuse.version
llm.finish_reason llm.model_name llm.provider llm.request.type llm.response.finish_reason llm.response.stop_reason
llm.system llm.usage.token_type
llmobs.cache llmobs.cached_provider llmobs.degraded llmobs.dialect llmobs.environment llmobs.feature llmobs.reason
llmobs.requested_model llmobs.session llmobs.tier llmobs.trace_id llmobs.user
logfire.pending_parent_id logfire.span_type mlflow.message.format mlflow.spanFunctionName mlflow.spanType
mlflow.traceRequestId openai.api.type openai.request.service_tier openai.response.service_tier
openai.response.system_fingerprint openinference.span.kind reranker.model_name tool.name tool_call.id
traceloop.correlation.id traceloop.entity.name traceloop.entity.path traceloop.entity.version traceloop.span.kind
traceloop.workflow.name
cloud.account.id cloud.availability_zone cloud.platform cloud.provider cloud.region code.function code.function.name
code.namespace container.id db.collection.name db.namespace db.operation.name db.system db.system.name
deployment.environment deployment.environment.name enduser.id error.type exception.type http.method
http.request.method http.route k8s.namespace.name k8s.pod.name network.protocol.name network.protocol.version
rpc.method rpc.service rpc.system server.address service.instance.id service.name service.namespace service.version
session.id span.kind telemetry.sdk.language telemetry.sdk.name telemetry.sdk.version thread.name url.scheme user.id
user_agent.original
"""
_LABELS = frozenset(f"gen_ai.{name}" for name in _OF_GEN_AI.split()) | frozenset(_OTHERS.split())
_OF_REFUSALS = "llmobs.refusal."  # which budget or limit said no: written by the gateway alone

# ASCII alone: in many scripts a whole sentence stands without a blank.
_WORD = r"[A-Za-z0-9_<(\[/{][A-Za-z0-9_.:/<>{}()\[\]*$+-]{0,99}"
_ONE_WORD = re.compile(_WORD)
_ACTS = (
    semconv.CHAT, semconv.TEXT_COMPLETION, semconv.GENERATE_CONTENT, semconv.EMBEDDINGS, semconv.INVOKE_AGENT,
    semconv.CREATE_AGENT, semconv.INVOKE_WORKFLOW, semconv.EXECUTE_TOOL, "execute_task", "retrieval", "tool",
    "CONNECT", "DELETE", "GET", "HEAD", "HTTP", "OPTIONS", "PATCH", "POST", "PUT",
)  # fmt: skip
_SPAN_NAME = re.compile(rf"(?:(?:{'|'.join(_ACTS)}) )?{_WORD}")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_$.:/\[\]-]+")

# In messages: who speaks, what a part is, why it ended. Any other word there may be content.
_OF_MESSAGES = {
    "role": frozenset({"", "assistant", "developer", "function", "human", "model", "system", "tool", "user"}),
    "type": frozenset(
        {
            "blob", "data", "file", "function", "image", "input_audio", "json", "media", "reasoning", "refusal", "text",
            "thinking", "tool_call", "tool_call_response", "tool_result", "tool_use", "uri",
        }
    ),
    "finish_reason": frozenset(
        {
            "content_filter", "end_turn", "error", "function_call", "length", "max_tokens", "pause_turn", "refusal",
            "stop", "stop_sequence", "tool_call", "tool_calls", "tool_use",
        }
    ),
}  # fmt: skip


def is_label(name: str, is_refusal: bool) -> bool:
    """Whether the text of an attribute of this name is none that people or models wrote. `is_refusal`: of our own."""
    return name in _LABELS or (is_refusal and name.startswith(_OF_REFUSALS))


def is_label_of_messages(key: str, text: str) -> bool:
    """Whether a text under this key of a message or a part says what it is, not what was said."""
    return text in _OF_MESSAGES.get(key, ())


# A sender's names are few and repeat: remembering is faster than searching. Of sets of names 20 MB at most.
_MOST_REMEMBERED, _LONGEST_REMEMBERED, _MOST_TOGETHER = 2048, 255, 32


def names_somebody(text: str) -> bool:
    """Whether personal data or a secret stands in a short text."""
    return _is_named_in(text) if len(text) <= _LONGEST_REMEMBERED else Redactor().redact(text) != text


def name_somebody(names: tuple[str, ...]) -> bool:
    """Whether it stands in one of the names of a span's attributes."""
    return _are_named_in(names) if len(names) <= _MOST_TOGETHER else any(map(names_somebody, names))


def is_span_name(text: str) -> bool:
    """Whether a span's name is of the usual form."""
    return len(text) <= _LONGEST_REMEMBERED and _is_span_name(text)


def is_word(text: str) -> bool:
    """Whether it is one word, as operations, errors and events are called."""
    return len(text) <= _LONGEST_REMEMBERED and _is_word(text)


def is_attribute_name(text: str) -> bool:
    """Whether attributes are called so; others may be texts themselves."""
    return len(text) <= _LONGEST_REMEMBERED and _is_attribute_name(text)


@lru_cache(maxsize=_MOST_REMEMBERED)
def _is_named_in(text: str) -> bool:
    return Redactor().redact(text) != text


@lru_cache(maxsize=_MOST_REMEMBERED)
def _are_named_in(names: tuple[str, ...]) -> bool:
    return any(map(names_somebody, names))


@lru_cache(maxsize=_MOST_REMEMBERED)
def _is_span_name(text: str) -> bool:
    return _SPAN_NAME.fullmatch(text) is not None and not names_somebody(text)


@lru_cache(maxsize=_MOST_REMEMBERED)
def _is_word(text: str) -> bool:
    return _ONE_WORD.fullmatch(text) is not None and not names_somebody(text)


@lru_cache(maxsize=_MOST_REMEMBERED)
def _is_attribute_name(text: str) -> bool:
    return _ATTRIBUTE_NAME.fullmatch(text) is not None and not names_somebody(text)
