"""Headers for calls through the gateway: its span joins the trace, and knows whom it is for."""

from __future__ import annotations

from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from llmobs.client.attributing import current


def headers() -> dict[str, str]:
    """`x-llmobs-feature`, `-user`, `-session`, `-environment` as far as known here, and `traceparent`.

    Pass them with each call (`extra_headers=headers()` of the openai and anthropic SDKs). Headers are ASCII: of a name
    that is not, what is not is replaced by `?`.
    """
    said = {f"x-llmobs-{name}": value for name, value in current().items() if value}
    found = {name: " ".join(value.encode("ascii", "replace").decode().split()) for name, value in said.items()}
    TraceContextTextMapPropagator().inject(found)
    return found
