"""What a caller is told of its limits: the refusal with both numbers, and the headers of the tightest that apply."""

from collections.abc import Sequence

from gateway.errors import Headers, Refusal
from llmobs.limits.admission import Exceeded, Taken
from llmobs.limits.definition import AppliedLimit, LimitInfo
from llmobs.limits.units import CONCURRENT, DAY, REQUESTS, TOKENS

_COUNTED = {REQUESTS: "requests", TOKENS: "tokens", CONCURRENT: "calls"}
_WHILE = {"minute": "this minute", "hour": "this hour", "day": "within a day", "": "at once"}
_USERS = ("user", "session", "ip")

_NAMES = {
    unit: (b"x-ratelimit-limit-" + name, b"x-ratelimit-remaining-" + name, b"x-ratelimit-reset-" + name)
    for unit, name in ((REQUESTS, b"requests"), (TOKENS, b"tokens"))
}

Asked = Sequence[tuple[AppliedLimit, int]]


def refusal(applied: AppliedLimit, amount: int, exceeded: Exceeded) -> Refusal:
    """A limit would be passed: which, by how much, and when to come again."""
    limit, wait = applied.limit, exceeded.wait_seconds
    need = "" if limit.unit == CONCURRENT else f", and this call {_needs(limit, amount)}"
    when = "it never fits" if wait is None else f"try again in {wait} s"
    return Refusal(
        _reason(limit),
        f"{exceeded.used} {_COUNTED[limit.unit]} {_WHILE[limit.per]} {_whose(limit)} (limit {exceeded.limit}){need}: "
        f"{when}",
        {
            "limit_name": limit.name,
            "unit": limit.unit,
            "per": limit.per,
            "value": applied.value,
            "limit": exceeded.limit,
            "used": exceeded.used,
            "requested": amount,
            "retry_after_seconds": -1 if wait is None else wait,
        },
        _when(limit, wait),
    )


def _needs(limit: LimitInfo, amount: int) -> str:
    return f"may need {amount}" if limit.unit == TOKENS else f"is {amount} more"


def _reason(limit: LimitInfo) -> str:
    """By period, then by whom it is for: a quota of a day is no rate, and waiting a moment does not help."""
    if limit.per == DAY:
        return "quota_exhausted"
    return f"rate_limited_{_level(limit)}"


def _level(limit: LimitInfo) -> str:
    dimensions = dict(limit.scope)
    if any(name in dimensions for name in _USERS):
        return "user"
    if "key" in dimensions:
        return "key"
    is_tenants = limit.tenant_id is not None or bool(dimensions.keys() & {"tenant", "feature", "environment"})
    return "tenant" if is_tenants else "global"


def _whose(limit: LimitInfo) -> str:
    names = " and ".join(name for name, _ in limit.scope)
    return f"for this {names}" if names else "for all tenants" if limit.tenant_id is None else "for this tenant"


def _when(limit: LimitInfo, wait: int | None) -> Headers:
    headers: Headers = [] if wait is None else [(b"retry-after", b"%d" % wait)]
    if wait is None and limit.per != DAY:  # of a day's quota its face says so already
        headers.append((b"x-should-retry", b"false"))
    return headers


def cap_refusal(kind: str, tokens: int, cap: int) -> Refusal:
    """One request is too large. `kind`: input or output."""
    what = "takes about" if kind == "input" else "asks for up to"
    return Refusal(
        "token_limit",
        f"this request {what} {tokens} {kind} tokens (limit {cap} per request)",
        {"unit": f"{kind}_tokens", "per": "request", "limit": cap, "requested": tokens},
    )


def headers(asked: Asked, taken: Taken) -> Headers:
    """`x-ratelimit-*` of the tightest limit of requests and of tokens, as OpenAI names them."""
    left, back = taken.left, taken.back_seconds
    tightest: dict[str, int] = {}
    for index, (applied, _) in enumerate(asked):
        unit = applied.limit.unit
        if unit in _NAMES and (unit not in tightest or left[index] < left[tightest[unit]]):
            tightest[unit] = index
    told: Headers = []
    for unit, index in tightest.items():
        names = _NAMES[unit]
        told += (
            (names[0], b"%d" % asked[index][0].limit.limit),
            (names[1], b"%d" % left[index]),
            (names[2], b"%ds" % back[index] if back[index] < 60 else duration(back[index]).encode()),
        )
    return told


def exceeded_headers(applied: AppliedLimit, exceeded: Exceeded) -> Headers:
    """The same of the limit that refused."""
    unit = applied.limit.unit
    if unit == CONCURRENT:
        return []
    return _told(unit, exceeded.limit, max(exceeded.limit - exceeded.used, 0), exceeded.wait_seconds)


def _told(unit: str, limit: int, left: int, seconds: int | None) -> Headers:
    names = _NAMES[unit]
    told = [(names[0], b"%d" % limit), (names[1], b"%d" % max(left, 0))]
    if seconds is not None:
        told.append((names[2], duration(seconds).encode()))
    return told


def duration(seconds: int) -> str:
    """As OpenAI writes it: 1s, 6m0s, 1h0m0s."""
    if seconds < 60:
        return f"{seconds}s"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
