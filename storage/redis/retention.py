"""Letting go, in Redis, of owners that the archive is about to forget."""

from collections.abc import Collection, Sequence

from storage.packing import utf8
from storage.records import KINDS
from storage.redis.client import RedisClient, Script

LET_GO = Script(
    "let_go",
    """
    local half = (#KEYS - 1) / 2
    if redis.call('EXISTS', KEYS[#KEYS]) == 1 then return 1 end
    for n = 1, half do
      if redis.call('EXISTS', KEYS[n]) == 1 then return 1 end
    end
    for n = half + 1, #KEYS - 1 do redis.call('SREM', KEYS[n], ARGV[1]) end
    return 0
    """,
)


TAKE_BACK = Script(
    "take_back",
    """
    local half = (#KEYS - 1) / 2
    for n = 1, half do
      if redis.call('EXISTS', KEYS[n]) == 0 then redis.call('SADD', KEYS[half + n], ARGV[1]) end
    end
    return 1
    """,
)


async def let_go(client: RedisClient, owners: Sequence[str]) -> frozenset[str]:
    """Return those of `owners` that Redis holds, in whatever kind, and forget of the others that the archive has them.

    Of one that is forgotten nothing comes back from the archive any more, so it can be removed there.
    """
    answers = await client.call_each(LET_GO, _calls(client, owners))
    return frozenset(owner for owner, held in zip(owners, answers, strict=True) if held)


async def take_back(client: RedisClient, owners: Collection[str]) -> None:
    """Note of `owners`, which were let go, that the archive has kept them, because they had changed meanwhile."""
    await client.call_each(TAKE_BACK, _calls(client, owners))


def _calls(client: RedisClient, owners: Collection[str]) -> list[tuple[list[bytes], list[bytes]]]:
    """Return for each owner its heads and, in the same order, the sets of those that are in the archive only.

    The last key is the control of a run, which stays while the run waits, however long.
    """
    keys = client.keys
    calls: list[tuple[list[bytes], list[bytes]]] = []
    for owner in owners:
        number = keys.partition_of(owner)
        heads = [keys.thread("m", owner), *(keys.record("h", kind, owner) for kind in KINDS)]
        gone = [keys.partition(number, name) for name in ("gone", *(f"g:{kind}" for kind in KINDS))]
        calls.append(([*heads, *gone, keys.thread("q:run", owner)], [utf8(owner)]))
    return calls
