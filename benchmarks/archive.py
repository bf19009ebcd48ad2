"""What the archive costs and gives: rows a second, the writer beside it, reading what was evicted, starting, memory."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.conversation import Conversation
from benchmarks.rows import Row, Unmeasured
from benchmarks.saver_systems import folder, redis_alone
from benchmarks.worker import Worker
from checkpointer import DualWriteSaver
from storage.embedded import DataDirectory, open_redis
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient

Size = tuple[int, int]
"""Conversations at once, steps of each."""
BACKLOG, QUICK_BACKLOG = (32, 60), (8, 12)
WRITER, QUICK_WRITER = (32, 100), (8, 12)
COLD, QUICK_COLD = (40, 20), (5, 5)
REPEATS = 3
LIMIT = 120.0


async def write(saver: DualWriteSaver, size: Size) -> float:
    """Write conversations side by side and return the steps a second; a step is `put`, `put_writes`, `get_tuple`."""
    at_once, steps = size

    async def one(talk: Conversation) -> None:
        for turn in talk.turns():
            talk.parent = await saver.aput(talk.parent, turn.checkpoint, turn.metadata, turn.versions)
            await saver.aput_writes(talk.parent, turn.writes, turn.task)
            talk.check(await saver.aget_tuple(talk.newest))

    talks = [Conversation(saver, number, steps) for number in range(at_once)]
    gc.collect()
    began = time.perf_counter()
    await asyncio.gather(*map(one, talks))
    return at_once * steps / (time.perf_counter() - began)


@asynccontextmanager
async def at_work(data: Path) -> AsyncGenerator[DualWriteSaver]:
    """Open the pair, its archive too, with the archiver at work."""
    async with DualWriteSaver.from_conn_string(data_dir=data) as saver:
        await write(saver, (1, 2))
        await saver.aflush()
        yield saver


def throughput(size: Size) -> dict[str, float]:
    """Return how fast the archiver moves what waits: rows, and megabytes before they are compressed, a second."""

    async def measured() -> dict[str, float]:
        data = folder()
        async with open_redis(DataDirectory(data)) as address:
            client = await RedisClient.open(address)
            saver = DualWriteSaver(RedisCheckpoints(client, outbox_limit=1_000_000))
            await write(saver, size)
            saver.close()
            await client.aclose()
            async with DualWriteSaver.from_conn_string(data_dir=data) as saver:
                await saver.storage.archive()
                before, began = saver.storage.archiver.metrics(), time.perf_counter()
                await saver.aflush(LIMIT)
                took, after = time.perf_counter() - began, saver.storage.archiver.metrics()
                rows = after.rows - before.rows
                return {"rows": rows, "rows/s": rows / took, "MB/s": (after.bytes - before.bytes) / took / 1e6}

    return asyncio.run(measured())


def cost(size: Size, pairs: int) -> dict[str, float]:
    """Return steps a second without and with the archiver, in turns in one process, and what it costs in percent."""
    found: dict[str, list[float]] = {"off": [], "on": [], "until archived": [], "archived": []}

    async def off() -> float:
        async with redis_alone({}) as saver:
            await write(saver, (1, 2))
            return await write(saver, size)

    async def on() -> None:
        async with at_work(folder()) as saver:
            before, began = saver.storage.archiver.metrics().rows, time.perf_counter()
            found["on"].append(await write(saver, size))
            meanwhile = saver.storage.archiver.metrics().rows - before
            await saver.aflush(LIMIT)
            found["until archived"].append(size[0] * size[1] / (time.perf_counter() - began))
            found["archived"].append(100 * meanwhile / (saver.storage.archiver.metrics().rows - before))

    async def both() -> None:
        await off()  # warms up
        for _ in range(pairs):
            found["off"].append(await off())
            await on()

    asyncio.run(both())
    shares = [100 * (1 - on / off) for on, off in zip(found["on"], found["off"], strict=True)]
    return {name: median(several) for name, several in found.items()} | {"cost": median(shares)}


def cold(size: Size) -> dict[str, float]:
    """Return milliseconds of reading the newest checkpoint of a thread: evicted, and then once more."""

    async def measured() -> dict[str, float]:
        async with at_work(folder()) as saver:
            talks = [Conversation(saver, number, size[1]) for number in range(size[0])]
            for talk in talks:
                for turn in talk.turns():
                    talk.parent = await saver.aput(talk.parent, turn.checkpoint, turn.metadata, turn.versions)
                    await saver.aput_writes(talk.parent, turn.writes, turn.task)
            for talk in talks:
                if not await saver.aevict(talk.thread):
                    raise Unmeasured("not evicted")
            evicted, hot = [await _reading(talk) for talk in talks], [await _reading(talk) for talk in talks]
            return {"p50": median(evicted), "p99": quantiles(evicted, n=100)[98], "hot": median(hot)}

    return asyncio.run(measured())


async def _reading(talk: Conversation) -> float:
    began = time.perf_counter()
    found = await talk.saver.aget_tuple(talk.newest)
    took = time.perf_counter() - began
    talk.check(found)
    return 1000 * took


def start(data: str) -> dict[str, float]:
    """Return milliseconds until a `put` is acknowledged and until the archive is open, and megabytes of memory."""

    async def measured() -> dict[str, float]:
        found = {"before": resident("self")}
        began = time.perf_counter()
        async with DualWriteSaver.from_conn_string(data_dir=data) as saver:
            talk = Conversation(saver)
            turn = next(talk.turns())
            await saver.aput(talk.parent, turn.checkpoint, turn.metadata, turn.versions)
            found["put"] = 1000 * (time.perf_counter() - began)
            found["hot"] = resident("self")
            found["redis"] = resident((Path(data) / "redis" / "redis.pid").read_text(encoding="utf-8").strip())
            began = time.perf_counter()
            await saver.storage.archive()
            found["archive"] = 1000 * (time.perf_counter() - began)
            found["open"] = resident("self")
        return found

    return asyncio.run(measured())


def resident(process: int | str) -> float:
    """Return the megabytes of memory that a process has."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def starting(data: Path) -> dict[str, float]:
    """Start a process that opens the pair in `data`; `process`: milliseconds until it is done, Python included."""
    began = time.perf_counter()
    with Worker() as worker:
        found: dict[str, float] = worker.call("archive:start", str(data), limit=LIMIT)
        return {**found, "process": 1000 * (time.perf_counter() - began)}


