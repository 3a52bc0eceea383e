"""openlit: its input tokens of Anthropic leave out cache reads and writes, and a price it does not know is 0."""

from llmobs.ingest.otlp.names import provider
from llmobs.ingest.otlp.reading import Attributes, Reading

SDK = "telemetry.sdk.name"
NAME = "openlit"


def refine(attributes: Attributes, reading: Reading) -> None:
    attributes.pop("gen_ai.client.token.usage", None)
    reading.excludes_cache = provider(reading.provider_name) == "anthropic"
    if reading.is_call and reading.is_stream and reading.input_tokens is not None:
        reading.remarks.append("flag:tokens_by_library")
    if reading.stated_cost_nanousd == 0:
        reading.stated_cost_nanousd = None
        reading.remarks.append("correction:zero_price")
