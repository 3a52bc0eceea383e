"""Embedding vectors are not stored: large, and nothing here reads them. Their number and dimension are."""

from typing import Any

from llmobs.ingest.otlp.reading import Attributes, parsed

DIMENSION = "gen_ai.embeddings.dimension.count"  # as OpenTelemetry calls it
COUNT = "llmobs.embeddings.count"


def note(attributes: Attributes, vectors: list[Any]) -> None:
    """Put down how many vectors there were, and how long: each a list of numbers, or that as a JSON text."""
    if not vectors:
        return
    attributes.setdefault(COUNT, len(vectors))
    first = parsed(vectors[0])
    if isinstance(first, list) and first:
        attributes.setdefault(DIMENSION, len(first))
