"""The Lua of checkpoints. What `KEYS` are is said in `checkpoints.py`; what they hold, in `keys.py`.

Records are opaque here. The only packed thing that is read is the list of blob fields in `r`, with `struct`, which
every Redis and Valkey has.
"""

from storage.redis.client import Script

_WRITING = """
local function refuses(meta, token)
  if token == '' then return nil end
  local newest = redis.call('HGET', meta, 'fence')
  if newest and tonumber(token) < tonumber(newest) then return {-1, newest} end
  if newest ~= token then redis.call('HSET', meta, 'fence', token) end
  return nil
end
local function full(outbox, limit)
  if limit == '' then return nil end
  local waiting = redis.call('XLEN', outbox)
  if waiting >= tonumber(limit) then
    return redis.error_reply('OUTBOXFULL ' .. waiting .. ' ' .. limit)
  end
  return nil
end
local function note(outbox, limit, ...)
  if limit == '' then return '0-0' end
  return redis.call('XADD', outbox, '*', ...)
end
local function touch(meta, dropped, gone, place, lru, thread)
  if redis.call('HEXISTS', meta, 'last') == 0 then
    redis.call('PERSIST', meta)  -- guards that outlived their thread are part of a thread again
    redis.call('PERSIST', dropped)
    if redis.call('SISMEMBER', gone, thread) == 1 or redis.call('HGET', place, 'cold') ~= '0' then
      redis.call('HSET', meta, 'partial', '1')
    end
  end
  local now = redis.call('TIME')
  redis.call('ZADD', lru, now[1] * 1000 + math.floor(now[2] / 1000), thread)
end
"""

_FIELDS = """
local function fields_of(packed)
  local fields, at = {}, 1
  while at + 3 <= #packed do
    local size = struct.unpack('>I4', packed, at)
    if at + 3 + size > #packed then break end  -- corrupt: the reader says so
    fields[#fields + 1] = packed:sub(at + 4, at + 3 + size)
    at = at + 4 + size
  end
  return fields
end
local function chunks(list, most)
  local at = 1 - most
  return function()
    at = at + most
    if at > #list then return nil end
    local part = {}
    for n = at, math.min(at + most - 1, #list) do part[#part + 1] = list[n] end
    return part
  end
end
"""

PUT = Script(
    "put",
    _WRITING
    + """
    local meta, ids, records, refs, changed, blobs, spaces, dropped, writes, written, lru, gone, place, outbox =
      unpack(KEYS)
    local id, parent, packed, fields, token, limit, thread, space, new = unpack(ARGV, 1, 9)
    local own, late_mark = space .. '\\0' .. id, '\\0'  -- a child of what is late is late; of what is deleted, not
    local deleted = redis.call('HGET', meta, 'deleted')
    if deleted then
      local late = id <= deleted or (parent ~= '' and
        (parent <= deleted or redis.call('SISMEMBER', dropped, space .. '\\0' .. parent .. late_mark) == 1))
      if late then
        redis.call('SADD', dropped, own, own .. late_mark)
        local left = redis.call('PTTL', meta)
        if left > 0 then redis.call('PEXPIRE', dropped, left) end  -- of an evicted thread only the guards are here
        redis.call('UNLINK', writes)
        redis.call('ZREM', written, id)
        return {0}
      end
    end
    local no = refuses(meta, token) or full(outbox, limit)
    if no then return no end
    touch(meta, dropped, gone, place, lru, thread)
    redis.call('HSET', records, id, packed)
    redis.call('HSET', refs, id, fields)
    redis.call('ZADD', ids, 0, id)
    redis.call('SADD', spaces, space)
    redis.call('SREM', dropped, own, own .. late_mark)
    for n = 10, #ARGV, 2 do redis.call('HSETNX', blobs, ARGV[n], ARGV[n + 1]) end
    local entry = note(outbox, limit, 'k', 'c', 't', thread, 'n', space, 'i', id, 'b', new)
    redis.call('HSET', changed, id, entry)
    redis.call('HSET', meta, 'last', entry)
    return {1}
    """,
)

