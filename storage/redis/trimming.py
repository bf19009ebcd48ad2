"""Making the hot tier smaller: of what is archived, only the newest stays."""

from collections.abc import Mapping

from storage.packing import utf8
from storage.records import DOCUMENTS
from storage.redis.client import Argument, RedisClient, Script
from storage.redis.outbox_scripts import LATER

MOST = 1000
"""Checkpoints that one call drops, so that Redis is not busy for long."""

TRIM_THREAD = Script(
    "trim_thread",
    LATER
    + """
    local meta, ids, records, refs, changed, blobs, written, writes = unpack(KEYS)
    local newest, keep, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
    local archived = redis.call('HGET', meta, 'archived')
    if not archived then return 0 end
    local function done(id)
      local change = redis.call('HGET', changed, id)
      return change and not later(change, archived)
    end
    local dropped = 0
    local younger = redis.call('ZREVRANK', ids, newest)
    local spare = younger and redis.call('ZCARD', ids) - younger - keep or 0
    if spare > 0 then
      for _, id in ipairs(redis.call('ZRANGE', ids, 0, math.min(spare, most) - 1)) do
        if done(id) then
          redis.call('HDEL', records, id)
          redis.call('HDEL', refs, id)
          redis.call('HDEL', changed, id)
          redis.call('ZREM', ids, id)
          redis.call('ZREM', written, id)
          redis.call('UNLINK', writes .. id)
          dropped = dropped + 1
        end
      end
    end
    local oldest = redis.call('ZRANGE', ids, 0, 0)[1]
    if oldest then
      for _, id in ipairs(redis.call('ZRANGEBYLEX', written, '-', '(' .. oldest, 'LIMIT', 0, most)) do
        if done(id) then
          redis.call('HDEL', changed, id)
          redis.call('ZREM', written, id)
          redis.call('UNLINK', writes .. id)
          redis.call('HSET', meta, 'trimmed', '1')
        end
      end
    end
    if dropped == 0 then return 0 end
    redis.call('HSET', meta, 'trimmed', '1')
    local needed = {}
    for _, packed in ipairs(redis.call('HVALS', refs)) do
      local at = 1
      while at <= #packed do
        local field
        field, at = struct.unpack('>I4c0', packed, at)
        needed[field] = true
      end
    end
    for _, field in ipairs(redis.call('HKEYS', blobs)) do
      if not needed[field] then redis.call('HDEL', blobs, field) end
    end
    return dropped
    """,
)

TRIM_NAMED = Script(
    "trim_named",
    LATER
    + """
    local meta, spaces = KEYS[1], KEYS[2]
    local keep, most = tonumber(ARGV[1]), tonumber(ARGV[2])
    local archived = redis.call('HGET', meta, 'archived')
    if not archived then return 0 end
    local groups = {}
    for _, space in ipairs(redis.call('SMEMBERS', spaces)) do
      local newest
      for _, change in ipairs(redis.call('HVALS', KEYS[3] .. space)) do
        if not newest or later(change, newest) then newest = change end
      end
      local kind = string.match(space, '^[^/]*')
      groups[kind] = groups[kind] or {}
      table.insert(groups[kind], {space, newest or '0-0'})
    end
    local dropped = 0
    for _, group in pairs(groups) do
      table.sort(group, function(one, other) return later(one[2], other[2]) end)
      for n = #group, keep + 1, -1 do
        local space, change = unpack(group[n])
        if dropped < most and not later(change, archived) then
          for _, id in ipairs(redis.call('ZRANGE', KEYS[4] .. space, 0, -1)) do
            redis.call('UNLINK', KEYS[5] .. space .. '\\0' .. id)
          end
          redis.call('UNLINK', KEYS[3] .. space, KEYS[4] .. space)
          for k = 6, #KEYS do redis.call('UNLINK', KEYS[k] .. space) end
          redis.call('SREM', spaces, space)
          dropped = dropped + 1
        end
      end
    end
    if dropped > 0 then redis.call('HSET', meta, 'trimmed', '1') end
    return dropped
    """,
)

