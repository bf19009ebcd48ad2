"""The Lua of documents and logs. What `KEYS` are is said in `records.py`; what they hold, in `keys.py`.

Entries are opaque: a state of a document is packed by joining the names and values of its hash.
"""

from storage.redis.client import Script

ELSEWHERE = """
local function elsewhere(head, gone, place, owner)
  if redis.call('HEXISTS', head, 'deleted') == 1 then return false end
  return redis.call('SISMEMBER', gone, owner) == 1 or redis.call('HGET', place, 'cold') ~= '0'
end
"""
STATE = """
local function state_of(document)
  local parts = redis.call('HGETALL', document)
  for n, part in ipairs(parts) do parts[n] = struct.pack('>I4c0', #part, part) end
  return table.concat(parts)
end
"""
NOW = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + time[2] / 1000
end
"""

APPEND = Script(
    "append",
    ELSEWHERE
    + STATE
    + NOW
    + """
    local head, document, entries, owners, gone, place, outbox = unpack(KEYS)
    local kind, owner, must, limit, asked, merged, pairs_end = unpack(ARGV, 1, 7)
    local known = redis.call('HEXISTS', head, 'seq') == 1
    if not known and asked == '0' and elsewhere(head, gone, place, owner) then return {2} end
    if must == 'exist' and not known or must == 'be_new' and known then return {0} end
    local archived = limit ~= ''
    if archived then
      local waiting = redis.call('XLEN', outbox)
      if waiting >= tonumber(limit) then return redis.error_reply('OUTBOXFULL ' .. waiting .. ' ' .. limit) end
    end
    if merged == '1' then  -- first of all, because only this can fail: what a script has done stays done
      for n = pairs_end + 1, #ARGV, 2 do redis.call('HINCRBYFLOAT', document, ARGV[n], ARGV[n + 1]) end
    end
    if not known then
      redis.call('HDEL', head, 'deleted')
      redis.call('SREM', gone, owner)
    end
    local function add(packed, kept)
      local seq = redis.call('HINCRBY', head, 'seq', 1)
      if kept then redis.call('HSET', entries, seq, packed) end
      if archived then
        redis.call('HSET', head, 'last', redis.call('XADD', outbox, '*', 'k', 'e', 'r', kind, 't', owner, 's', seq))
      end
      return seq
    end
    local seq, state = 0, ''
    if merged == '1' then
      for n = 8, pairs_end, 2 do redis.call('HSET', document, ARGV[n], ARGV[n + 1]) end
      state = state_of(document)
      seq = add(state, archived)
    else
      for n = 8, #ARGV do seq = add(ARGV[n], true) end
    end
    redis.call('ZADD', owners, now(), owner)
    return {1, seq, state}
    """,
    repeatable=False,
)

LATEST = Script(
    "latest",
    ELSEWHERE
    + STATE
    + """
    local head, document, entries, gone, place = unpack(KEYS)
    local owner, merged = unpack(ARGV)
    local seq = redis.call('HGET', head, 'seq')
    if not seq then return {elsewhere(head, gone, place, owner) and 2 or 0} end
    if merged == '1' then return {1, tonumber(seq), state_of(document)} end
    local packed = redis.call('HGET', entries, seq)
    if not packed then return {2} end
    return {1, tonumber(seq), packed}
    """,
)

READ = Script(
    "read",
    ELSEWHERE
    + STATE
    + """
    local head, document, entries, gone, place = unpack(KEYS)
    local owner, merged, after, limit, newest = unpack(ARGV)
    local last, first = unpack(redis.call('HMGET', head, 'seq', 'first'))
    if not last then return {elsewhere(head, gone, place, owner) and 1 or 0, {}, {}} end
    last, first = tonumber(last), tonumber(first or '1')
    local from, to = after + 1, last
    if limit ~= '' and newest == '1' then
      from = math.max(from, last - limit + 1)
    elseif limit ~= '' then
      to = math.min(to, from + limit - 1)
    end
    local missing = from < first and from <= to
    local seqs, found = {}, {}
    for start = math.max(from, first), to, 1000 do
      local wanted = {}
      for seq = start, math.min(start + 999, to) do wanted[#wanted + 1] = seq end
      for n, packed in ipairs(redis.call('HMGET', entries, unpack(wanted))) do
        if not packed and merged == '1' and wanted[n] == last then packed = state_of(document) end
        if packed then
          seqs[#seqs + 1] = wanted[n]
          found[#found + 1] = packed
        else
          missing = true
        end
      end
    end
    return {missing and 1 or 0, seqs, found}
    """,
)

RESTORE = Script(
    "restore_record",
    """
    local head, document, entries, owners, gone = unpack(KEYS)
    local owner, merged, changed, first, last = unpack(ARGV, 1, 5)
    if redis.call('HEXISTS', head, 'seq') == 1 or redis.call('HEXISTS', head, 'deleted') == 1 then return 0 end
    local target = merged == '1' and document or entries
    for n = 6, #ARGV, 2 do redis.call('HSET', target, ARGV[n], ARGV[n + 1]) end
    redis.call('HSET', head, 'seq', last, 'first', first, 'last', '0-0', 'archived', '0-0')
    redis.call('ZADD', owners, 'NX', changed, owner)
    redis.call('SREM', gone, owner)
    return 1
    """,
)

OWNERS = Script("owners", "return redis.call('ZREVRANGE', KEYS[1], 0, -1, 'WITHSCORES')")

ANY_GONE = Script(
    "any_gone",
    """
    return (redis.call('SCARD', KEYS[1]) > 0 or redis.call('HGET', KEYS[2], 'cold') ~= '0') and 1 or 0
    """,
)

DELETE = Script(
    "delete_record",
    ELSEWHERE
    + """
    local head, document, entries, owners, gone, place, outbox = unpack(KEYS)
    local kind, owner, archived = unpack(ARGV)
    local control, due, live = unpack(KEYS, 8)
    if control then
      local tenant = redis.call('HGET', control, 'tenant')
      if tenant and redis.call('HINCRBY', live, tenant, -1) <= 0 then redis.call('HDEL', live, tenant) end
      redis.call('DEL', control)
      redis.call('ZREM', due, owner)
    end
    local known = redis.call('HEXISTS', head, 'seq')
    if known == 0 and not elsewhere(head, gone, place, owner) then return 0 end
    redis.call('UNLINK', head, document, entries)
    redis.call('ZREM', owners, owner)
    redis.call('SREM', gone, owner)
    if archived == '1' then
      local entry = redis.call('XADD', outbox, '*', 'k', 'd', 'r', kind, 't', owner)
      redis.call('HSET', head, 'deleted', entry, 'last', entry)
    end
    return known
    """,
)
