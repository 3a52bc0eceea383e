"""The Lua scripts of the ledger (budgets/ledger.py tells the protocol): each runs whole, on one tenant's keys.

Sums are changed by HINCRBY on the arguments' own digits, for Lua formats numbers past 10**14 with an exponent.
Comparing is exact to 2**53, and no limit passes that (`core.money.MOST_NANOUSD`).

A call has one admission script, made of sections (a cached answer, rate limits, budgets): all ask first, then all
take, and a section's keys and arguments follow those of the one before (`gateway.admission` puts them together).

The first integer of a reply: 1 done, 0 refused, -1 another epoch (its word follows), -2 a budget that is not counted.
"""

from hashlib import sha1


class Script:
    """A Lua script with the name by which the server knows it."""

    __slots__ = ("name", "sha", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.sha = sha1(text.encode(), usedforsecurity=False).hexdigest()


_FILLING = """
local at = redis.call('GET', KEYS[1])
if at ~= 'open ' .. ARGV[1] and at ~= 'closed ' .. ARGV[1] then return {-1, at or ''} end
local function take(key, field, amount)
  if amount ~= '0' then redis.call('HINCRBY', key, field, '-' .. amount) end
end
local function drop(key, attempt)
  local cell = redis.call('HGET', key, attempt)
  if not cell then return 0 end
  local state, amount = string.match(cell, '^(%a)(%d+):')
  take(key, state == 'h' and 'held' or 'pending', amount)
  redis.call('HDEL', key, attempt)
  return 1
end
"""

# The budgets' section of a call's admission, as two chunks: ASK looks and may refuse, TAKE holds. `k` and `a` are how
# many KEYS and ARGV the sections before it have used; `reply` gets what is left of each budget.
# KEYS: epoch, counted, then per budget its key.
# ARGV: number of budgets (0: nothing follows), epoch, attempt, ":<begin_s>:<owner>", then per budget "id:revision",
# "b" (may refuse) or "a" (alerts only), limit, amount. A rolling budget's "b7" says that seven more KEYS of its other
# days follow after all budgets' own; they count, and nothing is held in them. That today's key is there does not say
# that they are known, so it is always asked whether the budget is counted.
# Refuses with {0, 'b', index, base, pending, held}, {-1, epoch}, {-2, index}.
ASK = """
local budgets, budgets_k, budgets_a = tonumber(ARGV[a + 1]), k + 2, a + 4
local budgets_rows, budgets_left, budgets_held, budgets_days = {}, {}, false, 0
if budgets == 0 then
  a = a + 1
else
  local at = redis.call('GET', KEYS[k + 1])
  if at ~= 'open ' .. ARGV[a + 2] then return {-1, at or ''} end
  for i = 1, budgets do
    local row = redis.call('HMGET', KEYS[budgets_k + i], 'base', 'pending', 'held', ARGV[a + 3])
    local kind = ARGV[budgets_a + 4 * i - 2]
    local is_rolling = #kind > 1
    if (is_rolling or not row[1]) and redis.call('SISMEMBER', KEYS[k + 2], ARGV[budgets_a + 4 * i - 3]) == 0 then
      return {-2, i - 1}
    end
    if is_rolling then
      for _ = 1, tonumber(string.sub(kind, 2)) do
        budgets_days = budgets_days + 1
        local day = redis.call('HMGET', KEYS[budgets_k + budgets + budgets_days], 'base', 'pending', 'held')
        for j = 1, 3 do row[4 + j] = (row[4 + j] or 0) + tonumber(day[j] or 0) end
      end
    end
    if row[4] then budgets_held = true end
    budgets_rows[i] = row
  end
  for i = 1, budgets do
    local row, at_i = budgets_rows[i], budgets_a + 4 * i
    local base, pending, held = tonumber(row[1] or 0), tonumber(row[2] or 0), tonumber(row[3] or 0)
    if row[5] then base, pending, held = base + row[5], pending + row[6], held + row[7] end
    local left = tonumber(ARGV[at_i - 1]) - base - pending - held
    if not budgets_held then left = left - tonumber(ARGV[at_i]) end
    if left < 0 and not budgets_held and string.byte(ARGV[at_i - 2]) == 98 then
      return {0, 'b', i - 1, base, pending, held}
    end
    budgets_left[i] = left
  end
  k, a = k + 2 + budgets + budgets_days, a + 4 + 4 * budgets
end
"""
TAKE = """
for i = 1, budgets do
  reply[#reply + 1] = budgets_left[i]
  if not budgets_held then
    local key, amount = KEYS[budgets_k + i], ARGV[budgets_a + 4 * i]
    if not budgets_rows[i][1] then redis.call('HSET', key, 'base', '0', 'version', '0') end
    redis.call('HINCRBY', key, 'held', amount)
    redis.call('HSET', key, ARGV[budgets_a - 1], 'h' .. amount .. ARGV[budgets_a])
  end
end
"""

# The section alone. Reply: {1, what is left of each}, or the section's refusals.
RESERVE = Script("reserve", "local k, a, reply = 0, 0, {1}" + ASK + TAKE + "return reply")

# KEYS: epoch, then the budgets' keys. ARGV: epoch, attempt, then the actual amount of each. Reply: {1, changed}.
SETTLE = Script(
    "settle",
    _FILLING
    + """
local changed = 0
for i = 2, #KEYS do
  local cell = redis.call('HGET', KEYS[i], ARGV[2])
  if cell and string.sub(cell, 1, 1) == 'h' then
    local amount, tail = string.match(cell, '^h(%d+)(:.*)$')
    take(KEYS[i], 'held', amount)
    redis.call('HINCRBY', KEYS[i], 'pending', ARGV[1 + i])
    redis.call('HSET', KEYS[i], ARGV[2], 'p' .. ARGV[1 + i] .. tail)
    changed = changed + 1
  end
end
return {1, changed}
""",
)

# KEYS: epoch, then the budgets' keys. ARGV: epoch, attempt. What is settled stays. Reply: {1, changed}.
RELEASE = Script(
    "release",
    _FILLING
    + """
local changed = 0
for i = 2, #KEYS do
  local cell = redis.call('HGET', KEYS[i], ARGV[2])
  if cell and string.sub(cell, 1, 1) == 'h' then changed = changed + drop(KEYS[i], ARGV[2]) end
end
return {1, changed}
""",
)

# KEYS: epoch, counted, the budget's key. ARGV: epoch, base ("" leaves it), version, "id:revision" to announce as
# counted (or ""), "1" if it is to wait for the versions before it, then the attempts to drop. Reply: {1, dropped}, or
# {0} when one before it is still to come: its attempts are in this base, and would count twice.
FOLD = Script(
    "fold",
    _FILLING
    + """
local key = KEYS[3]
local there = redis.call('HGET', key, 'version')
if ARGV[2] ~= '' and tonumber(ARGV[3]) > tonumber(there or -1) then
  if ARGV[5] == '1' and there and tonumber(ARGV[3]) > tonumber(there) + 1 then return {0} end
  redis.call('HSET', key, 'base', ARGV[2], 'version', ARGV[3])
end
local dropped = 0
for i = 6, #ARGV do dropped = dropped + drop(key, ARGV[i]) end
if ARGV[4] ~= '' then redis.call('SADD', KEYS[2], ARGV[4]) end
return {1, dropped}
""",
)

# KEYS: epoch, then the budgets' keys. ARGV: epoch, attempt, "h" or "p", ":<begin_s>:<owner>", then the amount of
# each. Reply: {1, changed}.
HAND_IN = Script(
    "hand_in",
    _FILLING
    + """
local attempt, state, changed = ARGV[2], ARGV[3], 0
for i = 2, #KEYS do
  local key, amount = KEYS[i], ARGV[3 + i]
  local cell = redis.call('HGET', key, attempt)
  if not cell or (state == 'p' and string.sub(cell, 1, 1) == 'h') then
    drop(key, attempt)
    redis.call('HINCRBY', key, state == 'h' and 'held' or 'pending', amount)
    redis.call('HSET', key, attempt, state .. amount .. ARGV[4])
    changed = changed + 1
  end
end
return {1, changed}
""",
)

# KEYS: epoch, then budgets' keys. No ARGV. Reply: {1, then per key base, version, pending, held, live attempts}.
STATUS = Script(
    "status",
    """
local at = redis.call('GET', KEYS[1])
if not at or string.sub(at, 1, 5) ~= 'open ' then return {-1, at or ''} end
local reply = {1}
for i = 2, #KEYS do
  local row = redis.call('HMGET', KEYS[i], 'base', 'version', 'pending', 'held')
  local fields, sums = redis.call('HLEN', KEYS[i]), 0
  for j = 1, 4 do
    if row[j] then sums = sums + 1 end
    reply[#reply + 1] = tonumber(row[j] or 0)
  end
  reply[#reply + 1] = fields - sums
end
return reply
""",
)

# KEYS: epoch. ARGV: what it must be, what it becomes. Reply: {1} or {-1, what it is}.
TURN = Script(
    "turn",
    """
local at = redis.call('GET', KEYS[1]) or ''
if at ~= ARGV[1] then return {-1, at} end
redis.call('SET', KEYS[1], ARGV[2])
return {1}
""",
)

# KEYS: epoch, a budget's key whose window is over. ARGV: epoch. Reply: {1, 1 if it was deleted}.
SWEEP = Script(
    "sweep",
    _FILLING
    + """
local row = redis.call('HMGET', KEYS[2], 'base', 'version', 'pending', 'held')
local sums = 0
for j = 1, 4 do if row[j] then sums = sums + 1 end end
if redis.call('HLEN', KEYS[2]) > sums then return {1, 0} end
return {1, redis.call('DEL', KEYS[2])}
""",
)

SCRIPTS = (RESERVE, SETTLE, RELEASE, FOLD, HAND_IN, STATUS, TURN, SWEEP)
BY_SHA = {script.sha: script for script in SCRIPTS}
