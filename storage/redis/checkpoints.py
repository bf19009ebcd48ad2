"""Checkpoints in Redis: one script call for each of `put`, `put_writes` and `get`.

What has left for the archive is not looked for here: `fetch`, `ids` and `gone` tell that it may be there, and
`storage/dual.py` asks.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any

from storage.errors import CorruptRecord, Fenced
from storage.packing import (
    number,
    pack,
    pack_checkpoint,
    pack_write,
    text,
    unpack,
    unpack_checkpoint,
    unpack_write,
    utf8,
)
from storage.records import (
    BlobRecord,
    CheckpointKey,
    CheckpointQuery,
    CheckpointRecord,
    StoredCheckpoint,
    Value,
    WriteRecord,
)
from storage.redis import checkpoint_scripts as scripts
from storage.redis.client import RedisClient, all_of
from storage.redis.keys import PARTITIONS
from storage.redis.records import any_gone

PAGE = 64
"""Checkpoints fetched together by `scan`."""
DELETED_TOGETHER = 1000
"""Checkpoints that one call deletes, so that Redis is not busy for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What the hot tier knows of a checkpoint."""

    found: StoredCheckpoint | None = None
    missing: Mapping[str, str] | None = None
    """Channel → version of the blobs of `found` that are in the archive only."""
    elsewhere: bool = False
    """It is not here, and the archive may have it."""
    writes: Sequence[WriteRecord] = ()
    """Writes that are here although their checkpoint is not."""
    state: bytes = b""
    """Of the thread, when the checkpoint is `elsewhere`; for `restore`."""


class RedisCheckpoints:
    """A `CheckpointStore` of what is live.

    Args:
        client: Where.
        outbox_limit: References that may wait in one partition before new threads are refused; those that exist go on
            for another quarter of it. `None` says that nobody archives, so nothing is put into the outbox.
    """

    def __init__(self, client: RedisClient, *, outbox_limit: int | None = None) -> None:
        self.client = client
        self._keys = client.keys
        self._soft: int | str = "" if outbox_limit is None else outbox_limit
        self._hard: int | str = "" if outbox_limit is None else outbox_limit + outbox_limit // 4

    async def put(self, record: CheckpointRecord, blobs: Sequence[BlobRecord], *, fence: int | None = None) -> None:
        """Store a checkpoint and the blobs that are new; see `CheckpointStore`."""
        thread, space, checkpoint_id = record.key
        fields = [_blob_field(blob.channel, blob.version) for blob in blobs]
        new = (part for field, blob in zip(fields, blobs, strict=True) for part in (field, _pack_value(blob.value)))
        limit = self._soft if record.parent_id is None and not space else self._hard
        of = self._keys.thread
        number = self._keys.partition_of(thread)
        answer = await self.client.call(
            scripts.PUT,
            [
                of("m", thread), of("i", thread, space), of("c", thread, space), of("r", thread, space),
                of("v", thread, space), of("b", thread, space), of("n", thread), of("x", thread),
                of("w", thread, space, checkpoint_id), of("j", thread, space), *self._places(number),
            ],
            [
                checkpoint_id, record.parent_id or "", pack_checkpoint(record), pack_refs(record.refs),
                "" if fence is None else fence, limit, utf8(thread), utf8(space), pack(fields), *new,
            ],
        )  # fmt: skip
        _check_fence(answer, thread, fence)

    async def put_writes(self, key: CheckpointKey, writes: Sequence[WriteRecord], *, fence: int | None = None) -> None:
        """Store writes; see `CheckpointStore`."""
        thread, space, checkpoint_id = key
        of = self._keys.thread
        arguments: list[bytes | str | int] = [
            checkpoint_id, "" if fence is None else fence, self._hard, utf8(thread), utf8(space),
        ]  # fmt: skip
        for write in writes:
            arguments += (_write_field(write), "last" if write.idx < 0 else "first", pack_write(write))
        answer = await self.client.call(
            scripts.PUT_WRITES,
            [
                of("m", thread), of("v", thread, space), of("n", thread), of("x", thread),
                of("w", thread, space, checkpoint_id), of("j", thread, space),
                *self._places(self._keys.partition_of(thread)),
            ],
            arguments,
        )  # fmt: skip
        _check_fence(answer, thread, fence)

    async def get(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None = None
    ) -> StoredCheckpoint | None:
        """Return a checkpoint that is here; see `CheckpointStore`.

        Raises:
            CorruptRecord: a blob that it refers to is not here.
        """
        return self._present(await self.fetch(thread_id, checkpoint_ns, checkpoint_id))

    @staticmethod
    def _present(fetched: Fetched) -> StoredCheckpoint | None:
        if fetched.found is not None and fetched.missing:
            raise CorruptRecord("/".join(fetched.found.record.key), f"{', '.join(fetched.missing)}: no value is stored")
        return fetched.found

    async def fetch(self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None = None) -> Fetched:
        """Return what is here, and whether the archive may know more."""
        of = self._keys.thread
        number = self._keys.partition_of(thread_id)
        answer = await self.client.call(
            scripts.GET,
            [
                of("m", thread_id), of("i", thread_id, checkpoint_ns), of("c", thread_id, checkpoint_ns),
                of("r", thread_id, checkpoint_ns), of("b", thread_id, checkpoint_ns), of("a", thread_id),
                of("x", thread_id), of("w", thread_id, checkpoint_ns, ""),
                self._keys.partition(number, "gone"), self._keys.partition(number, "meta"),
            ],
            [checkpoint_id or "", utf8(thread_id), utf8(checkpoint_ns)],
        )  # fmt: skip
        match answer:
            case [0, *_]:
                return Fetched()
            case [2, writes, state]:
                name = f"{thread_id}/{checkpoint_ns}/{checkpoint_id}"
                return Fetched(elsewhere=True, writes=_read_writes(writes, name), state=state)
            case [1, found_id, packed, fields, values, writes]:
                key = CheckpointKey(thread_id, checkpoint_ns, text(found_id, thread_id))
                return _read(key, packed, fields, values, writes)
            case _:
                raise CorruptRecord(f"{thread_id}/{checkpoint_ns}", f"the script answers {answer!r}")

    async def restore(self, found: StoredCheckpoint, namespaces: Sequence[str], state: bytes) -> None:
        """Take a thread's newest checkpoint back from the archive, unless anything happened to it since `state`.

        Its writes are those of both tiers, and stand in place of what is here.
        """
        thread, space, checkpoint_id = found.record.key
        of = self._keys.thread
        number = self._keys.partition_of(thread)
        blobs = [
            part
            for channel, value in found.blobs.items()
            for part in (_blob_field(channel, found.record.refs[channel]), _pack_value(value))
        ]
        writes = [part for write in found.writes for part in (_write_field(write), pack_write(write))]
        await self.client.call(
            scripts.RESTORE,
            [
                of("m", thread), of("i", thread, space), of("c", thread, space), of("r", thread, space),
                of("v", thread, space), of("b", thread, space), of("n", thread), of("a", thread),
                of("x", thread), of("w", thread, space, checkpoint_id), of("j", thread, space),
                *self._places(number)[:3],
            ],
            [
                checkpoint_id, pack_checkpoint(found.record), pack_refs(found.record.refs), utf8(thread),
                utf8(space), state, len(namespaces), len(found.blobs), len(found.writes),
                *map(utf8, namespaces), *blobs, *writes,
            ],
        )  # fmt: skip

    async def scan(self, query: CheckpointQuery) -> AsyncIterator[StoredCheckpoint]:
        """List what is here; see `CheckpointStore`."""
        _, keys = await self.ids(query)
        left = query.limit
        async for fetched in self.read(keys):
            found = self._present(fetched)
            if found is None or not query.matches(found.record):
                continue
            if left is not None and left <= 0:
                return
            left = None if left is None else left - 1
            yield found

    async def read(self, keys: Sequence[CheckpointKey]) -> AsyncIterator[Fetched]:
        """Fetch the checkpoints of `keys` in pages."""
        waiting = iter(keys)
        while page := list(islice(waiting, PAGE)):
            for fetched in await all_of(self.fetch(*key) for key in page):  # they travel together
                yield fetched

    async def ids(self, query: CheckpointQuery) -> tuple[bool, list[CheckpointKey]]:
        """Return whether the archive may have more, and the keys that are here, by id, newest first."""
        threads = [query.thread_id] if query.thread_id is not None else await self.threads()
        unlimited = query.limit is None or query.labels or query.checkpoint_id
        calls = [self._ids_call(thread, query, -1 if unlimited else query.limit or 0) for thread in threads]
        answers = await self.client.call_each(scripts.IDS, calls)
        elsewhere = query.thread_id is None and await any_gone(self.client, "gone")
        lists: list[list[CheckpointKey]] = []
        for thread, (away, found) in zip(threads, answers, strict=True):
            elsewhere = elsewhere or bool(away)
            for space, ids in zip(found[::2], found[1::2], strict=True):
                name = text(space, thread)
                lists.append([CheckpointKey(thread, name, text(one, thread)) for one in ids])
        keys = list(merge(*lists, key=lambda key: key.checkpoint_id, reverse=True))
        if query.checkpoint_id is not None:
            keys = [key for key in keys if key.checkpoint_id == query.checkpoint_id]
        return elsewhere, keys

    async def threads(self) -> list[str]:
        """Name the threads that are here."""
        lists = await self.client.call_each(
            scripts.THREADS, [([self._keys.partition(number, "lru")], []) for number in range(PARTITIONS)]
        )
        return [text(thread, "lru") for threads in lists for thread in threads]

    async def dropped(self, keys: Sequence[CheckpointKey]) -> set[CheckpointKey]:
        """Return those of `keys` that the archive still has, and that were deleted here."""
        by_thread: dict[str, list[CheckpointKey]] = defaultdict(list)
        for key in keys:
            by_thread[key.thread_id].append(key)
        of = self._keys.thread
        answers = await self.client.call_each(
            scripts.DROPPED,
            [
                (
                    [of("m", thread), of("x", thread), *self._places(self._keys.partition_of(thread))[1:3]],
                    [utf8(thread), *(utf8(f"{key.checkpoint_ns}\0{key.checkpoint_id}") for key in several)],
                )
                for thread, several in by_thread.items()
            ],
        )
        found: set[CheckpointKey] = set()
        for several, flags in zip(by_thread.values(), answers, strict=True):
            found.update(key for key, flag in zip(several, flags, strict=True) if flag)
        return found

    async def delete_thread(self, thread_id: str, newest: str = "") -> None:
        """Delete a thread in all its namespaces; see `CheckpointStore`.

        Args:
            thread_id: The thread.
            newest: Its newest checkpoint in the archive, if it is not here: what refuses late writers.
        """
        of = self._keys.thread
        number = self._keys.partition_of(thread_id)
        prefixes = [of(letter, thread_id, "") for letter in "icrvbjw"]
        await self.client.call(
            scripts.DELETE_THREAD,
            [*(of(letter, thread_id) for letter in "mnax"), *prefixes, *self._places(number)],
            [utf8(thread_id), self._hard, newest],
        )

    async def delete(self, keys: Sequence[CheckpointKey]) -> None:
        """Delete single checkpoints; see `CheckpointStore`."""
        by_space: dict[tuple[str, str], list[str]] = defaultdict(list)
        for thread, space, checkpoint_id in keys:
            by_space[thread, space].append(checkpoint_id)
        of = self._keys.thread
        calls = [
            (
                [of("m", thread)]
                + [of(letter, thread, space) for letter in "icrvb"]
                + [of("x", thread), of("j", thread, space), of("w", thread, space, "")]
                + self._places(self._keys.partition_of(thread)),
                [utf8(thread), utf8(space), self._hard, *ids[at : at + DELETED_TOGETHER]],
            )
            for (thread, space), ids in by_space.items()
            for at in range(0, len(ids), DELETED_TOGETHER)
        ]
        await self.client.call_each(scripts.DELETE, calls)

    def _ids_call(self, thread: str, query: CheckpointQuery, limit: int) -> tuple[list[bytes], list[bytes | str | int]]:
        of = self._keys.thread
        number = self._keys.partition_of(thread)
        every = query.checkpoint_ns is None
        return (
            [of("m", thread), of("n", thread), of("i", thread, ""), *self._places(number)[1:3]],
            [utf8(thread), int(every), utf8(query.checkpoint_ns or ""), query.before or "", limit],
        )

    def _places(self, number: int) -> list[bytes]:
        """Return the partition's `lru`, `gone`, `meta` and `out`, with which most scripts end."""
        return [self._keys.partition(number, name) for name in ("lru", "gone", "meta", "out")]


