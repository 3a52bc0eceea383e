"""What a call's admission asks ahead of the budgets, in one script with them.

Each section is a pair of Lua chunks: all ask, in this order, then all take. So a refusal by any of them, or an answer
from one of them, takes nothing of the others.
"""

from collections.abc import Sequence

from llmobs.budgets import scripts as budgets
from llmobs.budgets.ledger import Front
from llmobs.budgets.scripts import Script
from llmobs.cache import scripts as cache
from llmobs.limits import scripts as limits

SECTIONS = (cache, limits, budgets)
NO_BUDGETS = "0"

Words = tuple[Sequence[str], Sequence[str]]

_BEGIN = """
local time = redis.call('TIME')
local now_s, now_us = tonumber(time[1]), tonumber(time[2])
local k, a, reply = 0, 0, {1}
"""
_TAKE = "".join(section.TAKE for section in SECTIONS) + "return reply\n"

ADMIT = Script("admit", _BEGIN + "".join(section.ASK for section in SECTIONS) + _TAKE)
# The same asked again by an attempt that may have been let in already: limits are taken of once, as budgets hold once.
ADMIT_AGAIN = Script("admit again", _BEGIN + cache.ASK + limits.UNDO + limits.ASK + budgets.ASK + _TAKE)


def front(*words: Words) -> Front:
    """The sections before the budgets, by the keys and arguments of each, in their order."""
    keys: list[str] = []
    args: list[str] = []
    for their_keys, their_args in words:
        keys += their_keys
        args += their_args
    return Front(ADMIT, keys, args, ADMIT_AGAIN)
