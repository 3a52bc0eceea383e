"""Attributes that the conventions document and that we keep as they are: nothing of these needs an explanation.

From OpenTelemetry's registry of `gen_ai`, `openai`, `mcp` and `aws.bedrock` attributes (1.36 to 1.42), OpenInference's
specification, the semantic conventions packages of OpenLLMetry and langfuse, the telemetry pages of the Vercel AI SDK,
and what the captured exports in the tests hold besides. What an adapter takes leaves the attributes, and is not listed.
"""

_OF_GEN_AI = """
agent.description agent.id agent.name agent.version conversation.id data_source.id
embeddings.dimension.count evaluation.explanation evaluation.name evaluation.score.label
evaluation.score.value openai.request.response_format openai.request.seed openai.request.service_tier
openai.response.service_tier openai.response.system_fingerprint operation.name output.type prompt.name
provider.name request.choice.count request.encoding_formats request.frequency_penalty request.max_tokens
request.presence_penalty request.seed request.stop_sequences request.stream request.temperature
request.top_k request.top_p system token.type tool.call.id tool.definitions tool.description tool.name
tool.type workflow.name
openai.api_base openai.api_version openai.api_type openai.system_fingerprint request.reasoning_effort
request.structured_output_schema workflow.nodes workflow.edges
agent.call.id usage.raw usage.total_tokens request.is_stream endpoint sdk.version application_name environment
"""
_OTHERS = """
llm.usage.total_tokens llm.usage.token_type llm.user llm.headers llm.top_k llm.is_streaming
llm.frequency_penalty llm.presence_penalty llm.chat.stop_sequences llm.request.functions llm.request.type
llm.request.repetition_penalty llm.response.finish_reason llm.response.stop_reason traceloop.span.kind
traceloop.workflow.name traceloop.entity.name traceloop.entity.path traceloop.entity.version
traceloop.correlation.id
llm.invocation_parameters llm.function_call llm.token_count.total llm.system llm.provider llm.model_name
llm.finish_reason embedding.invocation_parameters embedding.model_name reranker.query reranker.model_name
reranker.top_k
openai.api.type openai.request.service_tier openai.response.service_tier openai.response.system_fingerprint
anthropic.request.id anthropic.organization.id anthropic.response.service_tier anthropic.message.stop_reason
anthropic.thinking.type anthropic.thinking.budget_tokens
logfire.msg logfire.msg_template logfire.span_type logfire.pending_parent_id logfire.json_schema
logfire.tags logfire.level_num logfire.metrics pydantic_ai.new_message_index
ai.operationId ai.model.id ai.model.provider ai.finishReason ai.response.id ai.response.model
ai.response.timestamp ai.response.finishReason ai.response.providerMetadata ai.response.msToFinish
ai.response.avgOutputTokensPerSecond ai.schema ai.schema.name ai.schema.description ai.toolCall.name
ai.toolCall.id ai.telemetry.functionId
langfuse.version langfuse.release langfuse.environment langfuse.trace.name langfuse.trace.tags
langfuse.trace.public langfuse.internal.as_root langfuse.internal.is_app_root
langfuse.observation.level langfuse.observation.status_message langfuse.observation.model.parameters
model_name model_request_parameters
mcp.method.name mcp.protocol.version mcp.resource.uri mcp.session.id
aws.bedrock.guardrail.id aws.bedrock.knowledge_base.id
mlflow.spanFunctionName mlflow.traceRequestId mlflow.chat.tools mlflow.message.format
"""
_NAMES = frozenset(f"gen_ai.{name}" for name in _OF_GEN_AI.split()) | frozenset(_OTHERS.split())
# Families whose further names are free, or are too many to name.
_FAMILIES = (
    "gen_ai.aggregated_usage.", "gen_ai.usage.details.", "gen_ai.cost.", "gen_ai.task.", "gen_ai.guardrail.",
    "traceloop.association.properties.", "traceloop.prompt.", "llm.tools.", "llm.cost.", "llm.prompt_template.",
    "llm.token_count.", "llm.watsonx.", "ai.settings.",
    "ai.telemetry.metadata.", "ai.request.headers.", "ai.prompt.", "ai.usage.", "langfuse.trace.metadata",
    "langfuse.observation.metadata", "langfuse.observation.prompt.", "langfuse.experiment.", "openinference.span.",
    "anthropic.usage.", "anthropic.cache.", "mlflow.trace.",
)  # fmt: skip


def is_known(name: str) -> bool:
    """Whether a convention documents the attribute."""
    return name in _NAMES or name.startswith(_FAMILIES)
