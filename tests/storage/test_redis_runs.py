"""Runs in Redis: what waits for the archive and comes back from it, and what happens when answers or data are lost."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from storage.dual import DualStorage
from storage.dual.warm import settle
from storage.errors import ArchiveUnavailable, Fenced, OutboxFull, StorageUnavailable
from storage.memory import MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.packing import pack
from storage.records import CheckpointKey, CheckpointRecord, Value
from storage.redis.calls import unpack_call
from storage.redis.client import RedisClient
from storage.redis.eviction import evict_record
from storage.redis.outbox import read_reference
from storage.redis.records import RedisRecords
from storage.redis.retention import let_go
from storage.redis.runs import RedisRuns
from storage.redis.storage import RedisStorage
from storage.runs import Claim, Ended, Granted, Released, Update
from tests.support.cutting_proxy import CuttingProxy
from tests.support.redis_server import RedisCluster3, RedisServer
from tests.support.run_stores import LONG, ending, new_run, told, writing
from tests.support.stores import dual_storage, redis_client


@pytest.fixture
async def client(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[RedisClient]:
    """The server is asked for here, so that it runs before the test counts its child processes."""
    async with redis_client(request) as opened:
        yield opened


@pytest.fixture
async def dual(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[DualStorage]:
    async with dual_storage(request) as opened:
        yield opened


async def begun(runs: RedisRuns, run_id: str = "r", claim: Claim | None = LONG, status: str = "running") -> int:
    granted = await runs.enter(run_id, claim, new=new_run(run_id, status=status))
    assert isinstance(granted, Granted)
    return granted.token


async def evict(storage: DualStorage, run_id: str) -> None:
    await storage.flush()
    for kind in ("run", "event"):
        await evict_record(storage.client, kind, run_id)


async def test_what_is_written_of_a_run_waits_for_the_archive(client: RedisClient) -> None:
    """Each state and each event once, in order."""
    runs = RedisRuns(client, outbox_limit=100)
    token = await begun(runs)
    await runs.update("r", token, writing("r", "a", "b", change=new_run()))
    await runs.update("r", token, Update(then=Released(None)))
    assert await runs.tell("r", "q", Value("t", b""), at_most=frozenset({"pending"}))

    outbox = client.keys.partition(client.keys.partition_of("r"), "out")
    waiting = [read_reference(own.decode(), fields) for own, fields in await client.guard(client.server.xrange(outbox))]

    assert [(one.record_kind, one.owner, one.seq) for one in waiting] == [
        ("run", "r", 1),
        ("run", "r", 2),
        ("event", "r", 1),
        ("event", "r", 2),
        ("run", "r", 3),
    ]


async def test_a_full_outbox_refuses_new_runs_first(client: RedisClient) -> None:
    """Those that are live go on for another quarter; claims and leases need no room."""
    runs = RedisRuns(client, outbox_limit=4)
    token = await begun(runs)
    await runs.update("r", token, writing("r", "a", "b", "c"))
    other = next(str(n) for n in range(999) if client.keys.partition_of(str(n)) == client.keys.partition_of("r"))

    with pytest.raises(OutboxFull):
        await begun(runs, other)
    assert await runs.update("r", token, writing("r", "d", after=3)) == 4
    for refused in (writing("r", "e", after=4), Update(**ending(after=4), then=Ended())):
        with pytest.raises(OutboxFull):
            await runs.update("r", token, refused)

    assert await runs.renew({"r": token}, 10) == {"r": "held"}
    await runs.update("r", token, Update(then=Released(None)))
    assert await begun(runs) > token
    assert (await runs.load("acme")).all == 1


async def test_a_run_in_the_archive_is_not_created_again(client: RedisClient) -> None:
    """Who sees the hot tier only cannot tell."""
    await client.guard(client.server.hset(client.keys.partition(client.keys.partition_of("r"), "meta"), "cold", "1"))

    with pytest.raises(ArchiveUnavailable):
        await begun(RedisRuns(client, outbox_limit=4))


async def test_updates_are_written_once_although_answers_are_lost(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The caller repeats what it was not answered."""
    with RedisServer(tmp_path_factory.mktemp("tcp"), tcp=True) as server:
        direct = await RedisClient.open(server.url, cold=False)
        runs, records = RedisRuns(direct, outbox_limit=10_000), RedisRecords(direct, outbox_limit=10_000)
        names = [f"r{n}" for n in range(20)]
        tokens = {name: await begun(runs, name) for name in names}
        async with CuttingProxy(server.url, seed=random.randrange(2**32)) as proxy:
            cut = await RedisClient.open(proxy.url, cold=False)
            proxy.most = 20_000
            proxy.cut()
            for name, token in tokens.items():
                last = Update(**ending(run_id=name, after=4), then=Ended())
                for update in (writing(name, "a", "b"), writing(name, "c", "d", after=2), last):
                    await until_answered(RedisRuns(cut, outbox_limit=10_000), name, token, update)
            assert proxy.cuts > 0
            await cut.aclose()
        for name in names:
            types = [entry.columns["type"] for entry in await records.read("event", name)]
            assert types == ["a", "b", "c", "d", "succeeded"]
        assert (await runs.load("acme")).all == 0
        await direct.aclose()


