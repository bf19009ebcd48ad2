"""What every engine does, and what a queue in Redis adds to it: one suite for both."""

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Callable
from os import kill
from pathlib import Path
from time import monotonic
from typing import Any, cast
from uuid import uuid4

import pytest
from dramatiq import ConsumerThread, WorkerThread
from dramatiq import broker as dramatiq_broker
from dramatiq.worker import CONSUMER_RESTART_DELAY_SECS
from redis import Redis
from redis.exceptions import RedisError

from goalgraph.settings import Settings
from goalgraph.workers import DramatiqEngine, next_database, open_engine
from goalgraph.workers import queue as run_queue
from planner.catalog import action
from planner.plan import CandidatePlan
from planner.runs import BackgroundExecutionHandle, ExecutionEngine, LocalEngine, RunPolicy, RunService
from storage.errors import StorageRefused
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.run_services import LOCAL, memory_stores, open_service, request_of
from tests.support.running import make_plan

NewEngine = Callable[..., ExecutionEngine]
SUBMITTING = RunPolicy(advance=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with RedisServer(tmp_path_factory.mktemp("engines"), tcp=True) as running:
        yield running


@pytest.fixture
def url(server: RedisServer) -> str:
    return next_database(server.url)


@pytest.fixture
async def new_queue_engine(url: str) -> AsyncIterator[Callable[..., DramatiqEngine]]:
    """Engines of one queue that is the test's own."""
    name, made = uuid4().hex, list[DramatiqEngine]()

    def make(at: str = url, **options: Any) -> DramatiqEngine:
        made.append(DramatiqEngine(at, queue=name, **options))
        return made[-1]

    yield make
    for engine in made:
        await engine.stop()


@pytest.fixture(params=["local", "dramatiq"])
async def new_engine(
    request: pytest.FixtureRequest, new_queue_engine: Callable[..., DramatiqEngine]
) -> AsyncIterator[NewEngine]:
    if request.param == "dramatiq":
        yield new_queue_engine
        return
    made: list[LocalEngine] = []

    def make() -> LocalEngine:
        made.append(LocalEngine())
        return made[-1]

    yield make
    for engine in made:
        await engine.stop()


class Advanced:
    """The runs that an engine had advanced."""

    def __init__(self, *, until: asyncio.Event | None = None) -> None:
        self.runs: list[str] = []
        self._until = until

    async def __call__(self, run_id: str) -> None:
        self.runs.append(run_id)
        if run_id == "bad":
            raise RuntimeError("an advance raised")
        if self._until is not None:
            await self._until.wait()

    async def sees(self, *run_ids: str) -> None:
        async def look() -> bool:
            return sorted(self.runs) == sorted(run_ids)

        await eventually(look, f"advancing {run_ids} (now {self.runs})")


async def test_a_submit_wakes_somebody(new_engine: NewEngine) -> None:
    engine, advanced = new_engine(), Advanced()
    await engine.start(advanced)

    await engine.submit("one")

    await advanced.sees("one")


async def test_a_delay_is_waited_for(new_engine: NewEngine) -> None:
    engine, advanced = new_engine(), Advanced()
    await engine.start(advanced)
    began = monotonic()

    await engine.submit("later", 0.3)
    await engine.submit("now")

    await advanced.sees("now", "later")
    assert monotonic() - began >= 0.29


async def test_an_advance_that_raises_does_not_end_the_engine(new_engine: NewEngine) -> None:
    engine, advanced = new_engine(), Advanced()
    await engine.start(advanced)

    for number in range(20):
        await engine.submit("bad")
        await engine.submit(f"good {number}")

    async def all_good() -> bool:
        return len(set(advanced.runs)) == 21

    await eventually(all_good, "advancing the good ones")


async def test_a_stopped_engine_takes_nothing_up_and_waits_for_what_goes_on(new_engine: NewEngine) -> None:
    engine, until = new_engine(), asyncio.Event()
    advanced = Advanced(until=until)
    await engine.start(advanced)
    await engine.submit("first")
    await advanced.sees("first")

    stopping = asyncio.create_task(engine.stop())
    _, going_on = await asyncio.wait({stopping}, timeout=0.2)
    until.set()
    await stopping

    assert going_on
    other = new_engine()
    try:
        await engine.submit("second")
    except RuntimeError:
        await other.submit("second")
    assert advanced.runs == ["first"]


async def test_one_that_was_never_started_stops(new_engine: NewEngine) -> None:
    async with asyncio.timeout(5):
        await new_engine().stop()


# --------------------------------------------------------------------------------------------------------- with runs


@action
async def name_it(name: str) -> str:
    return name


PLAN = make_plan({"id": "a", "action": "name_it", "inputs": {"name": "it"}})


async def submitted(service: RunService, plan: CandidatePlan) -> BackgroundExecutionHandle:
    """Record a run and have somebody woken up for it, also where the engine would advance it here."""
    await service.log.submit(request_of(plan))
    await service.engine.submit("r")
    return await service.get("r", LOCAL)


async def test_a_run_that_was_submitted_before_anybody_listened_is_taken_up(new_engine: NewEngine) -> None:
    stores = memory_stores()
    async with open_service(name_it, stores=stores, engine=new_engine(), policy=SUBMITTING) as submitting:
        handle = await submitted(submitting, PLAN)
        async with open_service(name_it, stores=stores, engine=new_engine()) as working:
            await working.open()
            result = await handle.wait()

    assert (result.status, result.outputs) == ("succeeded", {"result": "it"})


async def test_a_run_that_is_submitted_a_hundred_times_has_one_owner(new_engine: NewEngine) -> None:
    calls: list[str] = []
    gate = asyncio.Event()

    @action
    async def wait_here() -> str:
        calls.append("called")
        await gate.wait()
        return "done"

    stores, plan = memory_stores(), make_plan({"id": "a", "action": "wait_here"})
    async with open_service(wait_here, stores=stores, engine=new_engine(), policy=SUBMITTING) as submitting:
        handle = await submitted(submitting, plan)
        async with (
            open_service(wait_here, stores=stores, engine=new_engine()) as one,
            open_service(wait_here, stores=stores, engine=new_engine()) as other,
        ):
            await asyncio.gather(one.open(), other.open())
            await asyncio.gather(*(one.engine.submit("r") for _ in range(100)))
            await eventually(lambda: _truth(calls), "the action is called")
            gate.set()
            result = await handle.wait()
            started = one.driver.started + other.driver.started

    assert result.status == "succeeded"
    assert (calls, started) == (["called"], 1)


async def _truth(value: object) -> object:
    return value


async def test_a_run_whose_message_was_flushed_is_found(
    new_queue_engine: Callable[..., DramatiqEngine], url: str
) -> None:
    stores = memory_stores()
    async with open_service(name_it, stores=stores, engine=new_queue_engine(), policy=SUBMITTING) as submitting:
        handle = await submitting.start(request_of(PLAN))
        flush(url)
        async with open_service(name_it, stores=stores, engine=new_queue_engine()) as working:
            await working.open()
            result = await handle.wait()

    assert result.status == "succeeded"


async def test_runs_go_on_while_the_queue_is_away(new_queue_engine: Callable[..., DramatiqEngine]) -> None:
    """Whoever submits is told nothing, and a worker takes up what it finds."""
    stores, nowhere = memory_stores(), "redis://127.0.0.1:1/1"
    submitter, worker = new_queue_engine(nowhere), new_queue_engine(nowhere)
    with pytest.raises(RedisError):
        await submitter.submit("r")
    async with open_service(name_it, stores=stores, engine=submitter, policy=SUBMITTING) as submitting:
        handle = await submitting.start(request_of(PLAN))
        async with open_service(name_it, stores=stores, engine=worker) as working:
            await working.open()
            result = await handle.wait()

    assert result.status == "succeeded"


async def test_a_worker_that_is_closed_leaves_messages_to_others(
    new_queue_engine: Callable[..., DramatiqEngine], url: str
) -> None:
    """Also while its own runs use up their grace."""
    begun, stores = asyncio.Event(), memory_stores()

    @action
    async def hold(name: str) -> str:
        begun.set()
        if name == "first" and not released.is_set():
            await asyncio.Event().wait()
        return name

    released = asyncio.Event()
    plans = [make_plan({"id": "a", "action": "hold", "inputs": {"name": name}}) for name in ("first", "second")]
    policy = RunPolicy(lease=30, sweep=60, grace=0.5)
    async with open_service(hold, stores=stores, engine=new_queue_engine(), policy=SUBMITTING) as submitting:
        leaving = open_service(hold, stores=stores, engine=new_queue_engine(), policy=policy)
        async with leaving as first:
            await first.open()
            await submitting.start(request_of(plans[0], "first"))
            await begun.wait()
            released.set()
            closing = asyncio.create_task(first.aclose())
            await asyncio.wait({closing}, timeout=0.2)
            handle = await submitting.start(request_of(plans[1], "second"))
            await closing
        assert [one for one in messages(submitting.engine, url) if b'"args":["second"]' in one]
        async with open_service(hold, stores=stores, engine=new_queue_engine(), policy=policy) as second:
            await second.open()
            assert (await handle.wait()).status == "succeeded"
            assert (await second.get("second", LOCAL)).id == "second"


# -------------------------------------------------------------------------------------------------------- the queue


async def test_a_message_carries_one_run_id_and_nothing_else(
    new_queue_engine: Callable[..., DramatiqEngine], url: str
) -> None:
    engine = new_queue_engine()
    await engine.submit("one")

    [message] = messages(engine, url)
    assert json.loads(message)["args"] == ["one"]
    assert json.loads(message)["kwargs"] == {}
    assert set(json.loads(message)["options"]) == {"redis_message_id"}


async def test_a_process_that_only_submits_reads_nothing(new_queue_engine: Callable[..., DramatiqEngine]) -> None:
    before = set(threading.enumerate())

    await new_queue_engine().submit("one")

    assert not [one for one in set(threading.enumerate()) - before if isinstance(one, ConsumerThread | WorkerThread)]
    assert dramatiq_broker.global_broker is None


async def test_the_private_server_of_a_data_directory_has_the_queue_as_well(tmp_path: Path) -> None:
    advanced, settings = Advanced(), Settings(data_dir=tmp_path / "data")
    async with open_engine(settings) as working, open_engine(settings) as submitter:
        await working.start(advanced)
        await submitter.submit("one")
        await advanced.sees("one")
        await asyncio.gather(working.stop(), submitter.stop())


def hostile(name: str) -> list[bytes]:
    """What somebody may write into a queue."""
    good = {
        "queue_name": "runs",
        "actor_name": "advance",
        "args": ["r"],
        "kwargs": {},
        "options": {"redis_message_id": name},
        "message_id": name,
        "message_timestamp": 1,
    }
    changes: list[dict[str, Any]] = [
        {"queue_name": "other"},
        {"actor_name": "no such actor"},
        {"args": []},
        {"args": [{"a": 1}]},
        {"args": ["r", "s"]},
        {"options": {}},
        {"options": []},
        {"options": {"redis_message_id": name, "throws": "nothing", "eta": "soon", "pipe_target": {"a": 1}}},
        {"message_id": []},
        {"kwargs": {"run_id": 1}},
    ]
    return [b"\xff\x00garbage", b"", b"[]", b"null", b"{}", *(json.dumps({**good, **one}).encode() for one in changes)]


async def test_garbage_in_the_queue_stops_nobody(new_queue_engine: Callable[..., DramatiqEngine], url: str) -> None:
    engine, advanced = new_queue_engine(threads=2), Advanced()
    await engine.submit("first")
    with Redis.from_url(url) as client:
        queue = f"{engine.queue}:runs"
        bad = hostile("x")
        for number, message in enumerate(bad * 3):
            client.hset(f"{queue}.msgs", f"bad {number}", message)
            client.rpush(queue, f"bad {number}")
        client.rpush(queue, "of nothing")
    await engine.submit("last")
    await engine.start(advanced)

    async def last_came() -> bool:
        return "last" in advanced.runs

    began = monotonic()
    await eventually(last_came, "advancing what came after the garbage")
    assert set(advanced.runs) <= {"first", "last", "r"}
    assert monotonic() - began < CONSUMER_RESTART_DELAY_SECS, (
        "a message that cannot be read makes the reader start anew"
    )


async def test_a_full_process_leaves_messages_to_others_and_sends_on_what_it_held(
    new_queue_engine: Callable[..., DramatiqEngine],
) -> None:
    until = asyncio.Event()
    full, free = Advanced(until=until), Advanced()
    engine = new_queue_engine(slots=1, threads=1)
    await engine.start(full)
    for number in range(5):
        await engine.submit(str(number))
    await full.sees("0")
    other = new_queue_engine()
    await other.start(free)
    stopping = asyncio.create_task(engine.stop())

    await free.sees("1", "2", "3", "4")
    until.set()
    await stopping

    assert full.runs == ["0"]


async def test_a_second_wake_up_while_a_run_is_advanced_is_heard_afterwards(
    new_queue_engine: Callable[..., DramatiqEngine],
) -> None:
    """It may be an answer, which came while the run was about to wait for it."""
    until = asyncio.Event()
    engine, advanced = new_queue_engine(), Advanced(until=until)
    await engine.start(advanced)
    await engine.submit("r")
    await advanced.sees("r")
    for _ in range(10):
        await engine.submit("r")
    await engine.submit("mark")
    await advanced.sees("r", "mark")

    until.set()

    await advanced.sees("r", "mark", "r")


async def test_a_submit_to_a_frozen_queue_does_not_block_the_loop(
    server: RedisServer, new_queue_engine: Callable[..., DramatiqEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_queue, "ANSWER", 0.3)
    engine = new_queue_engine()
    await engine.submit("one")
    kill(server.pid, signal.SIGSTOP)
    try:
        submitting = asyncio.create_task(engine.submit("two"))
        _, going_on = await asyncio.wait({submitting}, timeout=0.1)
        assert going_on
        with pytest.raises(RedisError):
            await submitting
    finally:
        kill(server.pid, signal.SIGCONT)


async def test_a_queue_that_was_restarted_is_read_again(
    tmp_path: Path, new_queue_engine: Callable[..., DramatiqEngine]
) -> None:
    advanced = Advanced()
    with RedisServer(tmp_path / "r", tcp=True) as own:
        engine = new_queue_engine(next_database(own.url))
        await engine.start(advanced)
        await engine.submit("before")
        await advanced.sees("before")
        own.kill()
        await engine.submit("meanwhile")
        await advanced.sees("before", "meanwhile")
        own.start()
        await new_queue_engine(next_database(own.url)).submit("after")
        await advanced.sees("before", "meanwhile", "after")


@pytest.mark.parametrize(
    ("runs", "queue"),
    [
        ("redis://host:6379/0", "redis://host:6379?db=1"),
        ("redis://host", "redis://host?db=1"),
        ("rediss://u:p%40w@host:1/7?ssl_cert_reqs=none", "rediss://u:p%40w@host:1?ssl_cert_reqs=none&db=8"),
        ("redis://host/3?db=4", "redis://host?db=5"),
        ("unix:///run/a%20b/redis.sock?db=0", "unix:///run/a%20b/redis.sock?db=1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=1"),
    ],
)
def test_the_queue_has_the_next_database(runs: str, queue: str) -> None:
    assert queue == next_database(runs)


def test_the_queue_of_a_cluster_has_to_be_named() -> None:
    with pytest.raises(StorageRefused, match="--broker-url"):
        next_database("redis+cluster://host:7000")


def messages(engine: Any, url: str) -> list[bytes]:
    with Redis.from_url(url) as client:
        return cast("list[bytes]", client.hvals(f"{engine.queue}:runs.msgs"))


def flush(url: str) -> None:
    with Redis.from_url(url) as client:
        assert client.dbsize() > 0
        client.flushdb()
