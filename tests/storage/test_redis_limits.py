"""Large calls, lost answers, and calls that travel with others: each gets its own answer, and nothing is done twice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import count
from typing import Any, cast

import pytest
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import ClusterDownError, ClusterError
from redis.exceptions import ConnectionError as RedisConnectionError

from storage.errors import StorageRefused, StorageUnavailable
from storage.records import BlobRecord, Change, CheckpointKey, CheckpointRecord, Entry, Value, WriteRecord
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import MOST_BYTES, RedisClient, Script
from storage.redis.driver import without_password
from storage.redis.records import RedisRecords
from tests.support.redis_server import HOST, RedisCluster3, RedisServer
from tests.support.stores import redis_client

INCREASE = Script("increase", "return redis.call('INCR', KEYS[1])", repeatable=False)
SET = Script("set", "return redis.call('INCR', KEYS[1])")
PUMP = "goalgraph-redis"


@pytest.fixture
async def client(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    async with redis_client(request) as opened:
        yield opened


@pytest.fixture
async def on_cluster(redis_cluster: RedisCluster3) -> AsyncIterator[RedisClient]:
    client = await RedisClient.open(redis_cluster.url, cold=False)
    yield client
    await client.aclose()


def checkpoint(own: str, thread: str = "t", **parts: Any) -> CheckpointRecord:
    body = Value("t", b"b")
    return CheckpointRecord(key=CheckpointKey(thread, "", own), parent_id=None, body=body, metadata=body, **parts)


def writes(several: int) -> list[WriteRecord]:
    return [
        WriteRecord(task_id=f"{at:05}", idx=0, task_path="", channel="out", value=Value("t", b"1"))
        for at in range(several)
    ]


def increase() -> Change:
    return Change(kind="session", owner="s", at=datetime(2026, 1, 1, tzinfo=UTC), increments={"n": 1.0})


async def test_twelve_thousand_writes_travel_in_one_call(client: RedisClient) -> None:
    store = RedisCheckpoints(client, outbox_limit=1000)
    await store.put(checkpoint("1"), [])
    await store.put_writes(CheckpointKey("t", "", "1"), writes(12_000))

    found = await store.get("t", "")
    assert found is not None
    assert writes(12_000) == found.writes


async def test_a_checkpoint_may_have_five_thousand_channels(client: RedisClient) -> None:
    store = RedisCheckpoints(client, outbox_limit=1000)
    blobs = [BlobRecord(channel=f"{at:05}", version="1", value=Value("t", b"1")) for at in range(5000)]
    await store.put(checkpoint("1", refs={blob.channel: "1" for blob in blobs}), blobs)

    found = await store.get("t", "")
    assert found is not None
    assert {blob.channel: blob.value for blob in blobs} == found.blobs


async def test_ten_thousand_checkpoints_are_deleted_at_once(client: RedisClient) -> None:
    store = RedisCheckpoints(client, outbox_limit=100_000)
    for own in ("00000", "99999"):
        await store.put(checkpoint(own), [])
    await store.delete([CheckpointKey("t", "", f"{at:05}") for at in range(10_000)])

    assert [found.record.key.checkpoint_id for found in [await store.get("t", "")] if found] == ["99999"]
    assert await client.guard(client.server.scard(client.keys.thread("x", "t"))) == 10_000


async def test_a_call_that_redis_hangs_up_on_fails_alone(client: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What travels with it is sent again without it."""
    send, sent = AbstractConnection.send_packed_command, count()

    async def hang_up(self: AbstractConnection, command: Any, *args: Any, **parts: Any) -> None:
        if b"culprit" in command:
            next(sent)
            raise RedisConnectionError("hung up")
        await send(self, command, *args, **parts)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", hang_up)
    monkeypatch.setattr("storage.redis.client._pause", lambda attempt: 0.0)
    store = RedisCheckpoints(client)
    names = [*(str(at) for at in range(5)), "culprit", *(str(at) for at in range(5, 10))]
    answers = await asyncio.gather(*(store.put(checkpoint("1", name), []) for name in names), return_exceptions=True)

    assert {name for name, answer in zip(names, answers, strict=True) if answer is not None} == {"culprit"}
    assert isinstance(answers[5], StorageUnavailable)
    assert next(sent) == 4