def pack_refs(refs: Mapping[str, str]) -> bytes:
    """Return what `r` holds: the blob fields that a checkpoint refers to."""
    return pack(_blob_field(channel, version) for channel, version in refs.items())


def unpack_refs(packed: bytes, key: str) -> dict[str, str]:
    """Read what `pack_refs` wrote."""
    refs: dict[str, str] = {}
    for field in unpack(packed, key):
        channel, _, version = text(field, key).rpartition("\0")
        refs[channel] = version
    return refs


def _pack_value(value: Value) -> bytes:
    return utf8(value.type) + b"\0" + value.body


def read_value(stored: bytes, key: str) -> Value:
    """Read a value of `b`: its type, NUL, its bytes."""
    kind, separator, body = stored.partition(b"\0")
    if not separator:
        raise CorruptRecord(key, "a value has no type")
    return Value(text(kind, key), body)


def _read(
    key: CheckpointKey, packed: bytes, fields: bytes, values: Sequence[bytes | None], writes: Sequence[bytes]
) -> Fetched:
    name = "/".join(key)
    refs = unpack_refs(fields, name)
    blobs: dict[str, Value] = {}
    missing: dict[str, str] = {}
    for (channel, version), stored in zip(refs.items(), values, strict=True):
        if stored is None:
            missing[channel] = version
        else:
            blobs[channel] = read_value(stored, f"{name}/{channel}")
    record = unpack_checkpoint(key, packed, refs)
    return Fetched(
        found=StoredCheckpoint(record=record, blobs=blobs, writes=_read_writes(writes, name)), missing=missing
    )


def _read_writes(stored: Sequence[bytes], name: str) -> list[WriteRecord]:
    writes: list[WriteRecord] = []
    for field, packed in zip(stored[::2], stored[1::2], strict=True):
        task, _, idx = text(field, name).rpartition("\0")
        writes.append(unpack_write(task, number(idx.encode(), name), packed, name))
    return sorted(writes, key=lambda write: (write.task_path, write.task_id, write.idx))


def _check_fence(answer: list[Any], thread: str, fence: int | None) -> None:
    if answer[0] == -1 and fence is not None:
        raise Fenced(thread, fence, int(answer[1]))


def _blob_field(channel: str, version: str) -> bytes:
    return utf8(f"{channel}\0{version}")


def _write_field(write: WriteRecord) -> bytes:
    return utf8(f"{write.task_id}\0{write.idx}")
