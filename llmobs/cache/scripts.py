"""The Lua of the response cache (cache/store.py tells the protocol).

ASK and TAKE are the cache's section of a call's admission script: `k` and `a` stand before its keys and arguments,
`now_s` and `now_us` are the server's time, `reply` is what the script answers. The rest are scripts of their own.
"""

# KEYS: entry, used, generations, counts, flight.
# ARGV: "0" (nothing is asked, no keys), or mode, digest, the caller's TTL, token, lease in ms, number of names, names.
# A hit ends the script: {2, 'c', blob, age, seconds left}; a flight of another: {2, 'c'}.
ASK = """
local cache_mode, cache_k, cache_a = ARGV[a + 1], k, a
local cache_names, cache_values
if cache_mode == '0' then
  a = a + 1
else
  local count = tonumber(ARGV[a + 6])
  k, a = k + 5, a + 6 + count
  local generations = KEYS[cache_k + 3]
  if redis.call('HEXISTS', generations, 'tenant') == 0 then
    redis.call('HSET', generations, 'tenant', now_s .. '.' .. now_us .. '.' .. ARGV[cache_a + 4])
  end
  cache_names = {}
  for i = 1, count do cache_names[i] = ARGV[cache_a + 6 + i] end
  cache_values = redis.call('HMGET', generations, unpack(cache_names))
  if cache_mode ~= 'refresh' then
    local entry = KEYS[cache_k + 1]
    local row = redis.call('HMGET', entry, 'at', 'ttl', 'names', 'values')
    if row[1] then
      local age = math.max(now_s - tonumber(row[1]), 0)
      local left = math.min(tonumber(row[2]), tonumber(ARGV[cache_a + 3])) - age
      if left > 0 then
        local names, values = {}, {}
        for name in string.gmatch(row[3], '[^\\n]+') do names[#names + 1] = name end
        local now = redis.call('HMGET', generations, unpack(names))
        for i = 1, #names do values[i] = now[i] or '' end
        if table.concat(values, '\\n') == row[4] then
          local rest = redis.call('HMGET', entry, 'blob', 'tokens', 'nanousd')
          redis.call('ZADD', KEYS[cache_k + 2], 'XX', now_s + now_us % 1000000 / 1000000, ARGV[cache_a + 2])
          redis.call('HINCRBY', KEYS[cache_k + 4], 'hits', 1)
          redis.call('HINCRBY', KEYS[cache_k + 4], 'saved_tokens', rest[2])
          redis.call('HINCRBY', KEYS[cache_k + 4], 'saved_nanousd', rest[3])
          return {2, 'c', rest[1], age, left}
        end
      end
    end
  end
  if cache_mode == 'look' then
    local flight = redis.call('GET', KEYS[cache_k + 5])
    if flight and flight ~= ARGV[cache_a + 4] then return {2, 'c'} end
  end
end
"""

# Adds one value to the reply: the generations of the names asked, "" where none was ever made.
TAKE = """
if cache_mode ~= '0' then
  if cache_mode ~= 'refresh' then redis.call('HINCRBY', KEYS[cache_k + 4], 'misses', 1) end
  if cache_mode == 'look' then
    redis.call('SET', KEYS[cache_k + 5], ARGV[cache_a + 4], 'PX', ARGV[cache_a + 5])
  end
  for i = 1, #cache_names do cache_values[i] = cache_values[i] or '' end
  reply[#reply + 1] = cache_values
end
"""

