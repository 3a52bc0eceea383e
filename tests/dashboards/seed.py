"""Traffic for the pages' tests: calls of a few features and models over some days, through the writer's own door."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import pi, sin
from random import Random
from typing import Any

import psycopg

from llmobs.budgets.definition import load
from llmobs.core.clock import NS_PER_SECOND, ns_from_utc
from llmobs.core.semconv import CHAT, EXECUTE_TOOL, INVOKE_AGENT, SOURCE_GATEWAY, SOURCE_OTLP
from llmobs.ingest.commit import Batch, commit_batch
from llmobs.pricing.book import PriceBook
from llmobs.pricing.cost import cost
from llmobs.pricing.price import Price
from llmobs.pricing.usage import Usage
from llmobs.spans.record import Span
from llmobs.tenants.attribution import Attribution

HOUR_NS = 3600 * NS_PER_SECOND
BATCH_SPANS = 2_000


@dataclass(frozen=True)
class Feature:
    """How a feature calls: with which model, how often, how long its prompts and answers are."""

    name: str
    provider: str
    model: str
    calls_per_hour: float
    input_tokens: int
    cached_share: float
    output_tokens: int


FEATURES = (
    Feature("support-agent", "anthropic", "claude-sonnet-4-5", 9, 5200, 0.7, 320),
    Feature("code-review", "anthropic", "claude-opus-4-5", 2, 9800, 0.2, 900),
    Feature("checkout", "openai", "gpt-4o", 14, 700, 0.0, 120),
    Feature("doc-summary", "anthropic", "claude-haiku-4-5", 4, 12000, 0.1, 500),
    Feature("search-rerank", "openai", "gpt-4o-mini", 24, 420, 0.0, 12),
)


@dataclass
class Seeder:
    """Makes spans of one tenant, priced as the writer would, and commits them."""

    conn: "psycopg.Connection[Any]"
    tenant_id: int
    key_id: int
    now: datetime
    random: Random

    def __post_init__(self) -> None:
        self.book = PriceBook()
        self.prices: dict[str, Price] = {}

    def commit(self, spans: Iterator[Span] | list[Span]) -> None:
        """Through `commit_batch`, in batches."""
        waiting: list[Span] = []
        for span in spans:
            waiting.append(span)
            if len(waiting) >= BATCH_SPANS:
                self._write(waiting)
                waiting = []
        self._write(waiting)

    def _write(self, spans: list[Span]) -> None:
        batch = Batch(spans=spans, prices=list(self.prices.values()))
        commit_batch(self.conn, batch, load(self.conn))
        self.prices.clear()

    def ids(self, size: int) -> bytes:
        return self.random.randbytes(size)

    def days(self, days: float, scale: float = 1.0) -> Iterator[Span]:
        """Calls up to now, fewer at night."""
        end = ns_from_utc(self.now)
        start = end - int(days * 24) * HOUR_NS
        for hour in range(start, end, HOUR_NS):
            busy = 0.55 + 0.45 * sin((hour / HOUR_NS % 24 - 9) / 24 * 2 * pi)
            for feature in FEATURES:
                for _ in range(self._many(feature.calls_per_hour * busy * scale)):
                    at = hour + self.random.randrange(HOUR_NS)
                    if at < end - 5 * NS_PER_SECOND:
                        yield self.call(feature, at)

    def _many(self, mean: float) -> int:
        whole = int(mean)
        return whole + (self.random.random() < mean - whole)

    def call(self, feature: Feature, at_ns: int, **changes: Any) -> Span:
        """One gateway call."""
        r = self.random
        size = r.lognormvariate(0, 0.35)
        cached = int(feature.input_tokens * size * feature.cached_share)
        usage = Usage(
            uncached_input=int(feature.input_tokens * size) - cached,
            cache_read=cached,
            output=max(1, int(feature.output_tokens * r.lognormvariate(0, 0.4))),
        )
        duration = int((0.25 + usage.output / 90 * r.lognormvariate(0, 0.3)) * NS_PER_SECOND)
        span = Span(
            tenant_id=self.tenant_id,
            trace_id=self.ids(16),
            span_id=self.ids(8),
            parent_span_id=None,
            start_ns=at_ns,
            duration_ns=duration,
            name=f"chat {feature.model}",
            source=SOURCE_GATEWAY,
            attribution=Attribution(
                "shop-api", "production", feature.name, f"u_{int(r.paretovariate(0.8)) % 412:03}", "", self.key_id
            ),
            is_call=True,
            operation_name=CHAT,
            provider_name=feature.provider,
            request_model=feature.model,
            response_model=feature.model,
            response_id=self.ids(8).hex(),
            finish_reasons=("stop",),
            usage=usage,
            ttft_ns=min(duration, int(0.2 * NS_PER_SECOND * r.lognormvariate(0, 0.4))),
            is_stream=r.random() < 0.5,
        )
        span = replace(span, **changes) if changes else span
        if not changes and r.random() < 0.006:
            error, status = r.choice(
                (("overloaded_error", "failed"), ("timeout", "timed_out"), ("rate_limit", "failed"))
            )
            span = replace(span, status=status, error_type=error, usage=None, response_id="", finish_reasons=())
        return self.priced(span)

    def priced(self, span: Span) -> Span:
        """With the cost that the price book gives it."""
        if span.usage is None:
            return span
        price = self.book.price(span.tenant_id, span.provider_name, span.model, span.start_ns)
        if price is None:
            return span
        self.prices[price.version] = price
        return replace(span, cost_nanousd=cost(span.usage, price), price_version=price.version)

    def spike(self, minutes_ago: int, minutes: int, share: float, calls_per_minute: int = 12) -> Iterator[Span]:
        """A provider that fails for a while."""
        end = ns_from_utc(self.now) - minutes_ago * 60 * NS_PER_SECOND
        for minute in range(minutes):
            for _ in range(calls_per_minute):
                at = end - minute * 60 * NS_PER_SECOND - self.random.randrange(60 * NS_PER_SECOND)
                failed = self.random.random() < share
                wrong = {"status": "failed", "error_type": "overloaded_error", "usage": None, "cost_nanousd": None}
                yield self.call(FEATURES[0], at, **(wrong if failed else {"is_stream": True}))

    def agent_trace(self, minutes_ago: int = 12) -> tuple[str, list[Span]]:
        """An agent with tools: a call, a cut-off attempt, its fallback, a refusal and a call without a price."""
        start = ns_from_utc(self.now) - minutes_ago * 60 * NS_PER_SECOND
        trace_id, root, agent, route = self.ids(16), self.ids(8), self.ids(8), self.ids(8)
        who = Attribution("assist-api", "production", "support-agent", "u_48213", "s_9f2c41", self.key_id)

        def span(parent: bytes | None, after_ms: int, ms: int, name: str, **more: Any) -> Span:
            common: dict[str, Any] = {
                "trace_id": trace_id,
                "span_id": self.ids(8),
                "attribution": who,
                "source": SOURCE_OTLP,
            }
            common |= {"start_ns": start + after_ms * 1_000_000, "duration_ns": ms * 1_000_000, **more}
            return self.priced(Span(tenant_id=self.tenant_id, parent_span_id=parent, name=name, **common))

        def model(name: str, provider: str, **more: Any) -> dict[str, Any]:
            common = {"is_call": True, "operation_name": CHAT, "provider_name": provider, "source": SOURCE_GATEWAY}
            return common | {"request_model": name, "response_model": name, "response_id": self.ids(6).hex()} | more

        sonnet = {"name": "claude-sonnet-4-5", "provider": "anthropic"}
        said = '[{"role": "assistant", "parts": [{"type": "text", "content": "%s"}]}]'
        asked = '[{"role": "user", "parts": [{"type": "text", "content": "Where is my order, and can I return it?"}]}]'
        answer = "The order was delivered on 12 November, within the 14-day return period. I have started the refund."
        spans = [
            span(None, 0, 9210, "POST /v1/assist", span_id=root, status="degraded"),
            span(root, 10, 9190, "invoke_agent refund_agent", span_id=agent, operation_name=INVOKE_AGENT),
            span(
                agent,
                20,
                2290,
                "chat claude-sonnet-4-5",
                input=asked,
                output=said % "Let me look that up.",
                **model(**sonnet, usage=Usage(1764, 4116, 0, 0, 212), ttft_ns=640_000_000),
            ),
            span(agent, 2330, 182, "execute_tool lookup_order", operation_name=EXECUTE_TOOL),
            span(agent, 2520, 391, "execute_tool search_policy", operation_name=EXECUTE_TOOL),
            span(agent, 2930, 5210, "chat smart", span_id=route, status="degraded"),
            span(
                route,
                2940,
                312,
                "chat claude-sonnet-4-5",
                **model(**sonnet, status="failed", error_type="overloaded_error", response_id=""),
            ),
            span(
                route,
                3450,
                2400,
                "chat claude-sonnet-4-5",
                is_estimated=True,
                **model(
                    **sonnet, status="cut_off", error_type="stream_cut", usage=Usage(6890), held_nanousd=51_400_000
                ),
            ),
            span(
                route,
                5870,
                2270,
                "chat gpt-4o",
                input=asked,
                output=said % answer,
                **model("gpt-4o", "openai", usage=Usage(4364, 2048, 0, 0, 318), ttft_ns=700_000_000, status="degraded"),
            ),
            span(
                agent,
                8150,
                1,
                "chat claude-opus-4-5",
                **model("claude-opus-4-5", "", status="refused", error_type="model_not_allowed", response_id=""),
            ),
            span(
                agent, 8160, 1010, "chat mistral-next", **model("mistral-next", "local", usage=Usage(742, 0, 0, 0, 38))
            ),
        ]
        return trace_id.hex(), spans


def seeder(conn: "psycopg.Connection[Any]", tenant_id: int, key_id: int, now: datetime | None = None) -> Seeder:
    """A seeder whose traffic is the same each time it is asked at the same moment."""
    return Seeder(conn, tenant_id, key_id, now or datetime.now(UTC), Random(20261120))
