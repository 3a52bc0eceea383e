"""The Lua of the limits: chunks that the gateway's one admission script is made of, and scripts of their own.

A window slides by small steps (`units.STEPS`). One hash per limit and value: a field per step in which something was
taken (its number since 1970: the amount), `s` their sum, `o` the oldest of them.

1. ASK drops the steps that have left every window ending now, adds the rest up anew, and refuses where sum + amount
   would pass the limit. All limits of a call ask before any takes, so what is refused takes nothing.
2. TAKE adds the amount to this moment's step. The answer says how much is left, and when the oldest comes back.
3. SETTLE changes what was taken from the estimate to the actual, in the step in which it was taken.

Why never more than the limit in any window, wherever it begins: a step is dropped only when its last moment is a whole
window ago. So it stays up to a step too long, and no burst fits around the edge of a fixed minute. A clock put back
makes steps of the future: they count, and leave later.

Calls at once are leases: a sorted set of members, scored by when each lapses. A living gateway renews its own, so the
places of a dead one come back within a lease.

A key lives for two windows after its last new step (`EXPIRE`: 120 s for a minute, 172,800 s for a day), so nothing has
to look for old ones. By then it has been empty for a window: expiry is never what frees a place. A server that evicts
keys which expire would forget limits; the ledger forbids such a server too (`noeviction`).

An admission that is asked again, since its reply was lost or came too late, begins with UNDO: what it took at first,
then ASK and TAKE as ever. That it took is told by the hold of its budgets, made in the same step.

What may go wrong, and what comes of it: a take whose reply was lost for good, or a settle that was, leaves the
estimate in the window until that has passed. A settle is sent once and never repeated. A lost Valkey begins at
nothing; a settle that comes after finds no step, or takes at most what it finds there from calls of the same step.

The chunks' convention (the composer's): cursors `k` and `a` stand before the section's first key and argument;
`now_s` is the server's time; `reply` is what a grant answers. A refusal is {0, 'l', index, used, limit, seconds until
it fits (-1: never)}.
"""

# Arguments: number of limits n, then for each: seconds of a step (0: calls at once), steps of the window, limit, and
# the amount (of calls at once: the lease's seconds, a colon, its member). Keys: n.
ASK = """
local limits_n, limits_k, limits_a = tonumber(ARGV[a + 1]), k, a + 1
local limits_left, limits_back = {}, {}
for i = 1, limits_n do
  local key, at = KEYS[limits_k + i], limits_a + 4 * i
  local step, limit = tonumber(ARGV[at - 3]), tonumber(ARGV[at - 1])
  if step == 0 then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now_s)
    local used = redis.call('ZCARD', key)
    if used >= limit then return {0, 'l', i - 1, used, limit, limit == 0 and -1 or 1} end
    limits_left[i], limits_back[i] = limit - used - 1, 1
  else
    local steps, amount = tonumber(ARGV[at - 2]), tonumber(ARGV[at])
    local now = math.floor(now_s / step)
    local row = redis.call('HMGET', key, 's', 'o')
    local sum, oldest = tonumber(row[1] or 0), tonumber(row[2] or now)
    if oldest < now - steps then
      local cells, gone = redis.call('HGETALL', key), {}
      sum, oldest = 0, now
      for j = 1, #cells, 2 do
        local number = tonumber(cells[j])
        if number and number < now - steps then
          gone[#gone + 1] = cells[j]
        elseif number then
          sum = sum + tonumber(cells[j + 1])
          if number < oldest then oldest = number end
        end
      end
      if #gone > 0 then redis.call('HDEL', key, unpack(gone)) end
      redis.call('HSET', key, 's', string.format('%.0f', sum), 'o', oldest)
    end
    if sum + amount > limit then
      local cells, numbers, by = redis.call('HGETALL', key), {}, {}
      for j = 1, #cells, 2 do
        local number = tonumber(cells[j])
        if number then
          numbers[#numbers + 1] = number
          by[number] = tonumber(cells[j + 1])
        end
      end
      table.sort(numbers)
      local rest, wait = sum, -1
      if amount <= limit then
        for _, number in ipairs(numbers) do
          rest = rest - by[number]
          if rest + amount <= limit then
            wait = (number + steps + 1) * step - now_s
            break
          end
        end
      end
      return {0, 'l', i - 1, sum, limit, wait}
    end
    limits_left[i], limits_back[i] = limit - sum - amount, (oldest + steps + 1) * step - now_s
  end
end
k, a = k + limits_n, limits_a + 4 * limits_n
"""

