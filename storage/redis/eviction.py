"""Removing whole owners that idle from the hot tier, once the archive has all of them."""

from collections.abc import Coroutine

from storage.packing import text, utf8
from storage.records import KINDS
from storage.redis.client import RedisClient, Script, all_of

PAGE = 100
"""Owners of one kind and partition that are looked at together."""
GUARD_SECONDS = 7 * 86_400
"""For which an evicted thread still refuses writers that are late or fenced off."""

EVICT_THREAD = Script(
    "evict_thread",
    """
    local meta, spaces, archived_spaces, dropped, lru, gone = unpack(KEYS, 1, 6)
    local thread, idle = ARGV[1], tonumber(ARGV[2])
    if redis.call('EXISTS', meta) == 0 then
      redis.call('ZREM', lru, thread)
      return 0
    end
    local now = redis.call('TIME')
    local used = redis.call('ZSCORE', lru, thread)
    if used and now[1] * 1000 + now[2] / 1000 - used < idle then return 0 end
    local last, archived, fence, deleted = unpack(redis.call('HMGET', meta, 'last', 'archived', 'fence', 'deleted'))
    if not last or last ~= archived then return 0 end
    local held = redis.call('SMEMBERS', spaces)
    for _, space in ipairs(held) do
      local ids = redis.call('ZRANGE', KEYS[12] .. space, 0, -1)
      for _, id in ipairs(ids) do redis.call('UNLINK', KEYS[13] .. space .. '\\0' .. id) end
      for n = 7, 12 do redis.call('UNLINK', KEYS[n] .. space) end
    end
    redis.call('UNLINK', meta, spaces, archived_spaces)
    if fence then redis.call('HSET', meta, 'fence', fence) end
    if deleted then redis.call('HSET', meta, 'deleted', deleted) end
    redis.call('EXPIRE', meta, ARGV[3])
    redis.call('EXPIRE', dropped, ARGV[3])
    redis.call('ZREM', lru, thread)
    if #held > 0 then redis.call('SADD', gone, thread) end
    redis.call('HINCRBY', KEYS[14], 'evictions', 1)
    return 1
    """,
    repeatable=False,
)

EVICT_RECORD = Script(
    "evict_record",
    """
    local head, document, entries, owners, gone = unpack(KEYS)
    local owner, idle = ARGV[1], tonumber(ARGV[2])
    local seq, last, archived = unpack(redis.call('HMGET', head, 'seq', 'last', 'archived'))
    if not seq then return 0 end
    local now = redis.call('TIME')
    local used = redis.call('ZSCORE', owners, owner)
    if used and now[1] * 1000 + now[2] / 1000 - used < idle or last ~= archived then return 0 end
    redis.call('UNLINK', head, document, entries)
    redis.call('ZREM', owners, owner)
    redis.call('SADD', gone, owner)
    return 1
    """,
    repeatable=False,
)

IDLE = Script(
    "idle",
    """
    local now = redis.call('TIME')
    local before = now[1] * 1000 + now[2] / 1000 - ARGV[1]
    local lists = {}
    for n, key in ipairs(KEYS) do
      lists[n] = redis.call('ZRANGEBYSCORE', key, '-inf', before, 'LIMIT', ARGV[n + 1], ARGV[#ARGV])
    end
    return lists
    """,
)


async def evict_thread(client: RedisClient, thread_id: str, idle_for: float = 0.0) -> bool:
    """Remove a thread from the hot tier and note that the archive has it, when all of it is archived.

    Args:
        client: Of the server.
        thread_id: The thread.
        idle_for: Seconds, by the clock of Redis, since it was last written to or came back from the archive.
    """
    of, number = client.keys.thread, client.keys.partition_of(thread_id)
    keys = [of(letter, thread_id) for letter in "mnax"]
    keys += [client.keys.partition(number, name) for name in ("lru", "gone")]
    keys += [of(letter, thread_id, "") for letter in "icrvbjw"]
    keys.append(client.keys.partition(number, "meta"))
    return bool(await client.call(EVICT_THREAD, keys, [utf8(thread_id), int(idle_for * 1000), GUARD_SECONDS]))


async def evict_record(client: RedisClient, kind: str, owner: str, idle_for: float = 0.0) -> bool:
    """Remove a document or log from the hot tier, as `evict_thread` does."""
    of, number = client.keys.record, client.keys.partition_of(owner)
    keys = [of(letter, kind, owner) for letter in "hol"]
    keys += [client.keys.partition(number, f"{letter}:{kind}") for letter in "kg"]
    return bool(await client.call(EVICT_RECORD, keys, [utf8(owner), int(idle_for * 1000)]))


async def evict_idle(client: RedisClient, number: int, idle_for: float) -> int:
    """Evict all owners of a partition that idle and are archived; returns how many.

    Args:
        client: Of the server.
        number: The partition.
        idle_for: Seconds, by the clock of Redis.
    """
    keys = [client.keys.partition(number, name) for name in ("lru", *(f"k:{kind}" for kind in KINDS))]
    offsets = [0] * len(keys)
    evicted = 0
    while True:
        lists = await client.call(IDLE, keys, [int(idle_for * 1000), *offsets, PAGE])
        if not any(lists):
            return evicted
        for place, owners in enumerate(lists):
            done = await all_of(_evict(client, place, text(owner, "lru"), idle_for) for owner in owners)
            evicted += sum(done)
            offsets[place] += len(done) - sum(done)  # those that stay stand before the next page


def _evict(client: RedisClient, place: int, owner: str, idle_for: float) -> Coroutine[None, None, bool]:
    if place == 0:
        return evict_thread(client, owner, idle_for)
    return evict_record(client, KINDS[place - 1], owner, idle_for)
