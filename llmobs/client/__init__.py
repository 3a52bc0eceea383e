"""Sending to llmobs from an application: `configure` once, `with attribution(...)` where it is known whom for.

Needs opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http, nothing else, and nothing else of llmobs.
"""

# The one package whose names are reached from here: this is what applications write.
from llmobs.client.attributing import attribution
from llmobs.client.carrying import carry
from llmobs.client.configuring import configure
from llmobs.client.gateway_headers import headers
from llmobs.client.sending import Sending

__all__ = ["Sending", "attribution", "carry", "configure", "headers"]
