"""The Lua of runs: taking one up, writing under its token, telling it something. `run_places.py` says what `KEYS` are.

A run's document and log are written exactly as `APPEND` writes them, so that nobody who reads or archives them sees a
difference.
"""

from storage.redis.client import Script
from storage.redis.record_scripts import ELSEWHERE, NOW, STATE

_ENDS = "local ENDS = {succeeded = true, failed = true, cancelled = true}\n"
WHOLE = "local function whole(number) return string.format('%.0f', math.floor(number)) end\n"
_WRITING = (
    ELSEWHERE
    + STATE
    + NOW
    + WHOLE
    + """
local function full(outbox, limit)
  if limit == '' then return nil end
  local waiting = redis.call('XLEN', outbox)
  if waiting >= tonumber(limit) then return redis.error_reply('OUTBOXFULL ' .. waiting .. ' ' .. limit) end
  return nil
end
local function place(document, first, last)
  for n = first, last, 1000 do redis.call('HSET', document, unpack(ARGV, n, math.min(n + 999, last))) end
end
local function append(kind, owner, head, entries, owners, gone, outbox, limit, packed, kept)
  local seq = redis.call('HGET', head, 'seq')
  if not seq then
    redis.call('HDEL', head, 'deleted')
    redis.call('SREM', gone, owner)
    seq = 0
  end
  local last
  local numbered = {}
  for _, one in ipairs(packed) do
    seq = seq + 1
    numbered[#numbered + 1] = seq
    numbered[#numbered + 1] = one
    if limit ~= '' then last = redis.call('XADD', outbox, '*', 'k', 'e', 'r', kind, 't', owner, 's', seq) end
  end
  if kept then
    for n = 1, #numbered, 1000 do
      redis.call('HSET', entries, unpack(numbered, n, math.min(n + 999, #numbered)))
    end
  end
  redis.call('HSET', head, 'seq', seq, unpack(last and {'last', last} or {}))
  redis.call('ZADD', owners, now(), owner)
  return seq
end
local function rest(first)
  local list = {}
  for n = first, #ARGV do list[#list + 1] = ARGV[n] end
  return list
end
"""
)
# A live document without a control: this Redis lost it, or an older version wrote it.
CONTROL = (
    _ENDS
    + """
local function live_again(control, head, document, live)
  if redis.call('EXISTS', control) == 1 then return true end
  if redis.call('HEXISTS', head, 'seq') == 0 then return false end
  local status, tenant = unpack(redis.call('HMGET', document, 'c:status', 'c:org_id'))
  if ENDS[status or ''] then return false end
  redis.call('HSET', control, 'tenant', tenant or '', 'begun', '1')
  redis.call('HINCRBY', live, tenant or '', 1)
  return true
end
"""
)
_FINISH = """
local function finish(run, control, due, live, calls, calls_due, time)
  local fields = redis.call('HGETALL', control)
  redis.call('DEL', control)
  redis.call('ZREM', due, run)
  for n = 1, #fields, 2 do
    local number = string.match(fields[n], '^call:(.*)$')
    if number then
      redis.call('HSET', calls, run .. ':' .. number, fields[n + 1])
      redis.call('ZADD', calls_due, time, run .. ':' .. number)
    elseif fields[n] == 'tenant' and redis.call('HINCRBY', live, fields[n + 1], -1) <= 0 then
      redis.call('HDEL', live, fields[n + 1])
    end
  end
end
"""

