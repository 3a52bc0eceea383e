"""Routing by task: `x-llmobs-task` names one, a model named `auto` has it read from the request's shape. Pure.

The map from tasks to models is the routes' own: a route lists its `tasks`. So a cheap model takes classification and
extraction, a middle one summaries, a large one reasoning, a coding one code, as S3-07 of the documents has it.
"""

import re
from collections.abc import Iterable

from llmobs.providers.registry import RouteInfo

AUTO = "auto"  # as a model: the router chooses; among a route's tasks: what no other route takes
CODE, REASONING, FAQ, EXTRACTION, SUMMARIZATION, CLASSIFICATION, CHAT = (
    "code", "reasoning", "faq", "extraction", "summarization", "classification", "chat"
)  # fmt: skip

# Spellings of one task, and where a task goes that no route lists.
SPELLINGS = {"summarisation": SUMMARIZATION, "summary": SUMMARIZATION, "coding": CODE, "json": EXTRACTION}
FALLS_TO = {FAQ: CHAT, CLASSIFICATION: EXTRACTION, EXTRACTION: CLASSIFICATION}

FAQ_CHARACTERS = 240
LONG_CHARACTERS = 12_000
READ_CHARACTERS = 4_000  # of the beginning and of the end: that is where a request says what it wants

_CODE = re.compile(
    r"```|\bdef \w+\(|\bclass \w+[(:{]|\bfunction \w+\(|#include\b|\bimport [\w.]+;?$|=> *\{"
    r"|\bSELECT\b.{1,400}?\bFROM\b"
    r"|\b(stack ?trace|traceback|refactor|unit test|compile|debug|regex|pull request|python|javascript|typescript"
    r"|rust|golang|sql|bash) ?(script|code|function|query|error|program|class)?\b",
    re.IGNORECASE | re.MULTILINE,
)
_SUMMARY = re.compile(r"\b(summari[sz]e|summary of|tl;?dr|key (points|takeaways)|condense|in brief)\b", re.IGNORECASE)
_EXTRACTION = re.compile(
    r"\b(extract|as json|in json|json object|list all (the )?(names|dates|amounts|entities)|fill in the fields)\b",
    re.IGNORECASE,
)
_CLASSIFICATION = re.compile(
    r"\b(classify|categori[sz]e|which (category|label|class)|sentiment|label (this|the)|positive or negative)\b",
    re.IGNORECASE,
)
_REASONING = re.compile(
    r"\b(step by step|prove|derive|reason (about|through)|trade-?offs?|analy[sz]e|root cause|plan (for|how)|strategy"
    r"|compare .{1,80} (and|with|to)|why (does|do|did|is|are|would))\b",
    re.IGNORECASE,
)
# The order decides: what asks for a form (JSON, a label, a summary) wants it whatever it is about.
_SIGNS = (
    (EXTRACTION, _EXTRACTION),
    (CLASSIFICATION, _CLASSIFICATION),
    (SUMMARIZATION, _SUMMARY),
    (CODE, _CODE),
    (REASONING, _REASONING),
)


def task_of(text: str, wants_json: bool = False, thinks: bool = False) -> str:
    """The task that a request's text, its last user message foremost, looks like."""
    if wants_json:
        return EXTRACTION
    if thinks:
        return REASONING
    read = text if len(text) <= 2 * READ_CHARACTERS else f"{text[:READ_CHARACTERS]}\n{text[-READ_CHARACTERS:]}"
    for task, signs in _SIGNS:
        if signs.search(read):
            return task
    if len(text) >= LONG_CHARACTERS:
        return REASONING
    return FAQ if len(text) <= FAQ_CHARACTERS else CHAT


def route_for(task: str, routes: Iterable[RouteInfo]) -> RouteInfo | None:
    """The first route, in their order, that lists the task, or one that it falls to; None: none is made for it."""
    named = _plain(task)
    made = list(routes)
    for wanted in (named, FALLS_TO.get(named), AUTO):
        found = listing(wanted, made) if wanted is not None else None
        if found is not None:
            return found
    return None


def listing(task: str, routes: Iterable[RouteInfo]) -> RouteInfo | None:
    """The first route that lists the task itself; None: none does."""
    named = _plain(task)
    return next((route for route in routes if any(_plain(t) == named for t in route.tasks)), None)


def nothing_for(task: str) -> str:
    """The sentence of `unknown_model` where no route takes a task."""
    return (
        f"no route takes the task {task[:100]!r}: list it in a route's tasks "
        f"(or list {AUTO!r} there, for every task that no other route takes)"
    )


def _plain(task: str) -> str:
    named = task.strip().lower()
    return SPELLINGS.get(named, named)
