"""What the generations of Claude take, as Anthropic documents it, where that decides how a request is translated."""

import re

_CLAUDE = re.compile(r"claude-(?:[a-z]+-)?(\d+)(?:[-.](\d{1,2}))?(?!\d)")
_NEWEST = (99, 0)


def generation(model: str) -> tuple[int, int] | None:
    """(4, 5) of claude-sonnet-4-5-20250929; None: it is no Claude. One without a number is taken as the newest."""
    found = _CLAUDE.search(model.lower())
    if found is None:
        return _NEWEST if "claude-" in model.lower() else None
    return int(found[1]), int(found[2] or 0)


def thinks_adaptively(model: str) -> bool:
    """Thinking is asked for as `adaptive`, with an effort; before Claude 4.6 by a budget of tokens."""
    return (generation(model) or (0, 0)) >= (4, 6)


def thinks_by_budget(model: str) -> bool:
    """Claude 3.7 was the first to think. Of other models behind Anthropic's format it is assumed."""
    known = generation(model)
    return known is None or (3, 7) <= known < (4, 6)


def has_structured_outputs(model: str) -> bool:
    """`output_config.format` is known to all models since Claude 4.5."""
    return (generation(model) or (0, 0)) >= (4, 5)


def takes_sampling(model: str) -> bool:
    """Since Claude 4.7 temperature, top_p and top_k are refused."""
    known = generation(model)
    return known is None or known < (4, 7)


def takes_one_sampling(model: str) -> bool:
    """Claude 4 takes either temperature or top_p."""
    known = generation(model)
    return known is not None and known >= (4, 0)


def effort(model: str, asked: str) -> str:
    """OpenAI's word for an effort as the model knows it; "" for none."""
    if asked == "xhigh":
        return "xhigh" if (generation(model) or (0, 0)) >= (4, 7) else "high"
    return {"minimal": "low"}.get(asked, asked) if asked in ("minimal", "low", "medium", "high", "max") else ""