async def until_answered(runs: RedisRuns, run_id: str, token: int, update: Update) -> int:
    for _ in range(50):
        try:
            return await runs.update(run_id, token, update)
        except StorageUnavailable:
            continue
    raise AssertionError("no answer came")


async def test_runs_live_on_a_cluster(redis_cluster: RedisCluster3) -> None:
    """Whatever one script touches is on one node."""
    client = await RedisClient.open(redis_cluster.url, cold=False)
    runs, records = RedisRuns(client, outbox_limit=1000), RedisRecords(client, outbox_limit=1000)
    names = [str(n) for n in range(30)]
    tokens = dict(zip(names, await asyncio.gather(*(begun(runs, name) for name in names)), strict=True))

    assert set((await runs.renew(tokens, 1000)).values()) == {"held"}
    assert await runs.tell("7", "q", Value("t", b""), at_most=frozenset({"running"}))
    assert await runs.cancel("8", change=new_run("8"), events=[]) == "asked"
    await runs.update("8", tokens["8"], Update(then=Released(None)))
    assert await runs.due() == ["8"]
    assert await runs.defer("8", 100)
    for name in set(names) - {"8"}:
        await runs.update(name, tokens[name], Update(**ending(run_id=name), then=Ended()))
    assert (await runs.load("acme")).all == 1
    assert await runs.add("9", "hook") == "due"
    (call,) = await runs.claim(9, 60)
    await runs.settle(call, dead=True)
    assert await runs.replay(call.id)
    assert await records.delete("run", "8")
    assert (await runs.load("acme")).all == 0
    await client.aclose()


async def test_tokens_rise_although_redis_lost_everything(dual: DualStorage) -> None:
    """The run comes back from the archive, and its old holder is refused."""
    old = await begun(dual.runs)
    await dual.runs.update("r", old, writing("r", "a", change=new_run(status="running")))
    await dual.flush()
    await dual.client.guard(dual.client.server.flushdb())

    with pytest.raises(Fenced):
        await dual.runs.update("r", old, writing("r", "b", after=1))
    granted = await dual.runs.enter("r", LONG)

    assert isinstance(granted, Granted)
    assert granted.token > old
    assert (granted.seq, granted.state.columns["status"], granted.crashes) == (1, "running", 0)
    assert await dual.runs.update("r", granted.token, writing("r", "b", after=1)) == 2


async def test_runs_that_redis_lost_are_adopted_from_the_archive(dual: DualStorage) -> None:
    """Those that are live, in portions; those that have ended stay where they are."""
    for name in ("a", "b", "c"):
        await begun(dual.runs, name)
    ended = await begun(dual.runs, "ended")
    await dual.runs.update("ended", ended, Update(**ending(run_id="ended"), then=Ended()))
    assert await dual.runs.adopt() == 0
    await dual.flush()
    await dual.client.guard(dual.client.server.flushdb())

    assert [await dual.runs.adopt(2), await dual.runs.adopt(), await dual.runs.adopt()] == [2, 1, 0]

    assert sorted(await dual.runs.due()) == ["a", "b", "c"]
    assert (await dual.runs.load("acme")).all == 3
    assert await dual.client.guard(dual.client.server.exists(dual.client.keys.record("o", "run", "ended"))) == 0


async def test_a_run_taken_up_in_a_new_redis_keeps_its_thread(dual: DualStorage) -> None:
    """The fence is there before anybody has noted that the archive has the checkpoints."""
    await begun(dual.runs)
    body = Value("t", b"")
    record = CheckpointRecord(key=CheckpointKey("r", "", "1"), parent_id=None, body=body, metadata=body)
    await dual.checkpoints.put(record, [])
    await dual.flush()
    await dual.client.guard(dual.client.server.flushdb())
    await begun(dual.runs)

    await settle(dual.client, await dual.archive())

    stored = await dual.checkpoints.get("r", "")
    assert stored is not None
    assert stored.record == record


