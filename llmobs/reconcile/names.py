"""Names of models, classes and tiers as providers write them, and as we do."""

import re
from collections.abc import Iterable, Mapping

from llmobs.reconcile import rows

_DATED = re.compile(r"[-@](?:\d{4}-\d{2}-\d{2}|\d{8}|latest)$")
_TIERS = {"batch": "batch", "batches": "batch", "message_batches": "batch", "priority": "priority", "flex": "flex"}
_STANDARD = ("", "standard", "default", "auto", "none", "null", "false", "priority_on_demand", "on_demand")

# The words of a line item behind the model's name.
_CLASS_WORDS = {
    "input": rows.UNCACHED,
    "text input": rows.UNCACHED,
    "uncached input": rows.UNCACHED,
    "cached input": rows.CACHE_READ,
    "cached text input": rows.CACHE_READ,
    "input cached": rows.CACHE_READ,
    "cache read": rows.CACHE_READ,
    "cache write": rows.WRITE_5M,
    "cached input write": rows.WRITE_5M,
    "input cache write": rows.WRITE_5M,
    "output": rows.OUTPUT,
    "text output": rows.OUTPUT,
    "audio input": rows.AUDIO_INPUT,
    "cached audio input": rows.AUDIO_CACHE_READ,
    "audio output": rows.AUDIO_OUTPUT,
    "image input": rows.IMAGE_INPUT,
    "image output": rows.IMAGE_OUTPUT,
}
_TOOL_WORDS = {"web search": rows.WEB_SEARCH, "file search tool": rows.FILE_SEARCH}

# Anthropic's cost report: `token_type` in JSON and in the CSV of the console.
TOKEN_TYPES = {
    "uncached_input_tokens": rows.UNCACHED,
    "input_no_cache": rows.UNCACHED,
    "input_tokens_no_cache": rows.UNCACHED,
    "usage_input_tokens_no_cache": rows.UNCACHED,
    "input": rows.UNCACHED,
    "cache_read_input_tokens": rows.CACHE_READ,
    "input_cache_read": rows.CACHE_READ,
    "input_tokens_cache_read": rows.CACHE_READ,
    "usage_input_tokens_cache_read": rows.CACHE_READ,
    "cache_creation.ephemeral_5m_input_tokens": rows.WRITE_5M,
    "input_cache_write_5m": rows.WRITE_5M,
    "input_tokens_cache_write_5m": rows.WRITE_5M,
    "usage_input_tokens_cache_write_5m": rows.WRITE_5M,
    "cache_creation.ephemeral_1h_input_tokens": rows.WRITE_1H,
    "input_cache_write_1h": rows.WRITE_1H,
    "input_tokens_cache_write_1h": rows.WRITE_1H,
    "usage_input_tokens_cache_write_1h": rows.WRITE_1H,
    "output_tokens": rows.OUTPUT,
    "usage_output_tokens": rows.OUTPUT,
    "output": rows.OUTPUT,
}


def tier_of(*words: str) -> str:
    """The tier of service that one of these words names; "" for the usual one, an unknown one as it is written."""
    for word in words:
        given = word.strip().lower()
        if given == "true":  # OpenAI's `batch`
            return "batch"
        if given not in _STANDARD:
            return _TIERS.get(given, given[:20])
    return ""


def line_item(text: str) -> tuple[str, str, str]:
    """(model, tier, class) of a line of OpenAI's costs, such as "gpt-4o-2024-08-06, cached input".

    What is no model's tokens is OTHER, and keeps its line.
    """
    head, _, tail = text.rpartition(", ")
    words = re.sub(r"[()|,]", " ", tail.lower()).split()
    tier = next((_TIERS[word] for word in [*words, *re.sub(r"[()|]", " ", head.lower()).split()] if word in _TIERS), "")
    kind = _CLASS_WORDS.get(" ".join(word for word in words if word not in _TIERS and word not in ("tokens", "api")))
    if head and kind:
        model = re.sub(r"\s+\(?(?:batch|priority|flex)\)?$", "", head.rpartition("|")[2].strip(), flags=re.IGNORECASE)
        return model, tier, kind
    tool = next(
        (unit for name, unit in _TOOL_WORDS.items() if name in text.lower() and "storage" not in text.lower()), ""
    )
    return "", "", tool or rows.OTHER


def plain_model(name: str) -> str:
    """A model's name as an API takes it: "Claude Sonnet 4.5" as claude-sonnet-4-5."""
    name = name.strip()
    if " " not in name:
        return name
    return re.sub(r"[ .]+", "-", name.lower())


def family(model: str) -> str:
    """A dated snapshot's alias: gpt-4o-2024-08-06 and claude-sonnet-4-5-20250929 without their dates."""
    return _DATED.sub("", model)


def common_names(theirs: Iterable[str], ours: Iterable[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """By each name of either side the one under which both are compared.

    Names that both sides have in the same way stay apart (gpt-4o-2024-05-13 costs more than gpt-4o); of a family of
    which the sides name different members all are taken together.
    """
    known = {name: aliases.get(name) or plain_model(name) for name in {*theirs, *ours}}
    there, here = ({known[name] for name in side} for side in (set(theirs), set(ours)))
    apart: dict[str, bool] = {}
    for name in there | here:
        apart.setdefault(family(name), True)
        apart[family(name)] &= name in there and name in here
    return {name: (plain if apart[family(plain)] else family(plain)) for name, plain in known.items()}