# KEYS: entry, used, sizes, generations, flight. ARGV: digest, token, blob, bytes, TTL, seconds until it expires by
# itself, most bytes, saved tokens, saved nano-USD, what every entry's key begins with, names (one a line), values.
# Reply: {1}, or {0} where it was invalidated meanwhile or does not fit.
STORE = """
if redis.call('GET', KEYS[5]) == ARGV[2] then redis.call('DEL', KEYS[5]) end
local names, values = {}, {}
for name in string.gmatch(ARGV[11], '[^\\n]+') do names[#names + 1] = name end
local now = redis.call('HMGET', KEYS[4], unpack(names))
for i = 1, #names do
  values[i] = now[i] or ''
  if values[i] ~= ARGV[11 + i] then return {0} end
end
local used, sizes, bytes, most = KEYS[2], KEYS[3], tonumber(ARGV[4]), tonumber(ARGV[7])
local function forget(digest)
  redis.call('DEL', ARGV[10] .. digest)
  local size = redis.call('HGET', sizes, digest)
  if size then
    redis.call('HDEL', sizes, digest)
    redis.call('HINCRBY', sizes, 'total', '-' .. size)
  end
end
redis.call('ZREM', used, ARGV[1])
forget(ARGV[1])
if redis.call('EXISTS', used) == 0 then redis.call('DEL', sizes) end
local total = tonumber(redis.call('HGET', sizes, 'total') or 0)
for _ = 1, 1000 do
  if total + bytes <= most then break end
  local oldest = redis.call('ZPOPMIN', used)
  if #oldest == 0 then break end
  forget(oldest[1])
  total = tonumber(redis.call('HGET', sizes, 'total') or 0)
end
if total + bytes > most then return {0} end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'blob', ARGV[3], 'at', time[1], 'ttl', ARGV[5], 'names', ARGV[11],
  'values', table.concat(values, '\\n'), 'tokens', ARGV[8], 'nanousd', ARGV[9])
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('ZADD', used, time[1] .. '.' .. string.format('%06d', time[2]), ARGV[1])
redis.call('HSET', sizes, ARGV[1], ARGV[4])
redis.call('HINCRBY', sizes, 'total', ARGV[4])
return {1}
"""

# KEYS: flight. ARGV: token. Reply: {1 if the mark was the caller's}.
LAND = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {0} end
redis.call('DEL', KEYS[1])
return {1}
"""

# KEYS: flight. ARGV: token, lease in ms. Reply: {1 if the mark is still the caller's}.
RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {0} end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {1}
"""

# KEYS: entry, generations. Reply: {blob, age in seconds}, or {}.
STALE = """
local row = redis.call('HMGET', KEYS[1], 'at', 'names', 'values', 'blob')
if not row[1] then return {} end
local names, values = {}, {}
for name in string.gmatch(row[2], '[^\\n]+') do names[#names + 1] = name end
local now = redis.call('HMGET', KEYS[2], unpack(names))
for i = 1, #names do values[i] = now[i] or '' end
if table.concat(values, '\\n') ~= row[3] then return {} end
return {row[4], math.max(tonumber(redis.call('TIME')[1]) - tonumber(row[1]), 0)}
"""

# KEYS: counts. ARGV: saved tokens, saved nano-USD.
COUNT = """
redis.call('HINCRBY', KEYS[1], 'hits', 1)
redis.call('HINCRBY', KEYS[1], 'saved_tokens', ARGV[1])
redis.call('HINCRBY', KEYS[1], 'saved_nanousd', ARGV[2])
return {1}
"""

# KEYS: generations. ARGV: a nonce, most names, names. Where there are too many names to keep, the tenant's own
# generation changes instead, which forgets all. Reply: {1}.
INVALIDATE = """
if redis.call('HLEN', KEYS[1]) + #ARGV - 2 > tonumber(ARGV[2]) then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'tenant', ARGV[1])
  return {1}
end
for i = 3, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], ARGV[1]) end
return {1}
"""

# KEYS: used, sizes. ARGV: how many, what every entry's key begins with. Takes the least recently used away.
# Reply: {how many were}.
SWEEP = """
local popped = redis.call('ZPOPMIN', KEYS[1], ARGV[1])
for i = 1, #popped, 2 do
  redis.call('DEL', ARGV[2] .. popped[i])
  local size = redis.call('HGET', KEYS[2], popped[i])
  if size then
    redis.call('HDEL', KEYS[2], popped[i])
    redis.call('HINCRBY', KEYS[2], 'total', '-' .. size)
  end
end
return {#popped / 2}
"""