async def test_a_call_that_is_too_large_costs_its_neighbours_nothing(client: RedisClient) -> None:
    """Not even those that cannot be repeated."""
    records, large = RedisRecords(client), b"x" * (2 * MOST_BYTES)
    await client.guard(client.server.config_set("proto-max-bulk-len", 1024 * 1024))
    try:
        change = Change(kind="event", owner="e", at=increase().at, fields={"f": Value("t", large)})
        calls = [records.append(increase()), records.append(change), records.append(increase())]
        first, too_large, last = await asyncio.gather(*calls, return_exceptions=True)
    finally:
        await client.guard(client.server.config_set("proto-max-bulk-len", 512 * 1024 * 1024))

    assert isinstance(too_large, StorageUnavailable)
    assert isinstance(first, Entry)
    assert isinstance(last, Entry)
    assert last.counters == {"n": 2.0}


def losing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lose one answer of a server, after it came."""
    response: Any = vars(__import__("storage.redis.client", fromlist=["_response"]))["_response"]
    losses = iter([RedisConnectionError("answer lost")])

    async def lose(connection: AbstractConnection) -> object:
        answer = await response(connection)
        if (loss := next(losses, None)) is not None:
            raise loss
        return answer

    monkeypatch.setattr("storage.redis.client._response", lose)


def losing_of_a_node(monkeypatch: pytest.MonkeyPatch, loss: Exception, *, after: bool = True) -> None:
    """Raise `loss` instead of one answer of a node, after it came, or before the command is sent."""
    execute, losses = ClusterNode.execute_command, iter([loss])

    async def lose(self: ClusterNode, *args: Any, **parts: Any) -> Any:
        if args[0] not in ("EVALSHA", "EVAL"):
            return await execute(self, *args, **parts)
        answer = await execute(self, *args, **parts) if after else None
        if (error := next(losses, None)) is not None:
            raise error
        return answer if after else await execute(self, *args, **parts)

    monkeypatch.setattr(ClusterNode, "execute_command", lose)


async def test_what_is_not_repeatable_is_sent_once(client: RedisClient, monkeypatch: pytest.MonkeyPatch) -> None:
    key = client.keys.partition(0, "n")
    assert await client.call(INCREASE, [key], []) == 1
    losing(monkeypatch)
    with pytest.raises(StorageUnavailable):
        await client.call(INCREASE, [key], [])
    assert await client.call(INCREASE, [key], []) == 3
    losing(monkeypatch)
    assert await client.call(SET, [key], []) == 5


async def test_a_cluster_too_gets_what_is_not_repeatable_once(
    on_cluster: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver would repeat whatever is lost, since it does not know what that does."""
    key = on_cluster.keys.partition(0, "n")
    for script in (INCREASE, SET):  # from now on the node knows them
        await on_cluster.call(script, [key], [])
    losing_of_a_node(monkeypatch, RedisConnectionError("answer lost"))
    with pytest.raises(StorageUnavailable):
        await on_cluster.call(INCREASE, [key], [])
    assert await on_cluster.call(INCREASE, [key], []) == 4
    losing_of_a_node(monkeypatch, RedisConnectionError("answer lost"))
    assert await on_cluster.call(SET, [key], []) == 6


