"""The way out: batches of spans over OTLP/HTTP, on a thread of their own.

The application is never stopped by it: the queue is bounded (when full, the newest push out the oldest), what the
collector does not take is tried again for some seconds and then let go, and the end of the process waits only so long.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http import trace_exporter as otlp
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

BATCH_SPANS = 512

log = logging.getLogger("llmobs.client")


class _Hush(logging.Filter):
    """OTLP's exporter says each attempt that fails. Of ours one sentence is said; those of others are left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(self.heard, "is_ours", False):
            return True
        self.heard.last = record.getMessage()
        return False


_hush = _Hush()
logging.getLogger(otlp.__name__).addFilter(_hush)


class Exporter(SpanExporter):
    """OTLP's own exporter, which says once that it fails and once that it goes on. Never raises."""

    def __init__(self, endpoint: str, key: str, timeout_seconds: float) -> None:
        self.endpoint = endpoint
        self.is_away = False
        self.lost_spans = 0
        self._otlp = otlp.OTLPSpanExporter(
            endpoint=endpoint,
            headers={"authorization": f"Bearer {key}"},
            timeout=timeout_seconds,
            compression=Compression.Gzip,
        )

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        _hush.heard.is_ours, _hush.heard.last = True, ""
        try:
            result = self._otlp.export(spans)
            reason = _hush.heard.last
        except Exception as error:  # an application must not end by its telemetry
            result, reason = SpanExportResult.FAILURE, type(error).__name__
        finally:
            _hush.heard.is_ours = False
        if result is SpanExportResult.SUCCESS:
            self._took()
        else:
            self._lost(len(spans), reason)
        return result

    def _took(self) -> None:
        if self.is_away:
            self.is_away = False
            log.warning("spans are taken again at %s; lost meanwhile: %d", self.endpoint, self.lost_spans)

    def _lost(self, count: int, reason: str) -> None:
        self.lost_spans += count
        if not self.is_away:
            self.is_away = True
            log.warning("spans are not taken at %s (%s); said once until they are", self.endpoint, reason)

    def shutdown(self) -> None:
        self._otlp.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


class Sending(SpanProcessor):
    """What `configure` gives: the queue and its thread."""

    def __init__(self, exporter: Exporter, most_spans: int, delay_seconds: float, exit_seconds: float) -> None:
        self.exporter = exporter
        self._exit_seconds = exit_seconds
        self._is_over = False
        self._batches = BatchSpanProcessor(
            exporter,
            max_queue_size=most_spans,
            schedule_delay_millis=delay_seconds * 1000,
            max_export_batch_size=min(BATCH_SPANS, most_spans),
        )

    @property
    def is_away(self) -> bool:
        """Whether the collector did not take the last batch."""
        return self.exporter.is_away

    @property
    def lost_spans(self) -> int:
        """How many spans the collector did not take."""
        return self.exporter.lost_spans

    def flush(self) -> bool:
        """Send what is queued and wait for it; whether the collector has taken it."""
        before = self.lost_spans
        return self._batches.force_flush() and self.lost_spans == before

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        pass

    def on_end(self, span: ReadableSpan) -> None:
        self._batches.on_end(span)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._batches.force_flush(timeout_millis)

    def shutdown(self) -> None:
        """Send what is queued, for some seconds at most; called at the end of the process by itself."""
        if self._is_over:
            return
        self._is_over = True
        ending = threading.Thread(target=self._batches.shutdown, name="llmobs-client-end", daemon=True)
        try:
            ending.start()
        except RuntimeError:  # the interpreter makes no threads any more
            self._batches.shutdown()  # type: ignore[no-untyped-call]
            return
        ending.join(self._exit_seconds)
        if ending.is_alive():
            self.exporter.shutdown()  # ends the waiting between two attempts
