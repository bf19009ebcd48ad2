"""What stands in Redis, byte for byte: a change of it needs another format number and a migration."""

from datetime import UTC, datetime
from typing import Any

from storage.records import BlobRecord, Change, CheckpointKey, CheckpointRecord, Value, WriteRecord
from storage.redis import Keys, RedisCheckpoints, RedisClient, RedisRecords
from storage.redis.runs import RedisRuns
from storage.runs import Claim, Ended, Granted, Update

KEY = CheckpointKey("thread", "ns", "id-2")
RECORD = CheckpointRecord(
    key=KEY,
    parent_id="id-1",
    body=Value("msgpack", b"\x80"),
    metadata=Value("msgpack", b"\x81"),
    refs={"messages": "0002.5"},
    labels={"run_id": "r"},
    reach=7,
)
BLOBS = [BlobRecord(channel="messages", version="0002.5", value=Value("msgpack", b"\x92\x00"))]
WRITES = [
    WriteRecord(task_id="task", idx=0, task_path="~pull", channel="messages", value=Value("bytes", b"\x00\x01")),
    WriteRecord(task_id="task", idx=-3, task_path="", channel="__interrupt__", value=Value("null", b"")),
]


def parts(*several: bytes) -> bytes:
    """Each with its length before it: four bytes, big-endian."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in several)


STORED = {
    b"m:thread": {b"last": b"<id>"},
    b"n:thread": {b"ns"},
    b"i:thread\0ns": [b"id-2"],
    b"j:thread\0ns": [b"id-2"],
    b"v:thread\0ns": {b"id-2": b"<id>"},
    b"c:thread\0ns": {
        b"id-2": parts(
            b"1", b"id-1", b"msgpack", b"\x80", b"msgpack", b"\x81", parts(b"run_id", b"r"), b"7", b"1"
        )  # format, parent, body, metadata, labels, reach, number of refs
    },
    b"r:thread\0ns": {b"id-2": parts(b"messages\x000002.5")},
    b"b:thread\0ns": {b"messages\x000002.5": b"msgpack\0\x92\0"},
    b"w:thread\0ns\0id-2": {
        b"task\x000": parts(b"1", b"~pull", b"messages", b"bytes", b"\0\x01"),
        b"task\0-3": parts(b"1", b"", b"__interrupt__", b"null", b""),
    },
    b"lru": [b"thread"],
    b"h:event\0run": {b"seq": b"1", b"last": b"<id>"},
    b"l:event\0run": {
        b"1": parts(b"v", b"1", b"at", b"1767225600000001", b"f:message", b"msgpack\0\xa1x", b"c:phase", b"start")
    },
    b"k:event": [b"run"],
    b"out": [
        {b"k": b"c", b"t": b"thread", b"n": b"ns", b"i": b"id-2", b"b": parts(b"messages\x000002.5")},
        {b"k": b"w", b"t": b"thread", b"n": b"ns", b"i": b"id-2"},
        {b"k": b"e", b"r": b"event", b"t": b"run", b"s": b"1"},
    ],
    b"meta": {b"format": b"1", b"cold": b"0"},
}


async def test_what_is_stored_in_redis_has_format_1(redis_url: str) -> None:
    client = await RedisClient.open(redis_url, keys=Keys("formats"), cold=False)
    try:
        checkpoints, records = (
            RedisCheckpoints(client, outbox_limit=1_000_000),
            RedisRecords(client, outbox_limit=1_000_000),
        )
        await checkpoints.put(RECORD, BLOBS)
        await checkpoints.put_writes(KEY, WRITES)
        at = datetime(2026, 1, 1, microsecond=1, tzinfo=UTC)
        fields = {"message": Value("msgpack", b"\xa1x")}
        await records.append(Change(kind="event", owner="run", at=at, fields=fields, columns={"phase": "start"}))

        places = {Keys.partition_of("thread"), Keys.partition_of("run")}
        assert STORED == await dump(client, places)
        stored = await checkpoints.get("thread", "ns")
        assert stored is not None
        assert (RECORD, {"messages": BLOBS[0].value}) == (stored.record, stored.blobs)
        assert WRITES[::-1] == stored.writes
    finally:
        await client.server.flushdb()
        await client.aclose()


CALL = parts(b"1", b"run", b"hook", b"0", b"")  # format, run, target, attempts, error
DOCUMENT = {b"v": b"1", b"at": b"1767225600000000", b"c:org_id": b"acme", b"c:status": b"running"}
STORED_RUNS = {
    b"q:run:run": {
        **dict.fromkeys((b"token", b"until", b"nonce", b"born", b"teller"), b"<own>"),
        b"tenant": b"acme",
        b"holder": b"me",
        b"begun": b"1",
        b"crashes": b"0",
        b"cancel": b"1",
        b"told": b"1",
        b"spent": b"kept",
        b"call:1": CALL,
    },
    b"due": [b"run"],
    b"live": {b"acme": b"1"},
    b"m:run": {b"fence": b"<own>"},
    b"h:run\0run": {b"seq": b"2", b"last": b"<id>"},
    b"o:run\0run": {**DOCUMENT, b"at": b"<own>", b"f:q": b"t\0yes"},
    b"k:run": [b"run"],
    b"out": [{b"k": b"e", b"r": b"run", b"t": b"run", b"s": b"%d" % seq} for seq in (1, 2)],
    b"meta": {b"format": b"1", b"cold": b"0"},
}


async def test_what_is_stored_of_a_live_run_has_format_1(redis_url: str) -> None:
    client = await RedisClient.open(redis_url, keys=Keys("formats"), cold=False)
    try:
        runs = RedisRuns(client, outbox_limit=1_000_000)
        at = datetime(2026, 1, 1, tzinfo=UTC)
        new = Change(kind="run", owner="run", at=at, columns={"status": "running", "org_id": "acme"})
        granted = await runs.enter("run", Claim(holder="me", seconds=100), new=new, calls=["hook"])
        assert isinstance(granted, Granted)
        await runs.update("run", granted.token, Update(keep=b"kept"))
        await runs.cancel("run", change=new, events=[])
        await runs.tell("run", "q", Value("t", b"yes"), at_most=frozenset({"running"}))

        stored = await dump(client, {Keys.partition_of("run")})
        for key, names in (("q:run:run", ("token", "until", "nonce", "born", "teller")), ("m:run", ("fence",))):
            for name in names:
                assert stored[key.encode()][name.encode()]
                stored[key.encode()][name.encode()] = b"<own>"
        stored[b"o:run\0run"][b"at"] = b"<own>"
        states = stored.pop(b"l:run\0run")
        assert STORED_RUNS == stored
        assert [b"1", b"2"] == sorted(states)

        await runs.update("run", granted.token, Update(then=Ended()))
        ended = await dump(client, {Keys.partition_of("run")})
        assert {b"calls": {b"run:1": CALL}, b"calls_due": [b"run:1"]} == {
            name: ended[name] for name in ended if name.startswith(b"calls")
        }
        assert not ended.keys() & {b"q:run:run", b"due", b"live"}
    finally:
        await client.server.flushdb()
        await client.aclose()


async def test_keys_and_partitions_are_where_they_were() -> None:
    assert b"gg:{51}:w:thread\0ns\0id" == Keys().thread("w", "thread", "ns", "id")
    assert b"gg:{52}:h:session\0s" == Keys().record("h", "session", "s")
    assert {"": 0, "a": 7, "日本": 5, "{x}y": 31} == {
        name: Keys.partition_of(name) for name in ("", "a", "日本", "{x}y")
    }


async def dump(client: RedisClient, places: set[int]) -> dict[bytes, Any]:
    """Every key of the partitions without prefix and partition; what Redis makes of the time is left out."""
    server: Any = client.server
    found: dict[bytes, Any] = {}
    for place in places:
        prefix = client.keys.partition(place, "")
        async for key in server.scan_iter(prefix.replace(b"{", rb"\{") + b"*"):
            name = key.removeprefix(prefix)
            match await server.type(key):
                case b"hash":
                    content = await server.hgetall(key)
                    volatile = (b"m:", b"v:", b"h:")
                    value: Any = {
                        field: b"<id>" if name.startswith(volatile) and b"-" in stored else stored
                        for field, stored in content.items()
                    }
                case b"zset":
                    value = await server.zrange(key, 0, -1)
                case b"set":
                    value = set(await server.smembers(key))
                case b"stream":
                    value = [fields for _, fields in await server.xrange(key)]
                case other:
                    raise AssertionError(other)
            found[name] = found[name] + value if name in found and isinstance(value, list) else value
    return found
