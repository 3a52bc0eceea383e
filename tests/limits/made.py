"""Makes limits and asks them, at a time of the test's own, on a real Valkey."""

from typing import Any

import redis

from llmobs.budgets.ledger import text
from llmobs.limits import admission, scripts
from llmobs.limits.admission import Exceeded, Taken
from llmobs.limits.definition import AppliedLimit, LimitInfo, Limits
from llmobs.tenants.attribution import Attribution

AT_S = 1_795_252_000
NOBODY = Attribution()

# The admission script with the clock given: a test does not wait.
ADMIT_AT = f"""
local now_s = tonumber(ARGV[1])
local k, a, reply = 0, 1, {{1}}
{scripts.ASK}
{scripts.TAKE}
return reply
"""


def info(limit: int = 10, **changes: Any) -> LimitInfo:
    """Requests per minute of the whole tenant."""
    fields: dict[str, Any] = {
        "id": 1,
        "tenant_id": 7,
        "name": "",
        "unit": "requests",
        "per": "minute",
        "limit": limit,
        "scope": (),
    }
    return LimitInfo(**{**fields, **changes})


def applied(limit: int = 10, who: Attribution = NOBODY, ip: str = "", **changes: Any) -> AppliedLimit:
    """The one limit as it applies to a call of tenant 7."""
    return Limits([info(limit, **changes)]).applying(7, who, "gpt-4o-mini", "openai", ip)[0]


def admit(
    client: redis.Redis, *asked: tuple[AppliedLimit, int], at_s: int | None = AT_S, member: str = "gateway-1:a"
) -> Taken | Exceeded:
    """Ask all, then take all. `at_s` None: by the server's own clock, in the script that stands alone."""
    keys, args = admission.ask(asked, member)
    if at_s is None:
        reply: Any = client.eval(scripts.ADMIT_ALONE, len(keys), *keys, *args)
    else:
        reply = client.eval(ADMIT_AT, len(keys), *keys, at_s, *args)
    if admission.is_exceeded(reply):
        return admission.parse_exceeded(reply)
    return admission.parse_taken(reply, 1, len(asked))[0]


def settle(
    client: redis.Redis, *changes: tuple[AppliedLimit, int], taken_at_s: int = AT_S, member: str = "gateway-1:a"
) -> int:
    keys, args = admission.settle(taken_at_s, changes, member)
    changed: Any = client.eval(scripts.SETTLE, len(keys), *keys, *args)
    return int(changed)


def counted(client: redis.Redis, each: AppliedLimit) -> int:
    """What stands under a limit, and that its sum is the sum of its steps."""
    cells: dict[str, int] = {}
    for name, value in client.hgetall(each.key).items():
        cells[text(name)] = int(value)
    steps = sum(value for name, value in cells.items() if name.isdigit())
    assert cells.get("s", 0) == steps
    return steps
