"""What the gateway says of a call besides its figures, in words: attempts, cache, last resorts, refusals, guards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboards import numbers
from dashboards.queries.trace import FindingRow
from dashboards.tree import HEDGED, Node

DEGRADED = {
    "fallback": "fallback",
    "stale_cache": "stale answer",
    "static": "static answer",
    "budget_downgrade": "cheaper, by budget",
}
INSTEAD = {
    "stale_cache": "nobody answered: a stale answer from the cache was given",
    "static": "nobody answered: the route's static text was given",
}
HITS = {"hit-exact": "exact hit", "hit-semantic": "semantic hit"}
KINDS = {"injection": "prompt injection", "personal_data": "personal data", "secret": "secret", "too_long": "too long"}
PLACES = {"input": "what was asked", "tool_result": "a tool's result", "output": "the answer"}
ACTION_KINDS = {"blocked": "bad", "masked": "warn", "flagged": "warn"}
USD = "usd"

Badge = tuple[str, str]


@dataclass(frozen=True)
class FindingWords:
    """A guard's finding: what, where, what was done about it."""

    kind: str
    words: str
    place: str
    action: str
    action_kind: str
    count: int
    score: str  # of an injection


def badges(node: Node, findings: Sequence[FindingRow] = ()) -> list[Badge]:
    """How it was answered, where not plainly by the first choice; and what guards did."""
    span, found = node.span, []
    degraded = str(span.attributes.get("llmobs.degraded", ""))
    if degraded:
        found.append(("warn", DEGRADED.get(degraded, degraded)))
    elif span.status == "degraded":
        found.append(("warn", "fallback" if span.is_call or node.attempts else "degraded"))
    if hit := hit_word(node):
        found.append(("", hit))
    if span.error_type == HEDGED:
        found.append(("", "not heard"))
    if node.is_poor:
        found.append(("", "too poor"))
    done = dict.fromkeys(finding.action for finding in findings)
    return found + [(ACTION_KINDS[action], action) for action in ("blocked", "masked", "flagged") if action in done]


def hit_word(node: Node) -> str:
    """exact hit, where the cache answered; else ""."""
    return HITS.get(str(node.span.attributes.get("llmobs.cache", "")), "") if node.is_own_call else ""


def bar_words(node: Node) -> str:
    """Beside the bar: what a hit saved."""
    hit, saved = hit_word(node), node.span.attributes.get("llmobs.saved_nanousd")
    if not hit:
        return ""
    return f"{hit}, {numbers.money(saved)} saved" if isinstance(saved, int) else hit


def free_words(node: Node) -> str:
    """Why a call that bears no bill cost nothing; "" where this does not know."""
    attributes = node.span.attributes
    if not hit_word(node):
        instead = INSTEAD.get(str(attributes.get("llmobs.degraded", "")))
        return f"$0: {instead}, and no attempt was charged." if instead and not node.sum_nanousd else ""
    saved, provider = attributes.get("llmobs.saved_nanousd"), attributes.get("llmobs.cached_provider", "")
    given = numbers.count(attributes.get("llmobs.saved_input_tokens"))
    output = numbers.count(attributes.get("llmobs.saved_output_tokens"))
    amount = numbers.money(saved) if isinstance(saved, int) else "an unknown amount"
    whose = f" by {provider}" if provider else ""
    return f"$0: answered out of the cache, once given{whose}. Saved: {given} → {output} tokens, {amount}."


def sentence(node: Node) -> str:
    """What was asked and who answered, of a call with a span of its own; "" of any other."""
    span, attributes = node.span, node.span.attributes
    if not node.is_own_call:
        return ""
    length = numbers.duration(span.duration_ns)
    asked = str(attributes.get("llmobs.requested_model") or span.request_model or "a model")
    tries = attributes.get("llmobs.attempts") or 0
    after = f"after {tries} attempt{'s' if tries != 1 else ''}, {length}" if tries else f"in {length}"
    if node.is_failed:
        return f"Asked {asked}, failed {after}: {span.error_type.replace('_', ' ')}. {span.status_message}".rstrip()
    if instead := INSTEAD.get(str(attributes.get("llmobs.degraded", ""))):
        return f"Asked {asked} {after}; {instead}"
    if hit_word(node):
        return f"Asked {asked}, answered out of the cache {after}"
    by = f" of {span.provider_name}" if span.provider_name else ""
    return f"Asked {asked}, answered by {span.request_model}{by} {after}"


def refusal_rows(attributes: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The numbers of a refusal: of a budget or of a limit; nothing for other reasons."""
    told = {name.removeprefix("llmobs.refusal."): value for name, value in attributes.items()}
    if "limit" not in told:
        return []

    def amount(value: Any) -> str:
        if not isinstance(value, int):
            return numbers.UNKNOWN
        return numbers.money(value) if told.get("unit") == USD else numbers.count(value)

    of, unit = str(told.get("value", "")), str(told.get("unit", "")).replace("_", " ")
    whose = [("For", of)] if of else []
    if "budget" in told:
        spent = [told.get("base"), told.get("pending")]
        known = sum(part for part in spent if isinstance(part, int))
        head = [("Budget", f"{told['budget']}, {told.get('window', '')}"), *whose, ("Limit", amount(told["limit"]))]
        return [
            *head,
            ("Spent", amount(known)),
            ("Held", amount(told.get("held"))),
            ("Asked", amount(told.get("requested"))),
        ]
    unit = "" if unit == USD else f" {unit}"
    per = f" per {told['per']}" if told.get("per") else ""
    name = [("Limit", str(told["limit_name"]))] if told.get("limit_name") else []
    used = [("Used", amount(told["used"]))] if "used" in told else []
    rows = [
        *name,
        *whose,
        ("At most", f"{amount(told['limit'])}{unit}{per}"),
        *used,
        ("Asked", amount(told.get("requested"))),
    ]
    wait = told.get("retry_after_seconds")
    return [*rows, ("Again in", f"{wait} s")] if isinstance(wait, int) and wait >= 0 else rows


def finding_words(findings: Sequence[FindingRow]) -> list[FindingWords]:
    """Findings as the panel tells them, what was done first."""
    order = {action: index for index, action in enumerate(("blocked", "masked", "flagged", "logged"))}
    return [
        FindingWords(
            KINDS.get(each.kind, each.kind),
            each.name.replace("_", " "),
            PLACES.get(each.place, each.place),
            each.action,
            ACTION_KINDS.get(each.action, ""),
            each.count,
            f"{each.score_permille / 1000:.2f}" if each.kind == "injection" else "",
        )
        for each in sorted(findings, key=lambda each: (order.get(each.action, 9), each.kind, each.name))
    ]
