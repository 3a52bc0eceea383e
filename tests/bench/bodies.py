"""OTLP bodies for the ingest benchmark: agents of ten spans, 30 attributes, about 3.4 KB a span, a fixed seed."""

import json
import random
import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

SPANS_PER_TRACE = 10
MODELS = (("openai", "gpt-4.1"), ("openai", "gpt-4.1-mini"), ("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5"))
FEATURES = ("search", "summarize", "chat", "triage", "classify", "rag-answer", "code-review", "extract")
VOCABULARY = 4000


class Bodies:
    """Makes bodies; the same seed makes the same ones but for their times."""

    def __init__(self, seed: int = 7) -> None:
        self.random = random.Random(seed)
        letters = "abcdefghijklmnopqrstuvwxyz"
        self.words = ["".join(self.random.choices(letters, k=self.random.randint(2, 9))) for _ in range(VOCABULARY)]

    def make(self, spans: int) -> bytes:
        """One protobuf request of `spans` spans that began within the last second."""
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        for name, value in (("service.name", "checkout-assistant"), ("deployment.environment.name", "production")):
            attribute = resource.resource.attributes.add()
            attribute.key, attribute.value.string_value = name, value
        scope = resource.scope_spans.add()
        scope.scope.name = "opentelemetry.instrumentation.openai_v2"
        now = time.time_ns()
        for first in range(0, spans, SPANS_PER_TRACE):
            self._trace(scope, min(SPANS_PER_TRACE, spans - first), now - 10**9)
        return bytes(request.SerializeToString())

    def _trace(self, scope: ScopeSpans, spans: int, start: int) -> None:
        trace_id, root = self.random.randbytes(16), self.random.randbytes(8)
        user, session = f"user-{self.random.randint(1, 5000)}", f"sess-{self.random.getrandbits(40):x}"
        feature = self.random.choice(FEATURES)
        for position in range(spans):
            span = scope.spans.add()
            span.trace_id, span.kind = trace_id, 3
            span.span_id = self.random.randbytes(8) if position else root
            if position:
                span.parent_span_id = root
            provider, model = self.random.choice(MODELS)
            span.name = f"chat {model}" if position else "invoke_agent checkout"
            span.start_time_unix_nano = start + position * 10**7
            span.end_time_unix_nano = span.start_time_unix_nano + int(self.random.lognormvariate(0, 0.9) * 1.2e9)
            span.status.code = 1
            for name, value in self._attributes(position, provider, model, feature, user, session).items():
                attribute = span.attributes.add()
                attribute.key = name
                if isinstance(value, bool):
                    attribute.value.bool_value = value
                elif isinstance(value, int):
                    attribute.value.int_value = value
                elif isinstance(value, float):
                    attribute.value.double_value = value
                else:
                    attribute.value.string_value = value

    def _attributes(
        self, position: int, provider: str, model: str, feature: str, user: str, session: str
    ) -> dict[str, str | int | float | bool]:
        given: dict[str, str | int | float | bool] = {
            "gen_ai.operation.name": "chat" if position else "invoke_agent",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "gen_ai.conversation.id": session,
            "gen_ai.request.temperature": 0.2,
            "gen_ai.request.max_tokens": 1024,
            "gen_ai.request.top_p": 1.0,
            "gen_ai.output.type": "text",
            "gen_ai.input.messages": self._messages("user", self.random.randint(140, 280)),
            "gen_ai.output.messages": self._messages("assistant", self.random.randint(40, 140)),
            "server.address": f"api.{provider}.com",
            "server.port": 443,
            "http.response.status_code": 200,
            "llmobs.feature": feature,
            "user.id": user,
            "session.id": session,
            **{f"app.label_{n}": f"value-{self.random.getrandbits(24):x}" for n in range(9)},
        }
        if position:
            tokens = int(self.random.lognormvariate(6.2, 0.8)) + 2
            given |= {
                "gen_ai.response.model": model,
                "gen_ai.response.id": f"chatcmpl-{self.random.getrandbits(112):x}",
                "gen_ai.usage.input_tokens": tokens,
                "gen_ai.usage.output_tokens": int(self.random.lognormvariate(5, 0.8)) + 1,
                "gen_ai.usage.cache_read.input_tokens": tokens // 2,
            }
        return given

    def _messages(self, role: str, words: int) -> str:
        text = " ".join(self.random.choices(self.words, k=words))
        return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])