# An owner that was deleted and created anew counts its entries from 1 again. As long as that deletion waits in the
# outbox, a number does not tell of which life it is, so nothing is trimmed.
TRIM_RECORDS = Script(
    "trim_records",
    """
    local outbox, most = KEYS[1], 1000
    local waiting = redis.call('XRANGE', outbox, '-', '+', 'COUNT', most)
    if #waiting == most then return 0 end
    local deleted = {}
    for _, entry in ipairs(waiting) do
      local of = {}
      for n = 1, #entry[2], 2 do of[entry[2][n]] = entry[2][n + 1] end
      if of.k == 'd' then deleted[of.r .. '\\0' .. of.t] = true end
    end
    local dropped, key = 0, 2
    for at = 1, #ARGV, 4 do
      local name, upto, keep, merged = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3] == '1'
      local head, entries = KEYS[key], KEYS[key + 1]
      key = key + 2
      local seq, first, bad = unpack(redis.call('HMGET', head, 'seq', 'first', 'bad'))
      if seq and not bad and not deleted[name] then
        first, upto = tonumber(first or '1'), math.min(upto, seq - keep)
        upto = math.min(upto, first + most - 1)
        for n = first, upto do dropped = dropped + redis.call('HDEL', entries, n) end
        if upto >= first then
          redis.call('HSET', head, 'first', merged and math.min(upto + 1, tonumber(seq)) or upto + 1)
        end
      end
    end
    return dropped
    """,
)


async def trim_thread(client: RedisClient, thread_id: str, checkpoint_ns: str, newest: str, keep: int) -> int:
    """Drop archived checkpoints of a namespace, with their writes and the blobs that nothing refers to any more.

    Args:
        client: Of the server.
        thread_id: The thread.
        checkpoint_ns: Its namespace.
        newest: The checkpoint to count from; what is newer stays in any case.
        keep: How many stay, counting `newest`.

    Returns:
        How many checkpoints were dropped; `MOST` says that there may be more.
    """
    of = client.keys.thread
    keys = [of("m", thread_id), *(of(letter, thread_id, checkpoint_ns) for letter in "icrvbj")]
    keys.append(of("w", thread_id, checkpoint_ns, ""))
    return await client.call(TRIM_THREAD, keys, [newest, keep, MOST])


async def trim_named(client: RedisClient, thread_id: str, keep: int) -> int:
    """Drop archived namespaces of a thread of named checkpoints, but for the `keep` of each kind that changed last.

    Returns:
        How many namespaces were dropped; `MOST` says that there may be more.
    """
    of = client.keys.thread
    keys = [of("m", thread_id), of("n", thread_id), *(of(letter, thread_id, "") for letter in "vjwicrb")]
    return await client.call(TRIM_NAMED, keys, [keep, MOST])


async def trim_records(
    client: RedisClient, number: int, archived: Mapping[tuple[str, str], int], keep: Mapping[str, int]
) -> int:
    """Drop archived entries: of a document all, of a log all but the newest.

    Args:
        client: Of the server.
        number: The partition of all these owners.
        archived: (Kind, owner) → the last entry that is archived.
        keep: Kind of log → how many stay.

    Returns:
        How many entries were dropped, at most 1,000 of each owner.
    """
    keys = [client.keys.partition(number, "out")]
    arguments: list[Argument] = []
    for (kind, owner), seq in archived.items():
        merged = kind in DOCUMENTS
        keys += [client.keys.record(letter, kind, owner) for letter in "hl"]
        name = b"\0".join(utf8(part) for part in (kind, owner))
        arguments += [name, seq, 0 if merged else keep.get(kind, MOST), int(merged)]
    return await client.call(TRIM_RECORDS, keys, arguments) if archived else 0
