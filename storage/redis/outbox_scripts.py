"""The Lua of the outbox: who archives a partition, taking references, fetching what they refer to, acknowledging them.

Every script has keys of one partition only, so that it runs on a cluster.
"""

from storage.redis.client import Script

LATER = """
local function later(one, other)
  local ms, seq = string.match(one, '(%d+)-(%d+)')
  local ms2, seq2 = string.match(other, '(%d+)-(%d+)')
  if ms ~= ms2 then return tonumber(ms) > tonumber(ms2) end
  return tonumber(seq) > tonumber(seq2)
end
"""
"""Compares outbox ids, as numbers: `9-1` is earlier than `10-0`."""

LOOK = Script(
    "look",
    """
    local outbox, lease = unpack(KEYS)
    local name, milliseconds, take = unpack(ARGV)
    local owner, waiting = redis.call('GET', lease), redis.call('XLEN', outbox)
    if not owner and take == '1' then
      redis.call('SET', lease, name, 'PX', milliseconds)
      owner = name
    elseif owner == name and waiting > 0 and redis.call('PTTL', lease) < milliseconds * 0.7 then
      redis.call('PEXPIRE', lease, milliseconds)
    end
    local first, last = '', ''
    if waiting > 0 then
      first = redis.call('XRANGE', outbox, '-', '+', 'COUNT', 1)[1][1]
      last = redis.call('XREVRANGE', outbox, '+', '-', 'COUNT', 1)[1][1]
    end
    local now = redis.call('TIME')
    return {owner or '', waiting, first, last, now[1] * 1000 + math.floor(now[2] / 1000)}
    """,
)

RELEASE = Script(
    "release",
    """
    if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
    return 0
    """,
)

# Not repeatable: references whose answer is lost stay pending, and newer ones must not be taken before them.
CLAIM = Script(
    "claim",
    """
    local outbox, lease = unpack(KEYS)
    local name, most, pending = unpack(ARGV)
    if redis.call('GET', lease) ~= name then return {0} end
    local function take()
      if pending == '1' then
        return redis.pcall('XAUTOCLAIM', outbox, 'archive', name, 0, '0-0', 'COUNT', most)
      end
      return redis.pcall('XREADGROUP', 'GROUP', 'archive', name, 'COUNT', most, 'STREAMS', outbox, '>')
    end
    local taken = take()
    if taken and taken.err and string.find(taken.err, 'NOGROUP', 1, true) then
      redis.call('XGROUP', 'CREATE', outbox, 'archive', '0', 'MKSTREAM')
      taken = take()
    end
    if taken and taken.err then return taken end
    if pending == '1' then
      if #taken[2] == 0 then  -- whatever other consumers had is done, so what is left of them is their name
        for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', outbox, 'archive')) do
          if consumer[2] ~= name and consumer[4] == 0 then
            redis.call('XGROUP', 'DELCONSUMER', outbox, 'archive', consumer[2])
          end
        end
      end
      return {1, taken[2]}
    end
    return {1, taken and taken[1] and taken[1][2] or {}}
    """,
    repeatable=False,
)

PAYLOADS = Script(
    "payloads",
    """
    local most = tonumber(ARGV[1])
    local answers, size, key, at = {}, 0, 1, 2
    while at <= #ARGV and size < most do
      local kind, id, space, several = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
      at = at + 4
      local answer
      if kind == 'e' then
        local entries, head = KEYS[key], KEYS[key + 1]
        local packed = redis.call('HGET', entries, id)
        local gone = 0
        if not packed then
          local seq, first, deleted = unpack(redis.call('HMGET', head, 'seq', 'first', 'deleted'))
          if deleted or not seq or tonumber(id) > tonumber(seq) or tonumber(id) < tonumber(first or 1) then gone = 1 end
        end
        size = size + #(packed or '')
        answer = {packed, gone}
        key = key + 2
      else
        local meta, dropped = KEYS[key], KEYS[key + 1]
        local deleted = redis.call('HGET', meta, 'deleted')
        local gone = 0
        if deleted and id <= deleted or redis.call('SISMEMBER', dropped, space .. '\\0' .. id) == 1 then gone = 1 end
        if kind == 'w' then
          local writes = redis.call('HGETALL', KEYS[key + 2])
          for _, part in ipairs(writes) do size = size + #part end
          answer = {writes, gone}
          key = key + 3
        else
          local packed, refs = redis.call('HGET', KEYS[key + 2], id), redis.call('HGET', KEYS[key + 3], id)
          local values = {}
          for n = 1, several do
            values[n] = redis.call('HGET', KEYS[key + 4], ARGV[at])
            size = size + #(values[n] or '')
            at = at + 1
          end
          size = size + #(packed or '')
          answer = {packed, refs, values, gone}
          key = key + 5
        end
      end
      answers[#answers + 1] = answer
    end
    return answers
    """,
)

ACKNOWLEDGE = Script(
    "acknowledge",
    LATER
    + """
    local outbox, lease, bad = unpack(KEYS, 1, 3)
    local name, several, corrupt, grace = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
    if redis.call('GET', lease) ~= name then return 0 end
    local at = 5
    while several > 0 do
      local part = {}
      for n = 1, math.min(several, 1000) do part[n] = ARGV[at]; at = at + 1 end
      redis.call('XACK', outbox, 'archive', unpack(part))
      redis.call('XDEL', outbox, unpack(part))
      several = several - #part
    end
    for _ = 1, corrupt do
      local id, packed, owner = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
      at = at + 3
      redis.call('HSET', bad, id, packed)
      local head = owner > 0 and KEYS[2 + 2 * owner]
      if head and redis.call('HEXISTS', head, 'last') == 1 then
        local oldest = redis.call('HGET', head, 'bad')
        if not oldest or later(oldest, id) then redis.call('HSET', head, 'bad', id) end
      end
    end
    for n = 4, #KEYS, 2 do
      local head, dropped, id, deletion = KEYS[n], KEYS[n + 1], ARGV[at], ARGV[at + 1]
      at = at + 2
      local last, archived, oldest, seq, deleted =
        unpack(redis.call('HMGET', head, 'last', 'archived', 'bad', 'seq', 'deleted'))
      if oldest and deletion ~= '' and later(deletion, oldest) then
        redis.call('HDEL', head, 'bad')
        oldest = false
      end
      local stands = id == '' or oldest and not later(oldest, id) or archived and not later(id, archived)
      if last and not stands then
        redis.call('HSET', head, 'archived', id)
        if dropped ~= head then  -- of a thread, whose deletions are all archived when its last reference is
          if id == last and not deleted and redis.call('TTL', dropped) == -1 then
            redis.call('EXPIRE', dropped, grace)
          end
        elseif deleted == last and id == last and not seq then
          redis.call('UNLINK', head)
        end
      end
    end
    return 1
    """,
)