PUT_WRITES = Script(
    "put_writes",
    _WRITING
    + """
    local meta, changed, spaces, dropped, writes, written, lru, gone, place, outbox = unpack(KEYS)
    local id, token, limit, thread, space = unpack(ARGV, 1, 5)
    local deleted = redis.call('HGET', meta, 'deleted')
    if deleted and id <= deleted or redis.call('SISMEMBER', dropped, space .. '\\0' .. id) == 1 then return {0} end
    local no = refuses(meta, token) or full(outbox, limit)
    if no then return no end
    local added = 0
    for n = 6, #ARGV, 3 do
      if ARGV[n + 1] == 'last' then
        redis.call('HSET', writes, ARGV[n], ARGV[n + 2])
        added = 1
      else
        added = added + redis.call('HSETNX', writes, ARGV[n], ARGV[n + 2])
      end
    end
    if added == 0 then return {1} end
    touch(meta, dropped, gone, place, lru, thread)
    redis.call('ZADD', written, 0, id)
    redis.call('SADD', spaces, space)
    local entry = note(outbox, limit, 'k', 'w', 't', thread, 'n', space, 'i', id)
    redis.call('HSET', changed, id, entry)
    redis.call('HSET', meta, 'last', entry)
    return {1}
    """,
)

_STATE = """
local function state_of(meta, place)
  return (redis.call('HGET', meta, 'last') or '') .. '/' .. (redis.call('HGET', place, 'evictions') or '0')
end
"""
"""Changes when a thread is written or deleted, and when any of its partition is evicted: what was read of the archive
before may be old by then."""

GET = Script(
    "get",
    _FIELDS
    + _STATE
    + """
    local meta, ids, records, refs, blobs, archived, dropped, writes, gone, place = unpack(KEYS)
    local id, thread, space = unpack(ARGV)
    local wanted = id
    if id == '' then id = redis.call('ZREVRANGE', ids, 0, 0)[1] end
    local packed = id and redis.call('HGET', records, id)
    if packed then
      local names, values = redis.call('HGET', refs, id), {}
      for part in chunks(fields_of(names), 4000) do
        for _, value in ipairs(redis.call('HMGET', blobs, unpack(part))) do values[#values + 1] = value end
      end
      return {1, id, packed, names, values, redis.call('HGETALL', writes .. id)}
    end
    if wanted ~= '' and redis.call('SISMEMBER', dropped, space .. '\\0' .. wanted) == 1 then return {0} end
    local last, partial, trimmed = unpack(redis.call('HMGET', meta, 'last', 'partial', 'trimmed'))
    local elsewhere
    if not last then
      elsewhere = redis.call('SISMEMBER', gone, thread) == 1 or redis.call('HGET', place, 'cold') ~= '0'
    elseif wanted ~= '' then
      elsewhere = partial or trimmed
    else
      elsewhere = partial == '1' or (partial == '2' and redis.call('SISMEMBER', archived, space) == 1)
    end
    if not elsewhere then return {0} end
    return {2, wanted ~= '' and redis.call('HGETALL', writes .. wanted) or {}, state_of(meta, place)}
    """,
)

RESTORE = Script(
    "restore",
    _STATE
    + """
    local meta, ids, records, refs, changed, blobs, spaces, archived, dropped, writes, written, lru, gone, place =
      unpack(KEYS)
    local id, packed, fields, thread, space, state, several, values, tasks = unpack(ARGV, 1, 9)
    if redis.call('ZCARD', ids) > 0 or state_of(meta, place) ~= state then return 0 end
    redis.call('PERSIST', meta)
    redis.call('PERSIST', dropped)
    redis.call('HSET', records, id, packed)
    redis.call('HSET', refs, id, fields)
    redis.call('ZADD', ids, 0, id)
    redis.call('SADD', spaces, space)
    redis.call('HSETNX', changed, id, '0-0')
    local at = 10
    for _ = 1, several do redis.call('SADD', archived, ARGV[at]); at = at + 1 end
    for _ = 1, values do redis.call('HSETNX', blobs, ARGV[at], ARGV[at + 1]); at = at + 2 end
    for _ = 1, tasks do redis.call('HSET', writes, ARGV[at], ARGV[at + 1]); at = at + 2 end
    if tonumber(tasks) > 0 then redis.call('ZADD', written, 0, id) end
    redis.call('HSETNX', meta, 'last', '0-0')
    redis.call('HSETNX', meta, 'archived', '0-0')
    redis.call('HSET', meta, 'trimmed', '1', 'partial', '2')
    redis.call('SREM', gone, thread)
    local now = redis.call('TIME')
    redis.call('ZADD', lru, 'NX', now[1] * 1000 + math.floor(now[2] / 1000), thread)
    return 1
    """,
)