ENTER = Script(
    "enter_run",
    _WRITING
    + CONTROL
    + """
    local control, head, document, entries, log, _, meta, owners, gone, _, logs_gone, here, outbox, due, live =
      unpack(KEYS)
    local run, nonce, holder, lease, limit, asked, again, delay, guard, expected, called, size = unpack(ARGV, 1, 12)
    local known, seq = redis.call('HGET', head, 'seq'), redis.call('HGET', log, 'seq')
    if asked == '0' and (not known and elsewhere(head, gone, here, run)
        or not seq and elsewhere(log, logs_gone, here, run)) then return {2} end
    if not known and redis.call('HEXISTS', control, 'token') == 1 then return {2} end  -- it was evicted once more
    local at, time, state = 13, now()
    local function refused(why, by, left)
      return {0, why, tonumber(known or 0), known and state_of(document) or '', by or '', math.floor(left or 0)}
    end
    for _ = 1, expected do
      if known and (redis.call('HGET', document, ARGV[at]) or ARGV[at + 1]) ~= ARGV[at + 1] then
        return refused('other')
      end
      at = at + 2
    end
    local is_live = known and live_again(control, head, document, live)
    if not is_live then
      if size == '0' then return refused(known and 'ended' or 'missing') end
      if known and again == '0' then return refused('ended') end
      local no = full(outbox, limit)
      if no then return no end
      local counted = redis.call('DEL', control) == 1  -- of a document that was lost
      for n = 1, called do  -- the numbers of each life are its own
        redis.call('HSET', control, 'call:' .. n + (known and (known + 1) * 1000 or 0), ARGV[at + n - 1])
      end
      at = at + called
      place(document, at, #ARGV)
      local created = not known
      state = state_of(document)
      known = append('run', run, head, entries, owners, gone, outbox, limit, {state}, limit ~= '')
      local tenant = redis.call('HGET', document, 'c:org_id') or ''
      redis.call('HSET', control, 'tenant', tenant)
      if created then redis.call('HSET', control, 'born', nonce) end
      if not counted then redis.call('HINCRBY', live, tenant, 1) end
    end
    local token, ends, by, last, crashes, cancel, told, spent, born, wake = unpack(redis.call('HMGET', control,
      'token', 'until', 'holder', 'nonce', 'crashes', 'cancel', 'told', 'spent', 'born', 'wake'))
    local held = ends and tonumber(ends) > time
    if held and last ~= nonce then
      if lease == '' then
        local wished = math.min(time + delay, tonumber(wake or time + delay))
        redis.call('HSET', control, 'wake', whole(wished))
      end
      return refused('held', by, ends - time)
    end
    if lease == '' then
      redis.call('ZADD', due, 'LT', whole(time + delay), run)
      token = 0
    elseif not held then
      if ends then crashes = (crashes or 0) + 1 end
      local fence, used = unpack(redis.call('HMGET', meta, 'fence', 'last'))
      token = whole(math.max(math.floor(time), (token or 0) + 1, (fence or 0) + 1))
      ends = whole(time + lease)
      redis.call('HSET', control, 'token', token, 'until', ends, 'holder', holder, 'nonce', nonce, 'begun', '1',
        'crashes', crashes or 0)
      if wake then redis.call('HDEL', control, 'wake') end
      redis.call('ZADD', due, ends, run)
      redis.call('HSET', meta, 'fence', token)
      if not used then redis.call('EXPIRE', meta, guard) end  -- of a thread that may never be written to
    end
    return {1, tonumber(token), tonumber(known), state or state_of(document), tonumber(seq or 0),
      born == nonce and 1 or 0, tonumber(crashes or 0), cancel and 1 or 0, tonumber(told or 0), spent or ''}
    """,
)

UPDATE = Script(
    "update_run",
    _WRITING
    + _FINISH
    + """
    local control, head, document, entries, log, events, meta, owners, gone, logs, logs_gone, here, outbox, due, live,
      calls, calls_due = unpack(KEYS)
    local run, token, limit, asked, after, several, size, next, delay, heard, progress, kept, keep = unpack(ARGV, 1, 13)
    several, size = tonumber(several), tonumber(size)
    local newest, ends, crashes, told, cancel, wake, forgiven, tenant = unpack(redis.call('HMGET', control,
      'token', 'until', 'crashes', 'told', 'cancel', 'wake', 'forgiven', 'tenant'))
    local seq = redis.call('HGET', log, 'seq')
    local idle = several + size == 0
    if asked == '0' and (not seq and (not idle or next == 'e') and elsewhere(log, logs_gone, here, run)
        or size > 0 and redis.call('HEXISTS', head, 'seq') == 0 and elsewhere(head, gone, here, run)) then
      return {2}
    end
    seq = tonumber(seq or 0)
    local fresh = math.max(0, math.min(several, after + several - seq))  -- those before them are in the log already
    if newest ~= token or not ends then
      if newest == token and next == 'r' then return {1, seq} end  -- it was given back, and the answer was lost
      newest = newest or redis.call('HGET', meta, 'fence') or '0'
      if next == 'e' and not tenant and newest == token and fresh == 0 then
        return {1, seq}  -- it has ended, and the answer was lost
      end
      if next == 'e' or not idle then return {-1, newest} end
      if next == 'r' and tenant and tonumber(token) < tonumber(newest) and tonumber(crashes or 0) > 0
          and forgiven ~= token then
        redis.call('HSET', control, 'forgiven', token)
        redis.call('HINCRBY', control, 'crashes', -1)
      end
      return {1, seq}
    end
    -- a repetition; one that released or ended the run would not have come so far
    if next == 'k' and several > 0 and fresh == 0 then return {1, seq} end
    if size + fresh > 0 then
      local no = full(outbox, limit)
      if no then return no end
    end
    if size > 0 then
      place(document, 14, 13 + size)
      append('run', run, head, entries, owners, gone, outbox, limit, {state_of(document)}, limit ~= '')
    end
    if fresh > 0 then
      local first = 14 + size + several - fresh
      seq = append('event', run, log, events, logs, logs_gone, outbox, limit, rest(first), true)
    end
    local time = now()
    if next == 'e' then
      finish(run, control, due, live, calls, calls_due, whole(time))
      return {1, seq}
    end
    if progress == '1' and crashes ~= '0' then redis.call('HSET', control, 'crashes', '0') end
    if kept == '1' then redis.call('HSET', control, 'spent', keep) end
    if next == 'r' then
      redis.call('HDEL', control, 'until', 'holder', 'nonce', 'wake')
      local score = delay ~= '' and time + delay
      if tonumber(told or 0) > tonumber(heard) or cancel then score = time end
      if wake and (not score or tonumber(wake) < score) then score = wake end
      if score then redis.call('ZADD', due, whole(score), run) else redis.call('ZREM', due, run) end
    end
    return {1, seq}
    """,
)

