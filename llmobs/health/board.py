"""The board in Valkey on which all gateways agree how each provider's model is. Plain words and two scripts, no I/O.

1. `STATES` is one hash: a candidate's name to its row: version, phase, since when, until when, and who may probe.
   Only what ever left the closed phase has a row; it goes a while after it closed again.
2. A gateway judges by itself (gateway/routing/breaker.py) and *proposes* a new phase for the version that it knows;
   the first proposal wins, all others take what they find. Each change begins the counts anew.
3. `FLUSH` merges what a gateway has counted since its last one, by second of the server's clock, and gives back the
   sums of all gateways, each one's latencies, and all rows.
4. `LEASE` gives the probe of an open breaker to one gateway. It is renewed while the probe is under way, so that a
   gateway that dies with it keeps nobody from probing for long.

Times on the board are the server's: gateways' clocks may differ. Valkey may lose all of this: gateways that know
better propose their rows anew (`counter` shows them that the board is another one).
"""

import re
from binascii import crc32
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmobs.providers.registry import CandidateInfo

STATES_KEY = "health:{*}:states"
COUNTER = "#"  # of versions, in the same hash; no candidate's name begins so
LEASE_MS = 10_000
COUNTED_SECONDS = 60  # counts that nobody adds to are gone after that
_ROW = re.compile(r"(\d+) (\d+) (closed|open|ramp) (\d+) (\d+) (\d+) (\d+) (\S*)")


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate on the board. `epoch` changes when it opens and when its probe succeeds."""

    version: int
    epoch: int
    phase: str
    step: int
    since_ms: int
    until_ms: int


def name_of(candidate: CandidateInfo) -> str:
    """A candidate's name on the board. At another address a provider is another one: old failures say nothing of it."""
    provider = candidate.provider
    return f"{provider.id}.{crc32(provider.base_url.encode()):08x}/{candidate.model}"


def provider_and_model(name: str) -> tuple[int, str] | None:
    """The provider's id and the model that a name stands for; None: it is none."""
    head, slash, model = name.partition("/")
    number = head.partition(".")[0]
    return (int(number), model) if slash and number.isdigit() else None


def counts_keys(name: str) -> tuple[str, str]:
    """Where a candidate's outcomes and latencies are."""
    return f"health:{{*}}:counts:{name}", f"health:{{*}}:latency:{name}"


def read_row(text: str) -> Row | None:
    """A row as the board holds it; None: of another version of llmobs, or no row."""
    found = _ROW.fullmatch(text)
    if found is None:
        return None
    version, epoch, phase, step, since_ms, until_ms, _, _ = found.groups()
    return Row(int(version), int(epoch), phase, int(step), int(since_ms), int(until_ms))


def read_states(flat: Sequence[Any]) -> dict[str, Row]:
    """The rows of HGETALL's reply, as a flat list or as redis-py's mapping turned into one."""
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in flat]
    rows = {}
    for name, text in zip(words[::2], words[1::2], strict=False):
        row = read_row(text) if name != COUNTER else None
        if row is not None:
            rows[name] = row
    return rows


