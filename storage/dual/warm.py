"""Telling a Redis that is new, or that lost its data, what the archive has."""

from collections.abc import Sequence
from itertools import groupby

from storage.clickhouse import ClickHouseArchive
from storage.dual.pages import pages
from storage.packing import utf8
from storage.records import KINDS, Kind
from storage.redis.client import Argument, RedisClient, Script
from storage.redis.keys import PARTITIONS

PAGE = 1000

IS_COLD = Script("is_cold", "return redis.call('HGET', KEYS[1], 'cold') ~= '0' and 1 or 0")
# Ids of a stream only rise; this refuses, and changes nothing, where the last one is newer already.
ADVANCE = Script(
    "advance",
    """
    local added = redis.pcall('XADD', KEYS[1], ARGV[1], 'k', '')
    if added.err then return 0 end
    return redis.call('XDEL', KEYS[1], ARGV[1])
    """,
)
SETTLE = Script("settle", "return redis.call('HSET', KEYS[1], 'cold', '0')")
NOTE_GONE = Script(
    "note_gone",
    """
    for _, owner in ipairs(ARGV) do
      if redis.call('HEXISTS', KEYS[2] .. owner, 'last') == 0 then redis.call('SADD', KEYS[1], owner) end
    end
    return #ARGV
    """,
)


async def settle(client: RedisClient, archive: ClickHouseArchive) -> None:
    """Note who is in the archive only, so that what Redis does not know is known to be nowhere; and begin after it.

    What is written from now on is newer than all that is archived, also when the clock of this Redis is behind the one
    before it: an old deletion would hide it otherwise.

    Until this is done (`cold`), every miss asks the archive, and fails when that is away: "not there" might be wrong.
    It is done once in the life of a Redis; an empty archive takes no time.
    """
    metas = [client.keys.partition(number, "meta") for number in range(PARTITIONS)]
    if not any(await client.call_each(IS_COLD, [([meta], []) for meta in metas])):
        return
    newest = await archive.newest_version()
    if newest:
        outboxes = [client.keys.partition(number, "out") for number in range(PARTITIONS)]
        await client.call_each(ADVANCE, [([outbox], [f"{(newest >> 20) + 1}-0"]) for outbox in outboxes])
    async for threads in pages(archive.threads(), PAGE):
        await _note(client, "gone", "m", None, threads)
    for kind in KINDS:
        async for owners in pages(archive.owners(kind), PAGE):
            await _note(client, f"g:{kind}", "h", kind, owners)
    await client.call_each(SETTLE, [([meta], []) for meta in metas])


async def _note(client: RedisClient, gone: str, letter: str, kind: Kind | None, owners: Sequence[str]) -> None:
    keys = client.keys
    calls: list[tuple[list[bytes], list[Argument]]] = []
    for number, several in groupby(sorted(owners, key=keys.partition_of), key=keys.partition_of):
        head = keys.partition(number, letter) + (b":" if kind is None else b":%s\0" % kind.encode())
        calls.append(([keys.partition(number, gone), head], [utf8(owner) for owner in several]))
    await client.call_each(NOTE_GONE, calls)