def attaching(data: Path) -> dict[str, float]:
    """As `starting`, while this process has the server open."""

    async def held() -> dict[str, float]:
        async with open_redis(DataDirectory(data)):
            return await asyncio.to_thread(starting, data)

    return asyncio.run(held())


def starts(repeats: int) -> dict[str, dict[str, float]]:
    """Return the medians of a first start, one on data that are there, and one beside another process."""
    found: dict[str, list[dict[str, float]]] = {"first": [], "again": [], "attach": []}
    for _ in range(repeats):
        with TemporaryDirectory(prefix="gg-bench-", ignore_cleanup_errors=True) as place:
            data = Path(place, "data")
            found["first"].append(starting(data))
            found["again"].append(starting(data))
            found["attach"].append(attaching(data))
    return {name: {key: median(one[key] for one in several) for key in several[0]} for name, several in found.items()}


def throughput_rows(found: dict[str, float]) -> list[Row]:
    """Return the lines of `throughput`."""
    title = f"archiving {found['rows']:,.0f} rows"
    return [line(title, found["rows/s"], "rows/s"), line(f"{title}: before compression", found["MB/s"], "MB/s")]


def cost_rows(found: dict[str, float], size: Size) -> list[Row]:
    """Return the lines of `cost`."""
    title = f"{size[0]} tasks"
    return [
        line(f"{title}, archiver off", found["off"], "steps/s"),
        line(f"{title}, archiver on", found["on"], "steps/s"),
        line(f"{title}: what archiving costs the writer", found["cost"], "%", "≤ 15"),
        line(f"{title}: rows archived before the writer's end", found["archived"], "%"),
        line(f"{title}, until all is archived", found["until archived"], "steps/s"),
    ]


def cold_rows(found: dict[str, float], size: Size) -> list[Row]:
    """Return the lines of `cold`."""
    title = f"reading an evicted thread of {size[1]} steps"
    return [
        line(f"{title}: p50 of {size[0]}", found["p50"], "ms"),
        line(f"{title}: p99", found["p99"], "ms"),
        line(f"{title}: once more, p50", found["hot"], "ms"),
    ]


def start_rows(found: dict[str, dict[str, float]]) -> list[Row]:
    """Return the lines of `starts`."""
    first, again, attach = found["first"], found["again"], found["attach"]
    return [
        line("from opening to the first put, new folder", first["put"], "ms", "< 2000"),
        line("from opening to the first put, folder with data", again["put"], "ms", "< 2000"),
        line("from opening to the first put, beside another process", attach["put"], "ms", "< 2000"),
        line("opening the archive then, new", first["archive"], "ms", "< 2000"),
        line("opening the archive then, with data", again["archive"], "ms"),
        line("a whole process: Python, first put, archive opened, all closed", first["process"], "ms"),
        line("memory of redis-server", first["redis"], "MB"),
        line("memory of the process, imported", first["before"], "MB"),
        line("memory of the process, first put", first["hot"], "MB"),
        line("memory of the process, archive open", first["open"], "MB"),
    ]


def line(what: str, value: float, unit: str, goal: str = "") -> Row:
    """Return a row without peers: none of them has two tiers."""
    return Row(what=what, value=float(f"{value:.4g}"), unit=unit, goal=goal)


def middle(several: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    found = list(several)
    return {name: median(one[name] for one in found) for name in found[0]}


def run(
    *,
    quick: bool = False,
    backlog: Size | None = None,
    writer: Size | None = None,
    evicted: Size | None = None,
    repeats: int | None = None,
) -> list[Row]:
    """Measure: starting in new processes, the rest in one."""
    times = repeats or (1 if quick else REPEATS)
    backlog, writer = backlog or (QUICK_BACKLOG if quick else BACKLOG), writer or (QUICK_WRITER if quick else WRITER)
    evicted = evicted or (QUICK_COLD if quick else COLD)

    with Worker() as worker:

        def called(function: str, *arguments: Any) -> dict[str, float]:
            return worker.call(f"archive:{function}", *arguments, limit=LIMIT)

        parts: list[tuple[str, Callable[[], list[Row]]]] = [
            ("archiving", lambda: throughput_rows(middle(called("throughput", backlog) for _ in range(times)))),
            ("what archiving costs", lambda: cost_rows(called("cost", writer, times), writer)),
            ("reading an evicted thread", lambda: cold_rows(called("cold", evicted), evicted)),
            ("starting", lambda: start_rows(starts(times))),
        ]
        found: list[Row] = []
        for what, part in parts:
            try:
                found += part()
            except Unmeasured as reason:
                found.append(Row(what=what, value=str(reason)))
        return found