# KEYS: states, then per candidate its counts and its latencies. ARGV: owner, then per candidate: name, successes,
# failures, failures since the last success, epoch that they are of, latencies ("" none), expected version, proposal
# ("" none, else "phase step milliseconds"), "1" while its probe is under way.
# Reply: now in ms, counter, states as HGETALL gives them, then per candidate {successes, failures, run, latencies}.
FLUSH = """
local time = redis.call('TIME')
local now_s = tonumber(time[1])
local now_ms = now_s * 1000 + math.floor(tonumber(time[2]) / 1000)
local owner, states = ARGV[1], KEYS[1]
local function ms(value) return string.format('%.0f', value) end
local function read(name)
  local text = redis.call('HGET', states, name)
  if not text then return nil end
  local version, epoch, phase, step, since, to, lease, who =
    string.match(text, '^(%d+) (%d+) (%a+) (%d+) (%d+) (%d+) (%d+) (%S*)$')
  if not version then return nil end
  return {version = version, epoch = epoch, phase = phase, step = step, since = since, to = to, lease = lease,
    who = who}
end
local function write(name, row)
  redis.call('HSET', states, name, table.concat({row.version, row.epoch, row.phase, row.step, row.since, row.to,
    row.lease, row.who}, ' '))
end
local told = {}
for i = 0, (#KEYS - 1) / 2 - 1 do
  local a, counts, latencies = 1 + 9 * i, KEYS[2 + 2 * i], KEYS[3 + 2 * i]
  local name, ok, failed = ARGV[a + 1], tonumber(ARGV[a + 2]), tonumber(ARGV[a + 3])
  local trail, epoch = ARGV[a + 4], ARGV[a + 5]
  local row = read(name)
  local version, at = row and row.version or '0', row and row.epoch or '0'
  if epoch == at and ok + failed > 0 then
    if ok > 0 then redis.call('HINCRBY', counts, 'o' .. time[1], ok) end
    if failed > 0 then redis.call('HINCRBY', counts, 'f' .. time[1], failed) end
    if ok > 0 then redis.call('HSET', counts, 'run', trail) else redis.call('HINCRBY', counts, 'run', failed) end
    redis.call('EXPIRE', counts, 60)
  end
  if ARGV[a + 8] ~= '' and ARGV[a + 7] == version then
    local phase, step, span = string.match(ARGV[a + 8], '^(%a+) (%d+) (%d+)$')
    local was = row or {phase = 'closed', since = ms(now_ms)}
    local new = redis.call('HINCRBY', states, '#', 1)
    local is_new_epoch = phase == 'open' or (phase == 'ramp' and was.phase == 'open')
    write(name, {version = new, epoch = is_new_epoch and new or at, phase = phase, step = step,
      since = (phase == was.phase and phase == 'ramp') and was.since or ms(now_ms), to = ms(now_ms + tonumber(span)),
      lease = '0', who = ''})
    redis.call('DEL', counts)
  elseif ARGV[a + 9] == '1' and row and row.phase == 'open' and row.who == owner then
    row.lease = ms(now_ms + 10000)
    write(name, row)
  end
  if ARGV[a + 6] ~= '' then
    redis.call('HSET', latencies, owner, ARGV[a + 6] .. ' ' .. time[1])
    redis.call('EXPIRE', latencies, 120)
  end
  local sums, run = {o = 0, f = 0}, 0
  local cells = redis.call('HGETALL', counts)
  for j = 1, #cells, 2 do
    local kind, second = string.match(cells[j], '^([of])(%d+)$')
    if not kind then run = tonumber(cells[j + 1])
    elseif tonumber(second) <= now_s - 30 then redis.call('HDEL', counts, cells[j])
    else sums[kind] = sums[kind] + tonumber(cells[j + 1]) end
  end
  local seen = {}
  local by_owner = redis.call('HGETALL', latencies)
  for j = 1, #by_owner, 2 do
    local words, second = string.match(by_owner[j + 1], '^(.*) (%d+)$')
    if tonumber(second) < now_s - 60 then redis.call('HDEL', latencies, by_owner[j])
    else seen[#seen + 1] = words end
  end
  told[#told + 1] = {sums.o, sums.f, run, seen}
end
local rows = redis.call('HGETALL', states)
for j = 1, #rows, 2 do
  local phase, since, to = string.match(rows[j + 1], '^%d+ %d+ (%a+) %d+ (%d+) (%d+) ')
  if phase and ((phase == 'closed' and now_ms - tonumber(since) > 600000) or now_ms - tonumber(to) > 86400000) then
    redis.call('HDEL', states, rows[j])
  end
end
return {ms(now_ms), redis.call('HGET', states, '#') or '0', redis.call('HGETALL', states), told}
"""

# KEYS: states. ARGV: owner, name, epoch. Reply: {1} for the one who may probe, else {0}.
LEASE = """
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local text = redis.call('HGET', KEYS[1], ARGV[2])
if not text then return {0} end
local head, epoch, phase, to, lease, who = string.match(text, '^(%d+ (%d+) (%a+) %d+ %d+ (%d+)) (%d+) (%S*)$')
if not head or phase ~= 'open' or epoch ~= ARGV[3] or now_ms < tonumber(to) then return {0} end
if tonumber(lease) > now_ms and who ~= ARGV[1] then return {0} end
redis.call('HSET', KEYS[1], ARGV[2], string.format('%s %.0f %s', head, now_ms + 10000, ARGV[1]))
return {1}
"""
