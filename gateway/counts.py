"""What the process has done, counted in plain integers and shown to Prometheus when it asks."""

from collections import Counter
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class OtlpCounts(Collector):
    """What came by OTLP, over HTTP or gRPC. Labels are our own words: no tenant's, so none sees another's."""

    def __init__(self) -> None:
        self.spans_received = 0
        self.spans_rejected = 0
        self.dropped: Counter[str] = Counter()  # requests of logs and metrics of which nothing is kept
        self.log_records: Counter[str] = Counter()  # kept (they carry content), dropped
        self.otlp_refused: Counter[str] = Counter()  # requests, by reason
        self.not_journalled: Counter[str] = Counter()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily("llmobs_otlp_spans", "Spans received by OTLP", value=self.spans_received)
        yield CounterMetricFamily("llmobs_otlp_spans_rejected", "Spans that cannot be", value=self.spans_rejected)
        yield _labelled("llmobs_otlp_dropped", "OTLP requests answered and dropped", "signal", self.dropped)
        yield _labelled("llmobs_otlp_log_records", "OTLP log records, by what became of them", "fate", self.log_records)
        yield _labelled("llmobs_otlp_refused", "OTLP requests refused, by reason", "reason", self.otlp_refused)
        yield _labelled("llmobs_not_journalled", "Entries the journal did not take", "entry", self.not_journalled)

    def text(self) -> bytes:
        """All in Prometheus's text format."""
        return generate_latest(self._registry)


class Counts(OtlpCounts):
    """Counters of one gateway."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[str, str]] = Counter()  # dialect, status of the span
        self.refused: Counter[str] = Counter()  # reason
        self.cached: Counter[str] = Counter()  # what the cache said of calls that asked it: miss, hit-exact, stale
        self.cost_nanousd = 0
        self.tokens: Counter[str] = Counter()  # input, output
        self.breakers: Counter[tuple[str, str]] = Counter()  # provider/model, phase entered: closed, open, ramp
        self.guarded: Counter[tuple[str, str]] = Counter()  # kind of finding, what was done
        self.braked: Counter[tuple[str, str]] = Counter()  # session, user or key; noted, slowed, paused
        self.in_flight = 0
        self.gauges: dict[str, Callable[[], float]] = {}

    def collect(self) -> Iterable[Metric]:
        calls = CounterMetricFamily("llmobs_calls", "Calls that were sent upstream", labels=["dialect", "status"])
        for (dialect, status), count in self.calls.items():
            calls.add_metric([dialect, status], count)
        yield calls
        yield _labelled("llmobs_refused", "Calls refused, by reason", "reason", self.refused)
        yield _labelled("llmobs_cached", "Calls that asked the response cache, by what it said", "cache", self.cached)
        yield _labelled("llmobs_tokens", "Tokens billed", "kind", self.tokens)
        yield CounterMetricFamily("llmobs_cost_nanousd", "Cost of calls, nano-USD", value=self.cost_nanousd)
        yield from super().collect()
        # By provider alone: a model's name may be a caller's own text.
        by_provider: Counter[tuple[str, str]] = Counter()
        for (label, phase), count in self.breakers.items():
            by_provider[label.partition("/")[0], phase] += count
        changes = CounterMetricFamily("llmobs_breaker_changes", "Breakers' changes", labels=["provider", "phase"])
        for (provider, phase), count in by_provider.items():
            changes.add_metric([provider, phase], count)
        yield changes
        guarded = CounterMetricFamily("llmobs_guarded", "Findings of guards", labels=["kind", "action"])
        for (kind, action), count in self.guarded.items():
            guarded.add_metric([kind, action], count)
        yield guarded
        braked = CounterMetricFamily("llmobs_braked", "Runaways, by what was done", labels=["of", "state"])
        for (kind, state), count in self.braked.items():
            braked.add_metric([kind, state], count)
        yield braked
        yield GaugeMetricFamily("llmobs_in_flight", "Calls under way", value=self.in_flight)
        for name, value in self.gauges.items():
            yield GaugeMetricFamily(f"llmobs_{name}", name.replace("_", " "), value=value())


def _labelled(name: str, meaning: str, label: str, counts: Counter[str]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, meaning, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
