"""What a call's admission asks ahead of the budgets, in one script with them.

Each section is a pair of Lua chunks: all ask, in this order, then all take. So a refusal by any of them, or an answer
from one of them, takes nothing of the others.
"""

from collections.abc import Sequence

from gateway.plane import Plane
from gateway.valkey import Away
from llmobs.budgets import scripts as budgets
from llmobs.budgets.ledger import Ahead, Command, Front
from llmobs.budgets.scripts import Script
from llmobs.cache import scripts as cache
from llmobs.limits import scripts as limits

SECTIONS = (cache, limits, budgets)
NO_BUDGETS = "0"

Words = tuple[Sequence[str], Sequence[str]]

ADMIT = Script(
    "admit",
    """
local time = redis.call('TIME')
local now_s, now_us = tonumber(time[1]), tonumber(time[2])
local k, a, reply = 0, 0, {1}
"""
    + "".join(section.ASK for section in SECTIONS)
    + "".join(section.TAKE for section in SECTIONS)
    + "return reply\n",
)


def front(*words: Words) -> Front:
    """The sections before the budgets, by the keys and arguments of each, in their order."""
    keys: list[str] = []
    args: list[str] = []
    for their_keys, their_args in words:
        keys += their_keys
        args += their_args
    return Front(ADMIT, keys, args)


async def ask_alone(asked: Front, plane: Plane) -> tuple[object, ...] | Ahead | None:
    """The sections without budgets: what they took, what one of them answered instead; None: Valkey is away."""
    try:
        reply = await plane.holds.valkey.run_script(Command(asked.script, asked.keys, [*asked.args, NO_BUDGETS]))
    except Away:
        return None
    return tuple(reply[1:]) if reply[0] == 1 else Ahead(reply)
