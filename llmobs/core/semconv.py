"""Names of the OpenTelemetry GenAI semantic conventions that llmobs keeps inside (convention of 1.40, 2026).

Older names (`gen_ai.system`, `prompt_tokens`) are accepted by the adapters in `ingest.otlp` and go no further.
"""

# Operations (gen_ai.operation.name)
CHAT = "chat"
TEXT_COMPLETION = "text_completion"
GENERATE_CONTENT = "generate_content"
EMBEDDINGS = "embeddings"
INVOKE_AGENT = "invoke_agent"
CREATE_AGENT = "create_agent"
INVOKE_WORKFLOW = "invoke_workflow"
EXECUTE_TOOL = "execute_tool"

CALL_OPERATIONS = frozenset({CHAT, TEXT_COMPLETION, GENERATE_CONTENT, EMBEDDINGS})

# Span status: what became of it (FACES.md, Words for states).
OK = "ok"
DEGRADED = "degraded"
REFUSED = "refused"
FAILED = "failed"
TIMED_OUT = "timed_out"
CUT_OFF = "cut_off"
ABANDONED = "abandoned"

STATUSES = (OK, DEGRADED, REFUSED, FAILED, TIMED_OUT, CUT_OFF, ABANDONED)
# A refusal is our own no, and a degraded call was answered: neither is an error.
ERROR_STATUSES = frozenset({FAILED, TIMED_OUT, CUT_OFF, ABANDONED})

# Where a span came from (span.source, bill.source).
SOURCE_GATEWAY = 1
SOURCE_OTLP = 2
SOURCE_NATIVE = 3

# Resource and request attributes that carry attribution.
SERVICE_NAME = "service.name"
ENVIRONMENT_NAME = "deployment.environment.name"
