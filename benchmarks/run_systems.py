"""Whoever takes runs up in worker processes: ours in three forms, the prototype, and dramatiq alone."""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.prototype import Prototype
from benchmarks.rows import Unmeasured
from benchmarks.three_steps import PLAN, catalog, graph
from checkpointer import DualWriteSaver
from goalgraph import open_planner
from planner.context import RunContext
from planner.execution import RunRequest, RunStores
from planner.runs import ExecutionEngine, LocalEngine, RunPolicy, RunService
from planner.service import PlannerService
from storage.embedded import DataDirectory, open_redis
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.records import RedisRecords
from storage.redis.runs import RedisRuns, open_renewer

OURS, ALONE, DUE, PROTOTYPE, BARE = "ours", "ours, Redis alone", "ours, without a queue", "prototype", "dramatiq alone"
SWEEP = 0.05
"""Seconds between two looks at the due set where nothing else wakes workers up; the default of 1 s would bound them."""
WARM = 10
"""Runs before the measurement."""
Note = Callable[[str], Callable[[], None]]
"""Called when a run is taken up; what it returns is called when it has ended."""
Serve = Callable[[Note], AbstractAsyncContextManager[None]]
"""Takes runs up for as long as it is open."""
Submit = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class System:
    """How runs are submitted and taken up."""

    worker: Callable[[Path, int], AbstractAsyncContextManager[Serve]]
    """By place and slots."""
    submitter: Callable[[Path], AbstractAsyncContextManager[Submit]]
    """By place."""


class Nobody(LocalEngine):
    """Wakes nobody up in another process; where it is started, the sweeper has runs taken up."""

    local = False


def ours(*, queue: bool, archive: bool = True) -> System:
    """Return ours: with dramatiq or the due set alone, with both stores or with Redis alone."""

    def engine(url: str, slots: int) -> ExecutionEngine:
        return dramatiq_engine(url, slots) if queue else Nobody()

    @asynccontextmanager
    async def service(place: Path, slots: int) -> AsyncGenerator[RunService]:
        async with AsyncExitStack() as exits:
            url = await exits.enter_async_context(open_redis(DataDirectory(place / "data")))
            policy = RunPolicy(advance=False, slots=slots, sweep=1.0 if queue else SWEEP)
            opening = both(place, policy, engine(url, slots)) if archive else alone(url, policy, engine(url, slots))
            yield await exits.enter_async_context(opening)

    @asynccontextmanager
    async def worker(place: Path, slots: int) -> AsyncGenerator[Serve]:
        async with service(place, slots) as runs:
            for _ in range(WARM):
                (await runs.execute(request(uuid4().hex))).raise_for_failure()

            @asynccontextmanager
            async def take_up(note: Note) -> AsyncGenerator[None]:
                async def advance(run_id: str) -> None:
                    over = note(run_id)
                    await runs.driver.advance(run_id)
                    over()

                await runs.engine.start(advance)
                runs.sweeper.start()
                try:
                    yield
                finally:
                    await runs.engine.stop()

            yield take_up

    @asynccontextmanager
    async def submitter(place: Path) -> AsyncGenerator[Submit]:
        async with service(place, 1) as runs:

            async def submit(run_id: str) -> None:
                await runs.log.submit(request(run_id))
                await runs.engine.submit(run_id)

            yield submit
            left = await runs.log.stores.live.load("local")
            if left.all:
                raise Unmeasured(f"{left.all} had not ended")

    return System(worker, submitter)


def request(run_id: str) -> RunRequest:
    """Return a run of the three steps."""
    return RunRequest(plan=PLAN, context=RunContext(run_id=run_id))


@asynccontextmanager
async def both(place: Path, policy: RunPolicy, engine: ExecutionEngine) -> AsyncGenerator[RunService]:
    """Open a planner as applications do."""
    async with open_planner(catalog=catalog(), data_dir=place / "data", policy=policy, engine=engine) as planner:
        yield planner.service.run_service


@asynccontextmanager
async def alone(url: str, policy: RunPolicy, engine: ExecutionEngine) -> AsyncGenerator[RunService]:
    """Open one over Redis alone, so that nothing is archived, as the prototype does."""
    client = await RedisClient.open(url, cold=False)
    saver = DualWriteSaver(RedisCheckpoints(client))
    stores = RunStores(records=RedisRecords(client), live=RedisRuns(client), renewer=lambda: open_renewer(client))
    service = PlannerService(catalog(), checkpointer=saver, stores=stores, policy=policy, engine=engine)
    try:
        await service.run_service.open()
        yield service.run_service
    finally:
        await service.aclose()
        saver.close()
        await client.aclose()


