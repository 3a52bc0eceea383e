"""`configure`: one line at an application's start."""

from __future__ import annotations

import atexit
import threading

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from llmobs.client.carrying import Threads
from llmobs.client.sending import Exporter, Sending
from llmobs.client.stamping import Stamp

_one_at_a_time = threading.Lock()
_configured: list[tuple[str, str, Sending]] = []  # the tracer provider is the process's too, and cannot be replaced


def configure(
    url: str,
    key: str,
    service: str = "",
    environment: str = "",
    *,
    threads: bool = True,
    most_spans: int = 4096,
    delay_seconds: float = 1.0,
    timeout_seconds: float = 10.0,
    exit_seconds: float = 5.0,
) -> Sending:
    """Send the process's spans to llmobs at `url` (its gateway's address), as the tenant of `key`.

    Where the application has a tracer provider already it is added to that one, whose resource then names the
    service. Asked again with the same address and key it changes nothing. `threads`: the current span and attribution
    go into threads and pools too. Raises ValueError for an address or key that cannot be; never anything later.
    """
    endpoint = traces_address(url)
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError("llmobs: the key is empty or holds what a header cannot; make one by `manage.py createkey`")
    with _one_at_a_time:
        for known_endpoint, known_key, sending in _configured:
            if (known_endpoint, known_key) == (endpoint, key):
                return sending
        sending = Sending(Exporter(endpoint, key, timeout_seconds), most_spans, delay_seconds, exit_seconds)
        _add(sending, service, environment)
        if threads and not _configured:
            Threads().enter()
        _configured.append((endpoint, key, sending))
    return sending


def traces_address(url: str) -> str:
    """Where spans go, whether the gateway's address or what OpenAI's SDK calls `base_url` is given."""
    bare = url.strip().rstrip("/")
    for ending in ("/v1/traces", "/v1"):
        bare = bare[: -len(ending)] if bare.endswith(ending) else bare
    if not bare.startswith(("http://", "https://")) or bare in ("http:/", "https:/"):
        raise ValueError(f"llmobs: {url!r} is no address; it looks like http://127.0.0.1:4000")
    return f"{bare}/v1/traces"


def _add(sending: Sending, service: str, environment: str) -> None:
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.add_span_processor(Stamp({"environment": environment}))
    else:
        named = {"service.name": service, "deployment.environment.name": environment}
        resource = Resource.create({name: value for name, value in named.items() if value})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(Stamp({}))
        trace.set_tracer_provider(provider)
    provider.add_span_processor(sending)
    atexit.register(sending.shutdown)