# Before ASK, with its cursors. The last key and the last two arguments are the admission's own: a budget's key, the
# attempt that it holds if it took, and seconds since that was asked. Those are the gateway's, so the step beside is
# looked at too. What is given back is taken anew at once, so nobody else gets the place in between.
UNDO = """
if redis.call('HEXISTS', KEYS[#KEYS], ARGV[#ARGV - 1]) == 1 then
  local at_s = now_s - tonumber(ARGV[#ARGV])
  for i = 1, tonumber(ARGV[a + 1]) do
    local key, at = KEYS[k + i], a + 1 + 4 * i
    local step, amount = tonumber(ARGV[at - 3]), ARGV[at]
    if step == 0 then
      redis.call('ZREM', key, string.match(amount, ':(.*)$'))
    elseif amount ~= '0' then
      local number = math.floor(at_s / step)
      for _, cell in ipairs({number, number + 1, number - 1}) do
        if tonumber(redis.call('HGET', key, cell) or 0) >= tonumber(amount) then
          redis.call('HINCRBY', key, cell, '-' .. amount)
          redis.call('HINCRBY', key, 's', '-' .. amount)
          break
        end
      end
    end
  end
end
"""

# Adds to `reply`, if there is any limit: the server's second, then for each limit what is left and the seconds until
# something of it comes back.
TAKE = """
if limits_n > 0 then reply[#reply + 1] = now_s end
for i = 1, limits_n do
  local key, at = KEYS[limits_k + i], limits_a + 4 * i
  local step, amount = tonumber(ARGV[at - 3]), ARGV[at]
  if step == 0 then
    local lease, member = string.match(amount, '^(%d+):(.*)$')
    redis.call('ZADD', key, now_s + tonumber(lease), member)
    redis.call('EXPIRE', key, 2 * tonumber(lease))
  else
    local now = math.floor(now_s / step)
    if redis.call('HINCRBY', key, now, amount) == tonumber(amount) then
      redis.call('HSETNX', key, 'o', now)
      redis.call('EXPIRE', key, 2 * step * tonumber(ARGV[at - 2]))
    end
    redis.call('HINCRBY', key, 's', amount)
  end
  reply[#reply + 1] = limits_left[i]
  reply[#reply + 1] = limits_back[i]
end
"""

# KEYS: the limits' keys. ARGV, for each: the number of the step in which it was taken and the signed difference of
# the actual to what was taken; of calls at once "" and the lease's member. Reply: how many were changed.
SETTLE = """
local changed = 0
for i, key in ipairs(KEYS) do
  local step, change = ARGV[2 * i - 1], ARGV[2 * i]
  if step == '' then
    changed = changed + redis.call('ZREM', key, change)
  else
    local cell = redis.call('HGET', key, step)
    if cell then
      if tonumber(change) < -tonumber(cell) then change = string.format('%.0f', 0 - tonumber(cell)) end
      redis.call('HINCRBY', key, step, change)
      redis.call('HINCRBY', key, 's', change)
      changed = changed + 1
    end
  end
end
return changed
"""

# KEYS: one limit's key. ARGV: the lease's seconds, then members. A lease that lapsed or was lost with Valkey is taken
# anew: the call is still under way. Reply: how many.
RENEW = """
local now_s = tonumber(redis.call('TIME')[1])
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now_s + tonumber(ARGV[1]), ARGV[i]) end
redis.call('EXPIRE', KEYS[1], 2 * tonumber(ARGV[1]))
return #ARGV - 1
"""

# The chunks as a script of its own: where nothing but limits is asked. Reply: {1, as TAKE says}, or a refusal.
ADMIT_ALONE = f"""
local now_s = tonumber(redis.call('TIME')[1])
local k, a, reply = 0, 0, {{1}}
{ASK}
{TAKE}
return reply
"""
