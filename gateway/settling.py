"""The settlement of budgets and of limits in one script: each is what it is alone (their `scripts`), with its own part
of the keys and arguments.
"""

from llmobs.budgets import scripts as budgets
from llmobs.budgets.ledger import Command
from llmobs.budgets.scripts import Script
from llmobs.limits import scripts as limits

# KEYS: the budgets', then the limits'. ARGV: how many keys and arguments are the budgets', theirs, then the limits'.
# The limits are settled whatever the ledger says: they do not depend on its epoch. Reply: the budgets'.
SETTLE = Script(
    "settle all",
    "local function settle_limits(KEYS, ARGV)\n" + limits.SETTLE + "\nend\n"
    "local function settle_budgets(KEYS, ARGV)\n" + budgets.SETTLE.text + "\nend\n"
    """
local k, a = tonumber(ARGV[1]), tonumber(ARGV[2])
local keys, args, their_keys, their_args = {}, {}, {}, {}
for i = 1, #KEYS do
  if i <= k then keys[i] = KEYS[i] else their_keys[i - k] = KEYS[i] end
end
for i = 3, #ARGV do
  if i <= a + 2 then args[i - 2] = ARGV[i] else their_args[i - a - 2] = ARGV[i] end
end
settle_limits(their_keys, their_args)
return settle_budgets(keys, args)
""",
)


def both_settled(held: Command, limited: Command) -> Command:
    """Both settlements as one command."""
    counts = (str(len(held.keys)), str(len(held.args)))
    return Command(SETTLE, [*held.keys, *limited.keys], [*counts, *held.args, *limited.args])
