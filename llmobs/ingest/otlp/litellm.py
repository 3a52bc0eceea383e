"""litellm's `otel` callback: no cache tokens in attributes, but in a Python dict that it writes as text."""

import re

from llmobs.ingest.otlp.reading import Attributes, Reading

SCOPE = "litellm"
USAGE = "metadata.usage_object"

_CACHE_READ = re.compile(r"'(?:cached_tokens|cache_read_input_tokens)': (\d{1,12})\b")
_CACHE_WRITE = re.compile(r"'(?:cache_creation_input_tokens|cache_write_tokens)': (\d{1,12})\b")
_REASONING = re.compile(r"'reasoning_tokens': (\d{1,12})\b")


def refine(attributes: Attributes, reading: Reading) -> None:
    """After the general reading: cache and reasoning tokens, and many metadata attributes that are empty."""
    text = attributes.pop(USAGE, "")
    if isinstance(text, str) and reading.is_call:
        known = reading.cache_read, reading.cache_write
        reading.cache_read = _largest(_CACHE_READ, text, reading.cache_read)
        reading.cache_write = _largest(_CACHE_WRITE, text, reading.cache_write)
        if (reading.cache_read or reading.cache_write) and known != (reading.cache_read, reading.cache_write):
            reading.remarks.append("correction:cache_from_text")
        reading.reasoning = _largest(_REASONING, text, reading.reasoning)
    for name in [name for name, value in attributes.items() if name.startswith("metadata.") and value in ("", "None")]:
        del attributes[name]


def _largest(pattern: re.Pattern[str], text: str, known: int | None) -> int | None:
    """The same number is there under two names, one of which may be zero."""
    found = [int(number) for number in pattern.findall(text)]
    return known if known is not None or not found else max(found)