DELETE_THREAD = Script(
    "delete_thread",
    _WRITING
    + _FIELDS
    + """
    local meta, spaces, archived, dropped, ids, records, refs, changed, blobs, written, writes, lru, gone, place,
      outbox = unpack(KEYS)
    local thread, limit, newest = unpack(ARGV)
    local away = redis.call('SISMEMBER', gone, thread) == 1 or redis.call('HGET', place, 'cold') ~= '0'
    if redis.call('EXISTS', meta) == 0 and not away then return 0 end
    local deleted = redis.call('HGET', meta, 'deleted')
    if deleted and deleted > newest then newest = deleted end
    for _, space in ipairs(redis.call('SMEMBERS', spaces)) do
      for _, index in ipairs({ids .. space, written .. space}) do
        local top = redis.call('ZREVRANGE', index, 0, 0)[1]
        if top and top > newest then newest = top end
      end
      for part in chunks(redis.call('ZRANGE', written .. space, 0, -1), 4000) do
        for n, id in ipairs(part) do part[n] = writes .. space .. '\\0' .. id end
        redis.call('UNLINK', unpack(part))
      end
      redis.call('UNLINK', ids .. space, records .. space, refs .. space, changed .. space, blobs .. space,
        written .. space)
    end
    redis.call('UNLINK', spaces, archived)
    redis.call('HDEL', meta, 'trimmed', 'partial')
    redis.call('PERSIST', meta)
    redis.call('PERSIST', dropped)
    local entry = note(outbox, limit, 'k', 'd', 'r', 'thread', 't', thread)
    redis.call('HSET', meta, 'last', entry)
    if newest ~= '' then redis.call('HSET', meta, 'deleted', newest) end
    redis.call('SREM', gone, thread)
    local now = redis.call('TIME')
    redis.call('ZADD', lru, now[1] * 1000 + math.floor(now[2] / 1000), thread)
    return 1
    """,
)

DELETE = Script(
    "delete",
    _WRITING
    + _FIELDS
    + """
    local meta, ids, records, refs, changed, blobs, dropped, written, writes, lru, gone, place, outbox = unpack(KEYS)
    local thread, space, limit = unpack(ARGV, 1, 3)
    touch(meta, dropped, gone, place, lru, thread)
    local entry
    for n = 4, #ARGV do
      local id = ARGV[n]
      redis.call('HDEL', records, id)
      redis.call('HDEL', refs, id)
      redis.call('HDEL', changed, id)
      redis.call('ZREM', ids, id)
      redis.call('ZREM', written, id)
      redis.call('UNLINK', writes .. id)
      redis.call('SADD', dropped, space .. '\\0' .. id)
      entry = note(outbox, limit, 'k', 'x', 't', thread, 'n', space, 'i', id)
    end
    redis.call('PERSIST', dropped)  -- until these are archived too
    redis.call('HSET', meta, 'last', entry)
    local needed = {}
    for _, packed in ipairs(redis.call('HVALS', refs)) do
      for _, field in ipairs(fields_of(packed)) do needed[field] = true end
    end
    for _, field in ipairs(redis.call('HKEYS', blobs)) do
      if not needed[field] then redis.call('HDEL', blobs, field) end
    end
    return 1
    """,
)

THREADS = Script("threads", "return redis.call('ZRANGE', KEYS[1], 0, -1)")

IDS = Script(
    "ids",
    """
    local meta, spaces, ids, gone, place = unpack(KEYS)
    local thread, all, space, before, limit = unpack(ARGV)
    local found = {}
    local list = {space}
    if all == '1' then list = redis.call('SMEMBERS', spaces) end
    for _, one in ipairs(list) do
      local upper = before == '' and '+' or '(' .. before
      found[#found + 1] = one
      found[#found + 1] = redis.call('ZREVRANGEBYLEX', ids .. one, upper, '-', 'LIMIT', 0, limit)
    end
    local last, partial, trimmed = unpack(redis.call('HMGET', meta, 'last', 'partial', 'trimmed'))
    local elsewhere
    if last then
      elsewhere = partial or trimmed
    else
      elsewhere = redis.call('SISMEMBER', gone, thread) == 1 or redis.call('HGET', place, 'cold') ~= '0'
    end
    return {elsewhere and 1 or 0, found}
    """,
)

DROPPED = Script(
    "dropped",
    """
    -- after the thread, `namespace NUL id` of each
    local meta, dropped, gone, place = unpack(KEYS)
    local thread = ARGV[1]
    local last, partial, trimmed = unpack(redis.call('HMGET', meta, 'last', 'partial', 'trimmed'))
    local whole = last and not partial and not trimmed
    local answers = {}
    for n = 2, #ARGV do
      answers[#answers + 1] = (whole or redis.call('SISMEMBER', dropped, ARGV[n]) == 1) and 1 or 0
    end
    return answers
    """,
)
