"""The Lua of what is looked for in all partitions: runs that are due, counts, and callbacks. See `keys.py`."""

from storage.redis.client import Script
from storage.redis.record_scripts import ELSEWHERE, NOW
from storage.redis.run_scripts import CONTROL, WHOLE

DUE = Script(
    "due_runs",
    NOW + "return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now(), 'WITHSCORES', 'LIMIT', ARGV[2], ARGV[1])",
)

DEFER = Script(
    "defer_run",
    NOW
    + WHOLE
    + """
    local score, time = redis.call('ZSCORE', KEYS[1], ARGV[1]), now()
    if not score or tonumber(score) > time then return 0 end
    redis.call('ZADD', KEYS[1], whole(time + ARGV[2]), ARGV[1])
    return 1
    """,
    repeatable=False,
)

LOAD = Script(
    "load_of_runs",
    NOW
    + """
    local all = 0
    for _, count in ipairs(redis.call('HVALS', KEYS[2])) do all = all + count end
    return {tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0), all, redis.call('ZCOUNT', KEYS[1], '-inf', now())}
    """,
)

ADD_CALL = Script(
    "add_call",
    ELSEWHERE
    + NOW
    + WHOLE
    + CONTROL
    + """
    local control, head, document, _, _, _, _, _, gone, _, _, here, _, _, live, calls, calls_due = unpack(KEYS)
    local run, asked, number, packed = unpack(ARGV)
    if asked == '0' and redis.call('EXISTS', control) == 0 and redis.call('HEXISTS', head, 'seq') == 0
        and elsewhere(head, gone, here, run) then return {2} end
    if live_again(control, head, document, live) then
      redis.call('HSET', control, 'call:' .. number, packed)
      return {1, 1}
    end
    local id = run .. ':' .. number
    if redis.call('HSETNX', calls, id, packed) == 1 then
      redis.call('ZADD', calls_due, whole(now()), id)
    end
    return {1, 0}
    """,
)

CALLS_WAITING = Script("calls_waiting", NOW + "return redis.call('ZCOUNT', KEYS[1], '-inf', now())")

CLAIM_CALLS = Script(
    "claim_calls",
    NOW
    + WHOLE
    + """
    local calls, calls_due = unpack(KEYS)
    local time, taken = now(), {}
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', calls_due, '-inf', time, 'LIMIT', 0, ARGV[1])) do
      local packed = redis.call('HGET', calls, id)
      if packed then
        redis.call('ZADD', calls_due, whole(time + ARGV[2]), id)
        taken[#taken + 1] = id
        taken[#taken + 1] = packed
      else
        redis.call('ZREM', calls_due, id)
      end
    end
    return taken
    """,
    repeatable=False,
)

SETTLE_CALL = Script(
    "settle_call",
    NOW
    + WHOLE
    + """
    local calls, calls_due, dead = unpack(KEYS)
    local id, what, packed, delay = unpack(ARGV)
    if redis.call('HEXISTS', calls, id) == 0 then return 0 end
    if what == 'retry' then
      redis.call('HSET', calls, id, packed)
      redis.call('ZADD', calls_due, whole(now() + delay), id)
      return 1
    end
    redis.call('HDEL', calls, id)
    redis.call('ZREM', calls_due, id)
    if what == 'dead' then redis.call('HSET', dead, id, packed) end
    return 1
    """,
)

DEAD_CALLS = Script("dead_calls", "return redis.call('HGETALL', KEYS[1])")

DEAD_CALL = Script("dead_call", "return redis.call('HGET', KEYS[1], ARGV[1])")

REPLAY_CALL = Script(
    "replay_call",
    NOW
    + WHOLE
    + """
    local calls, calls_due, dead = unpack(KEYS)
    local id, packed = unpack(ARGV)
    if redis.call('HDEL', dead, id) == 0 then return redis.call('HGET', calls, id) == packed and 1 or 0 end
    redis.call('HSET', calls, id, packed)
    redis.call('ZADD', calls_due, whole(now()), id)
    return 1
    """,
)