def dramatiq_engine(url: str, slots: int) -> ExecutionEngine:
    """Return ours over dramatiq, in the second database of the same Redis."""
    load("dramatiq")
    workers = importlib.import_module("goalgraph.workers.dramatiq_engine")
    return workers.DramatiqEngine(second_database(url), slots=slots)


def second_database(url: str) -> str:
    """Return where queues are: in the Redis of the runs, and not among its keys."""
    return importlib.import_module("goalgraph.workers.opening").next_database(url)


@asynccontextmanager
async def prototype(url: str) -> AsyncGenerator[tuple[Callable[[str], Any], Callable[[str], Any]]]:
    """Give how the prototype submits and advances."""
    runs = Prototype(url, graph)
    yield runs.submit, runs.advance
    await runs.redis.aclose()


@asynccontextmanager
async def bare(_: str) -> AsyncGenerator[tuple[Callable[[str], Any], Callable[[str], Any]]]:
    """Give the graph itself: nothing is stored of a run."""
    compiled = graph()

    async def submit(_: str) -> None: ...

    async def advance(_: str) -> None:
        await compiled.ainvoke({"value": 0})

    yield submit, advance


Inner = Callable[[str], AbstractAsyncContextManager[tuple[Callable[[str], Any], Callable[[str], Any]]]]
"""Opens how runs are submitted and advanced, by the address of Redis."""


def actors(inner: Inner) -> System:
    """Return a system whose runs are messages to an async actor, which advances them in dramatiq's own loop."""

    @asynccontextmanager
    async def submitter(place: Path) -> AsyncGenerator[Submit]:
        async with open_redis(DataDirectory(place / "data")) as url, inner(url) as (record, _):
            broker = broker_of(url)
            broker.declare_queue("default")

            async def submit(run_id: str) -> None:
                await record(run_id)
                message = load("dramatiq").Message(
                    queue_name="default", actor_name="advance", args=(run_id,), kwargs={}, options={}
                )
                await asyncio.to_thread(broker.enqueue, message)

            yield submit
            broker.close()

    return System(lambda place, slots: actor_worker(inner, place, slots), submitter)


@asynccontextmanager
async def actor_worker(inner: Inner, place: Path, slots: int) -> AsyncGenerator[Serve]:
    """Open a worker of dramatiq."""
    async with open_redis(DataDirectory(place / "data")) as url:
        broker = broker_of(url)
        exits = AsyncExitStack()  # of another loop, which ends with the process
        opened: list[Callable[[str], Any]] = []
        lock = asyncio.Lock()
        notes: list[Note] = []

        async def advance(run_id: str) -> None:
            over = notes[0](run_id)
            async with lock:  # in the loop of the actors
                if not opened:
                    opened.append((await exits.enter_async_context(inner(url)))[1])
            await opened[0](run_id)
            over()

        load("dramatiq").Actor(
            load("dramatiq.asyncio").async_to_sync(advance), broker=broker, actor_name="advance",
            queue_name="default", priority=0, options={"time_limit": float("inf"), "max_retries": 5},
        )  # fmt: skip
        async with inner(url) as (submit, own):
            for _ in range(WARM):
                run_id = uuid4().hex
                await submit(run_id)
                await own(run_id)

        @asynccontextmanager
        async def take_up(note: Note) -> AsyncGenerator[None]:
            notes.append(note)
            process = load("dramatiq").Worker(broker, worker_timeout=50, worker_threads=slots)
            await asyncio.to_thread(process.start)
            try:
                yield
            finally:
                await asyncio.to_thread(process.stop)
                await asyncio.to_thread(broker.close)

        yield take_up


def broker_of(url: str) -> Any:
    """Return dramatiq's broker as reference/durable.md section 3.2 sets it up."""
    brokers, middleware = load("dramatiq.brokers.redis"), load("dramatiq.middleware")
    return brokers.RedisBroker(
        url=second_database(url),
        middleware=[middleware.AsyncIO()],
        maintenance_chance=1_000_000,
        heartbeat_timeout=60_000,
    )


def load(module: str) -> Any:
    """Import a part of dramatiq.

    Raises:
        Unmeasured: it is not installed; `pip install goalgraph[workers]` brings it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise Unmeasured("not installed") from error


SYSTEMS: dict[str, System] = {
    OURS: ours(queue=True),
    ALONE: ours(queue=True, archive=False),
    DUE: ours(queue=False),
    PROTOTYPE: actors(prototype),
    BARE: actors(bare),
}
NAMES: Sequence[str] = tuple(SYSTEMS)
