"""What a long thread weighs: bytes a step in Redis, in the archive, and in what the peers store."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from langgraph.checkpoint.memory import InMemorySaver

from benchmarks.conversation import Conversation
from benchmarks.rows import Figure, Row
from benchmarks.saver_systems import ALONE, MEMORY, OURS, SAVERS, Saver
from benchmarks.servers import Places, peers
from benchmarks.worker import in_turns
from checkpointer import DualWriteSaver
from storage.redis.client import RedisClient

STEPS, QUICK_STEPS = 200, 40
LIMIT = 120.0
DISK = (
    "SELECT sum(bytes_on_disk), sumIf(bytes_on_disk, table = 'gg_blobs') FROM system.parts"
    " WHERE active AND database = currentDatabase()"
)
TABLES = (
    "SELECT sum(pg_total_relation_size(oid)) AS bytes FROM pg_class WHERE relname LIKE 'checkpoint%' AND relkind = 'r'"
)


async def ours(saver: Saver, thread: str) -> dict[str, float]:
    """Return bytes in both tiers, after all is archived, and in the archive once more when its parts are merged."""
    saver = cast("DualWriteSaver", saver)
    await saver.aflush()
    hot = await used(saver.storage.client, thread)
    inserted, _ = await archived(saver)
    await (await saver.storage.archive()).compact()
    merged, values = await archived(saver)
    return {"hot": hot, "archive, unmerged": inserted, "archive": merged, "values": values}


async def archived(saver: DualWriteSaver) -> tuple[float, float]:
    """Return what the archive takes on the disk without parts that are no longer used: all of it, and the values."""
    (every, values), *_ = (await saver.aquery(DISK)).rows
    return float(cast("int", every)), float(cast("int", values))


async def used(client: RedisClient, thread: str) -> float:
    """Return what Redis needs for all keys of a thread."""
    server = cast("Any", client.server)
    keys = [key async for key in server.scan_iter(match=f"*{thread}*", count=1000)]
    return float(sum([await server.memory_usage(key, samples=0) for key in keys]))


async def alone(saver: Saver, thread: str) -> dict[str, float]:
    """Return bytes in a Redis from which nothing leaves, because there is no archive."""
    store: Any = cast("DualWriteSaver", saver).store
    return {"hot": await used(store.client, thread)}


async def memory(saver: Saver, _: str) -> dict[str, float]:
    """Return the bytes of all that is serialised."""
    kept = cast("InMemorySaver", saver)

    def size(value: object) -> int:
        match value:
            case bytes() | str():
                return len(value)
            case dict():
                return sum(size(item) for item in cast("dict[Any, object]", value).values())
            case tuple() | list():
                return sum(size(item) for item in cast("list[object]", value))
            case _:
                return 0

    return {"stored": float(size([dict(kept.storage), dict(kept.writes), dict(kept.blobs)]))}


async def sqlite(saver: Saver, _: str) -> dict[str, float]:
    """Return the size of the database."""
    connection = cast("Any", saver).conn
    pages = await (await connection.execute("PRAGMA page_count")).fetchone()
    page = await (await connection.execute("PRAGMA page_size")).fetchone()
    return {"stored": float(pages[0] * page[0])}


async def postgres(saver: Saver, _: str) -> dict[str, float]:
    """Return the size of the tables with what belongs to them."""
    async with cast("Any", saver).conn.connection() as connection:
        await connection.execute("VACUUM")
        row = await (await connection.execute(TABLES)).fetchone()
    return {"stored": float(row["bytes"])}


async def redis(saver: Saver, _: str) -> dict[str, float]:
    """Return what Redis needs for all its keys."""
    client = cast("Any", saver)._redis  # noqa: SLF001 - it offers no other way to its client
    keys = [key async for key in client.scan_iter(count=1000)]
    return {"stored": float(sum([await client.memory_usage(key, samples=0) or 0 for key in keys]))}


WEIGH: dict[str, Callable[[Saver, str], Awaitable[dict[str, float]]]] = {
    OURS: ours,
    ALONE: alone,
    MEMORY: memory,
    "sqlite": sqlite,
    "postgres": postgres,
    "redis": redis,
}


def measure(system: str, places: Places, steps: int) -> dict[str, float]:
    """Return bytes after a thread of `steps`; `state`: of the newest values, serialised."""

    async def weighed() -> dict[str, float]:
        async with SAVERS[system](places) as saver:
            talk = Conversation(saver, steps=steps)
            for turn in talk.turns():
                talk.parent = await saver.aput(talk.parent, turn.checkpoint, turn.metadata, turn.versions)
                await saver.aput_writes(talk.parent, turn.writes, turn.task)
            talk.check(await saver.aget_tuple(talk.newest))
            state = float(len(saver.serde.dumps_typed(talk.messages)[1]))
            return {"state": state, **await WEIGH[system](saver, talk.thread)}

    return asyncio.run(weighed())


def run(
    *,
    quick: bool = False,
    steps: int | None = None,
    systems: Sequence[str] = tuple(SAVERS),
    places: Places | None = None,
) -> list[Row]:
    """Measure each system once, in a process of its own."""
    steps = steps or (QUICK_STEPS if quick else STEPS)
    if places is None:
        with peers() as started:
            return run(quick=quick, steps=steps, systems=systems, places=started)
    found, reasons = in_turns(systems, 1, "bytes:measure", places, steps, limit=LIMIT)
    return rows(steps, {name: answers[0] if answers else {} for name, answers in found.items()}, reasons)


def rows(steps: int, found: Mapping[str, Mapping[str, float]], reasons: Mapping[str, str]) -> list[Row]:
    """Return bytes a step, and times the state; a peer has one tier, which is compared with both of ours."""

    def figure(name: str, key: str, *, of: str = "") -> Figure:
        if name in reasons:
            return reasons[name]
        stored = found[name].get(key) or found[name].get("stored") or found[name]["hot"]
        return round(stored / found[name][of], 2) if of else round(stored / steps)

    def line(what: str, key: str, unit: str, goal: str = "", *, of: str = "") -> Row:
        others = {name: figure(name, key, of=of) for name in found if name != OURS and (name != ALONE or key == "hot")}
        value = figure(OURS, key, of=of)
        return Row(what=f"{steps} steps: {what}", value=value, unit=unit, goal=goal, peers=others)

    state = reasons.get(OURS) or round(found[OURS]["state"])
    values = reasons.get(OURS) or round(found[OURS]["values"] / steps)
    return [
        Row(what=f"{steps} steps: the state at the end", value=state, unit="bytes"),
        line("hot, when all is archived", "hot", "bytes a step"),
        line("hot, of the state", "hot", "×", "≤ 4", of="state"),
        line("archive, merged", "archive", "bytes a step", "≤ 1000"),
        Row(what=f"{steps} steps: of these the channels' values", value=values, unit="bytes a step"),
        line("archive, as it was inserted", "archive, unmerged", "bytes a step"),
    ]