@pytest.mark.parametrize("error", [ClusterDownError("the cluster is down"), ClusterError("TTL exhausted.")], ids=repr)
async def test_what_a_cluster_did_not_take_is_sent_again(
    on_cluster: RedisClient, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    key = on_cluster.keys.partition(0, f"not taken {error}")
    losing_of_a_node(monkeypatch, error, after=False)
    assert await on_cluster.call(INCREASE, [key], []) == 1


async def test_calls_follow_a_slot_to_another_node(on_cluster: RedisClient, redis_cluster: RedisCluster3) -> None:
    key = on_cluster.keys.partition(1, "n")
    assert await on_cluster.call(INCREASE, [key], []) == 1
    slot, clients = key_slot(key), [cast("Any", node.client()) for node in redis_cluster.nodes]
    names = [node.execute_command("CLUSTER MYID") for node in clients]
    source = next(at for at in range(3) if 16_384 * at // 3 <= slot < 16_384 * (at + 1) // 3)
    target = (source + 1) % 3
    try:
        clients[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[source])
        clients[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[target])
        keys = clients[source].execute_command("CLUSTER GETKEYSINSLOT", slot, 100)
        port = redis_cluster.nodes[target].port
        clients[source].execute_command("MIGRATE", HOST, port, "", 0, 5000, "KEYS", *keys)
        for at in (target, source, (source + 2) % 3):
            clients[at].execute_command("CLUSTER SETSLOT", slot, "NODE", names[target])
        assert await on_cluster.call(INCREASE, [key], []) == 2
    finally:
        for node in clients:
            node.close()


def pump() -> "asyncio.Task[Any]":
    (found,) = [task for task in asyncio.all_tasks() if task.get_name() == PUMP]
    return found


async def test_who_waits_for_an_exchange_that_never_began_is_told(client: RedisClient) -> None:
    async def cancel() -> None:
        pump().cancel()

    key = client.keys.partition(0, "n")
    calls = [asyncio.create_task(client.call(SET, [key], [])) for _ in range(300)]
    canceller = asyncio.create_task(cancel())  # runs when all have called, and before the exchange does
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*calls, return_exceptions=True)
    await canceller

    assert {type(answer) for answer in answers} == {StorageUnavailable}
    assert await client.call(SET, [key], []) == 1


async def test_who_waits_for_an_exchange_that_is_cut_short_is_told(
    client: RedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those whose turn had not come; nobody takes it for a cancellation of their own."""
    asked = asyncio.Event()

    async def never(_: AbstractConnection) -> object:
        asked.set()
        return await asyncio.get_running_loop().create_future()

    key = client.keys.partition(0, "n")
    async with asyncio.timeout(5):
        with monkeypatch.context() as patched:
            patched.setattr("storage.redis.client._response", never)
            calls = [asyncio.create_task(client.call(SET, [key], [])) for _ in range(300)]
            await asked.wait()
            pump().cancel()
            answers = await asyncio.gather(*calls, return_exceptions=True)

        assert {type(answer) for answer in answers} == {StorageUnavailable}
        assert await client.call(SET, [key], []) > 0


@pytest.mark.parametrize("place", ["redis_url", "redis_cluster"])
async def test_a_client_that_was_closed_stays_closed(request: pytest.FixtureRequest, place: str) -> None:
    found = request.getfixturevalue(place)
    client = await RedisClient.open(found if isinstance(found, str) else found.url, cold=False)
    await client.aclose()
    with pytest.raises(StorageUnavailable, match="closed"):
        await RedisCheckpoints(client).get("t", "")
    await client.aclose()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:6379/0?password=SECRET", "redis://h:6379/0?password=***"),
        ("redis://u:SECRET@h:6379/0", "redis://h:6379/0"),
        ("rediss://h/0?db=1&PASSWORD=SECRET@x&ssl_password=SECRET", "rediss://h/0?db=1&PASSWORD=***&ssl_password=***"),
        ("unix://:SECRET@/run/redis.sock?db=0", "unix:///run/redis.sock?db=0"),
    ],
)
def test_no_message_shows_a_password(url: str, shown: str) -> None:
    assert shown == without_password(url)


async def test_without_a_limit_there_is_no_outbox(client: RedisClient) -> None:
    """Somebody who uses a store alone has no archiver to empty it."""
    await RedisCheckpoints(client).put(checkpoint("1"), [])
    await RedisRecords(client).append(increase())

    outboxes = [client.keys.partition(number, "out") for number in range(64)]
    assert [await client.guard(client.server.exists(outbox)) for outbox in outboxes] == [0] * 64


async def test_an_increase_that_is_not_finite_changes_nothing(client: RedisClient) -> None:
    records = RedisRecords(client)
    await records.append(increase())
    for amount in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="'n'"):
            Change(kind="session", owner="s", at=increase().at, columns={"status": "x"}, increments={"n": amount})
    await client.guard(client.server.hset(client.keys.record("o", "session", "s"), "n:n", "no number"))
    change = Change(kind="session", owner="s", at=increase().at, columns={"status": "x"}, increments={"n": 1})
    with pytest.raises(StorageRefused, match="not a float"):
        await records.append(change)

    assert not await client.guard(client.server.hexists(client.keys.record("o", "session", "s"), "c:status"))
