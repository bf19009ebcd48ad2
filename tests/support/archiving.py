"""What the archiver's tests write, and how they wait for it."""

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

from storage.archiver import Archiver, ArchiverPolicy
from storage.packing import text
from storage.records import BlobRecord, Change, CheckpointKey, CheckpointRecord, Entry, Kind, Value, WriteRecord
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.records import RedisRecords
from tests.support.recording_archive import RecordingArchive

SECONDS = 10.0
"""More than any wait takes."""
BRISK = ArchiverPolicy(
    linger=0.005, poll=0.02, backoff=0.005, most_backoff=0.02, lease=30.0, reopen=0.02, closing=2.0, sweep=0.01
)
FLEETING = dataclasses.replace(BRISK, lease=0.3)
"""For what happens when a lease runs out. A slow machine then loses leases at any time, so counts are not exact."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def archiver_of(client: RedisClient, archive: RecordingArchive, policy: ArchiverPolicy = BRISK) -> Archiver:
    return Archiver(client, archive.open, policy)


async def within(waiting: asyncio.Event | asyncio.Task) -> None:
    async with asyncio.timeout(SECONDS):
        await (waiting.wait() if isinstance(waiting, asyncio.Event) else waiting)


async def until(archiver: Archiver, holds: Callable[[], bool]) -> None:
    """Wait until something holds; asked after each round of the archiver."""
    async with asyncio.timeout(SECONDS):
        while not holds():
            await archiver._round_over.wait()


def name_of(step: int) -> str:
    """An id that sorts by age, as LangGraph's do."""
    return f"{step:08}"


async def put(
    client: RedisClient,
    thread: str,
    step: int,
    *,
    space: str = "",
    refs: dict[str, str] | None = None,
    new: tuple[str, ...] = ("state",),
    reach: int = 0,
) -> CheckpointKey:
    """Store a checkpoint whose channels `new` changed in this step."""
    key = CheckpointKey(thread, space, name_of(step))
    versions = {**(refs or {}), **{channel: str(step) for channel in new}}
    record = CheckpointRecord(
        key=key,
        parent_id=name_of(step - 1) if step else None,
        body=Value("text", f"body {step}".encode()),
        metadata=Value("text", b"{}"),
        refs=versions,
        reach=reach,
    )
    blobs = [
        BlobRecord(channel=channel, version=str(step), value=Value("text", f"{channel} {step}".encode()))
        for channel in new
    ]
    await RedisCheckpoints(client, outbox_limit=1_000_000).put(record, blobs)
    return key


async def write(client: RedisClient, key: CheckpointKey, task: str = "task", idx: int = 0, body: bytes = b"1") -> None:
    """Store one write."""
    await RedisCheckpoints(client, outbox_limit=1_000_000).put_writes(
        key, [WriteRecord(task_id=task, idx=idx, task_path="", channel="out", value=Value("bytes", body))]
    )


async def append(client: RedisClient, kind: Kind, owner: str, text_: str = "x", **columns: str) -> Entry:
    """Add to a document or log."""
    change = Change(kind=kind, owner=owner, at=NOW, fields={"content": Value("text", text_.encode())}, columns=columns)
    entry = await RedisRecords(client, outbox_limit=1_000_000).append(change)
    assert entry is not None
    return entry


async def hot_ids(client: RedisClient, thread: str, space: str = "") -> list[str]:
    """The checkpoints of a thread that are in Redis."""
    found = cast("list[bytes]", await client.server.zrange(client.keys.thread("i", thread, space), 0, -1))
    return [text(name, "i") for name in found]


async def keys_of(client: RedisClient, pattern: str) -> set[bytes]:
    """The keys whose names match, below this client's prefix."""
    return {key async for key in client.server.scan_iter(f"{client.keys.prefix}:{pattern}")}


async def waiting(client: RedisClient) -> int:
    """References in all outboxes."""
    return sum([await client.server.xlen(client.keys.partition(number, "out")) for number in range(64)])
