"""What gateways tell each other of a session that looks like a runaway, in Valkey: words and one script, no I/O.

A hash per session, of the tenant's slot, with expiry: a field per gateway with what it counted, and `#` with the
pause, which the first gateway that pauses writes; one that has ended gives way to the next. Asked beside the calls,
once a second, and only of sessions that look like a runaway to the gateway that asks. Valkey may lose all of this:
pauses are rows of PostgreSQL too.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from llmobs.brake.track import Sums

# KEYS: the session. ARGV: gateway, its counts, pause ("" none: "id until_s told"), seconds of the window, seconds
# that the pause lasts ("0": none). Reply: counts of the others, the pause or "".
SHARE = """
local now = tonumber(redis.call('TIME')[1])
local window = tonumber(ARGV[4])
redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2])
if ARGV[3] ~= '' then
  local known = redis.call('HGET', KEYS[1], '#')
  if not known or (tonumber(string.match(known, '^%S+ (%d+)')) or 0) <= now then
    redis.call('HSET', KEYS[1], '#', ARGV[3])
  end
end
local keep = math.max(2 * window, tonumber(ARGV[5]))
if redis.call('TTL', KEYS[1]) < keep then redis.call('EXPIRE', KEYS[1], keep) end
local sums, pause = {0, 0, 0, 0, 0}, ''
local rows = redis.call('HGETALL', KEYS[1])
for i = 1, #rows, 2 do
  if rows[i] == '#' then pause = rows[i + 1]
  elseif rows[i] ~= ARGV[1] then
    local n = 0
    for word in string.gmatch(rows[i + 1], '%d+') do
      if n == 0 and tonumber(word) <= now - window then break end
      if n > 0 and n < 6 then sums[n] = sums[n] + tonumber(word) end
      n = n + 1
    end
  end
end
local reply = {}
for i = 1, 5 do reply[i] = string.format('%.0f', sums[i]) end
reply[6] = pause
return reply
"""


class Pause(NamedTuple):
    """A pause as the board has it."""

    id: str
    until_s: int
    told: str


def key(tenant_id: int, mark: str) -> str:
    return f"brake:{{{tenant_id}}}:{mark}"


def share(owner: str, counted: Sums, pause: Pause | None, window_seconds: int, now_s: float) -> list[str]:
    """The script's arguments."""
    words = f"{counted.calls} {counted.repeated} {counted.tools} {counted.grown} {counted.cost_nanousd}"
    if pause is None:
        return [owner, words, "", str(window_seconds), "0"]
    lasts = max(1, int(pause.until_s - now_s))
    return [owner, words, f"{pause.id} {pause.until_s} {pause.told}", str(window_seconds), str(lasts)]


def read(reply: Sequence[Any]) -> tuple[Sums, Pause | None]:
    """What other gateways counted, and the pause. Raises ValueError for what is no reply of the script."""
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in reply]
    if len(words) != 6:
        raise ValueError("the board's reply has another form")
    calls, alike, tools, grown, cost = (int(word) for word in words[:5])
    pause_id, _, rest = words[5].partition(" ")
    until, _, told = rest.partition(" ")
    pause = Pause(pause_id, int(until), told) if pause_id and until.isdecimal() else None
    return Sums(calls, alike, tools=tools, grown=grown, cost_nanousd=cost), pause