# KEYS: due, then controls. ARGV: milliseconds, then of each run its id and token.
RENEW = Script(
    "renew_runs",
    NOW
    + WHOLE
    + """
    local ends = whole(now() + ARGV[1])
    local answers = {}
    for n = 2, #KEYS do
      local run, token = ARGV[2 * n - 2], ARGV[2 * n - 1]
      local newest, before, cancel = unpack(redis.call('HMGET', KEYS[n], 'token', 'until', 'cancel'))
      if newest == token and before then
        redis.call('HSET', KEYS[n], 'until', ends)
        redis.call('ZADD', KEYS[1], ends, run)
        answers[n - 1] = cancel and 1 or 2
      else
        answers[n - 1] = 0
      end
    end
    return answers
    """,
)

CANCEL = Script(
    "cancel_run",
    _WRITING
    + CONTROL
    + _FINISH
    + """
    local control, head, document, entries, log, events, _, owners, gone, logs, logs_gone, here, outbox, due, live,
      calls, calls_due = unpack(KEYS)
    local run, nonce, limit, asked, size = unpack(ARGV, 1, 5)
    size = tonumber(size)
    local known, by = unpack(redis.call('HMGET', head, 'seq', 'by'))
    if asked == '0' and (not known and elsewhere(head, gone, here, run)
        or redis.call('HEXISTS', log, 'seq') == 0 and elsewhere(log, logs_gone, here, run)) then return {2} end
    if not live_again(control, head, document, live) then return {1, by == nonce and 2 or 0} end
    if not known then return {1, 0} end
    local time = now()
    local begun, ends = unpack(redis.call('HMGET', control, 'begun', 'until'))
    if begun then
      redis.call('HSET', control, 'cancel', '1')
      if not ends or tonumber(ends) <= time then redis.call('ZADD', due, 'LT', whole(time), run) end
      return {1, 1}
    end
    local no = full(outbox, limit)
    if no then return no end
    place(document, 6, 5 + size)
    append('run', run, head, entries, owners, gone, outbox, limit, {state_of(document)}, limit ~= '')
    if #ARGV > 5 + size then
      append('event', run, log, events, logs, logs_gone, outbox, limit, rest(6 + size), true)
    end
    redis.call('HSET', head, 'by', nonce)  -- when the answer is lost, the call is repeated
    finish(run, control, due, live, calls, calls_due, whole(time))
    return {1, 2}
    """,
)

TELL = Script(
    "tell_run",
    _WRITING
    + CONTROL
    + """
    local control, head, document, entries, _, _, _, owners, gone, _, _, here, outbox, due, live = unpack(KEYS)
    local run, nonce, limit, asked, field, value = unpack(ARGV, 1, 6)
    local known = redis.call('HEXISTS', head, 'seq') == 1
    if asked == '0' and not known and elsewhere(head, gone, here, run) then return {2} end
    if not known or not live_again(control, head, document, live) then return {1, 0} end
    if redis.call('HEXISTS', document, field) == 1 then
      return {1, redis.call('HGET', control, 'teller') == nonce and 1 or 0}
    end
    local status, right = redis.call('HGET', document, 'c:status'), false
    for n = 7, #ARGV do right = right or ARGV[n] == status end
    if not right then return {1, 0} end
    local no = full(outbox, limit)
    if no then return no end
    local clock, time = redis.call('TIME'), now()
    redis.call('HSET', document, field, value, 'at', whole(clock[1] * 1000000 + clock[2]))
    append('run', run, head, entries, owners, gone, outbox, limit, {state_of(document)}, limit ~= '')
    redis.call('HINCRBY', control, 'told', 1)
    redis.call('HSET', control, 'teller', nonce)
    local ends = redis.call('HGET', control, 'until')
    if not ends or tonumber(ends) <= time then redis.call('ZADD', due, 'LT', whole(time), run) end
    return {1, 1}
    """,
)

ADOPT = Script(
    "adopt_run",
    _WRITING
    + CONTROL
    + """
    local control, head, document, _, _, _, _, _, gone, _, _, here, _, due, live = unpack(KEYS)
    local run, asked = unpack(ARGV)
    if redis.call('EXISTS', control) == 1 then return {1, 0} end
    if asked == '0' and redis.call('HEXISTS', head, 'seq') == 0 and elsewhere(head, gone, here, run) then return {2} end
    if not live_again(control, head, document, live) then return {1, 0} end
    redis.call('ZADD', due, whole(now()), run)
    return {1, 1}
    """,
    repeatable=False,
)

ADOPTED = Script("adopted", "return redis.call('HGET', KEYS[1], 'adopted') == '1' and 1 or 0")
SET_ADOPTED = Script("set_adopted", "return redis.call('HSET', KEYS[1], 'adopted', '1')")