async def test_a_run_that_waits_for_long_may_leave_redis_and_comes_back(dual: DualStorage) -> None:
    """Its control stays, so it can be told, and nobody forgets it in the archive."""
    token = await begun(dual.runs)
    await dual.runs.update("r", token, writing("r", "a", then=Released(None)))
    await evict(dual, "r")
    assert await let_go(dual.client, ["r"]) == {"r"}

    assert await dual.runs.tell("r", "q", Value("t", b"1"), at_most=frozenset({"running"}))

    assert await dual.runs.due() == ["r"]
    await evict(dual, "r")
    granted = await dual.runs.enter("r", LONG)
    assert isinstance(granted, Granted)
    assert (told(granted.state), granted.seq) == (
        (2, {"q": Value("t", b"1")}, {"status": "running", "org_id": "acme"}, {}),
        1,
    )
    await dual.runs.update("r", granted.token, Update(**ending(after=1), then=Ended()))
    states = await dual.records.read("run", "r")
    assert [state.columns["status"] for state in states] == ["running", "running", "succeeded"]


async def test_giving_back_needs_no_archive(client: RedisClient) -> None:
    """Nor does renewing."""
    runs, archived = RedisRuns(client, outbox_limit=9), RedisRecords(client, outbox_limit=9)
    token = await begun(runs)
    await runs.update("r", token, writing("r", "a"))
    for kind in ("run", "event"):
        head = client.keys.record("h", kind, "r")
        await client.guard(client.server.hset(head, "archived", await client.guard(client.server.hget(head, "last"))))
        assert await evict_record(client, kind, "r")

    assert await runs.renew({"r": token}, 10) == {"r": "held"}
    await runs.update("r", token, Update(then=Released(0.0)))

    assert await runs.due() == ["r"]
    with pytest.raises(ArchiveUnavailable):
        await archived.latest("run", "r")


async def test_a_callback_that_cannot_be_read_keeps_no_other_from_being_delivered(client: RedisClient) -> None:
    """What is corrupt is given up, where people see it; what a newer version wrote is left to that."""
    runs, keys = RedisRuns(client), client.keys
    for target in ("corrupt", "newer", "fine"):
        await runs.add("r", target)
    place = keys.partition_of("r")
    calls = keys.partition(place, "calls")
    packed: Any = await client.server.hgetall(calls)
    by_target = {unpack_call(own, one).target: own for own, one in packed.items()}
    newer = pack((b"2", b"of", b"another", b"form"))
    await client.server.hset(calls, mapping={by_target["corrupt"]: b"\xc1", by_target["newer"]: newer})

    assert [call.target for call in await runs.claim(9, 0.0)] == ["fine"]
    assert [call.target for call in await runs.claim(9, 60)] == ["fine"]
    (dead,) = await runs.dead()
    assert (dead.id, dead.run_id) == (by_target["corrupt"].decode(), "r")
    assert "cannot be read" in dead.error
    assert await client.server.hget(calls, by_target["newer"]) == newer


async def test_the_guard_of_a_thread_that_is_never_written_goes_away(client: RedisClient) -> None:
    """Unless the thread is written to after all."""
    await begun(RedisRuns(client))

    assert await client.guard(client.server.ttl(client.keys.thread("m", "r"))) > 86_400


@pytest.mark.parametrize("kind", ["redis", "dual"])
async def test_leases_are_renewed_from_another_thread(
    request: pytest.FixtureRequest, redis_url: str, kind: str
) -> None:
    """Which has an event loop and a connection of its own."""

    async def renew(storage: RedisStorage | DualStorage, token: int) -> str:
        async with storage.renewer() as runs:
            held = await runs.renew({"r": token}, 500)
            await runs.update("r", token, Update(then=Released(0.0)))
            return held["r"]

    async def check(storage: RedisStorage | DualStorage) -> None:
        token = await begun(storage.runs)
        assert await asyncio.to_thread(lambda: asyncio.run(renew(storage, token))) == "held"
        assert await storage.runs.due() == ["r"]

    if kind == "dual":
        async with dual_storage(request) as dual:
            await check(dual)
        return
    async with redis_client(request) as client:
        storage = RedisStorage(client)
        await check(storage)


async def test_only_as_many_ended_runs_stay_in_memory_as_asked() -> None:
    """Live ones always."""
    records = MemoryRecords()
    runs = MemoryRuns(records, keep=2)
    for name in ("live", "a", "b", "c"):
        granted = await runs.enter(name, LONG, new=new_run(name))
        assert isinstance(granted, Granted)
        if name != "live":
            await runs.update(name, granted.token, Update(**ending(run_id=name), then=Ended()))

    assert {owner async for owner in records.owners("run")} == {"live", "b", "c"}
    assert {owner async for owner in records.owners("event")} == {"b", "c"}


async def test_a_memory_store_gives_itself_to_another_thread() -> None:
    runs = MemoryRuns(MemoryRecords())
    granted = await runs.enter("r", LONG, new=new_run())
    assert isinstance(granted, Granted)

    async def renew() -> str:
        async with runs.renewer() as same:
            return (await same.renew({"r": granted.token}, 10))["r"]

    assert await asyncio.to_thread(lambda: asyncio.run(renew())) == "held"
