"""Checkpoints over both tiers: what is not in Redis is looked for in the archive before it is taken for absent."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import cast

from storage.dual.archive import OpenReader
from storage.dual.pages import pages
from storage.errors import ArchiveUnavailable, CorruptRecord
from storage.protocols import ArchiveReader
from storage.records import (
    BlobRecord,
    CheckpointKey,
    CheckpointQuery,
    CheckpointRecord,
    StoredCheckpoint,
    WriteRecord,
)
from storage.redis.checkpoints import Fetched, RedisCheckpoints

PAGE = 32
"""Checkpoints of the archive that are compared with Redis together."""


class TieredCheckpoints:
    """A `CheckpointStore` over Redis and the archive.

    Args:
        hot: What is live.
        reader: Gives the archive.
        notify: Told after each write, so that an archiver of this process wakes up.
    """

    def __init__(self, hot: RedisCheckpoints, reader: OpenReader, notify: Callable[[], None] = lambda: None) -> None:
        self.hot = hot
        self._reader = reader
        self._notify = notify

    async def put(self, record: CheckpointRecord, blobs: Sequence[BlobRecord], *, fence: int | None = None) -> None:
        """Store a checkpoint in Redis and a reference to it in the outbox, in one call; see `CheckpointStore`."""
        await self.hot.put(record, blobs, fence=fence)
        self._notify()

    async def put_writes(self, key: CheckpointKey, writes: Sequence[WriteRecord], *, fence: int | None = None) -> None:
        """Store writes in Redis and a reference to them in the outbox, in one call; see `CheckpointStore`."""
        await self.hot.put_writes(key, writes, fence=fence)
        self._notify()

    async def get(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None = None
    ) -> StoredCheckpoint | None:
        """Return a checkpoint, from Redis when it is hot; see `CheckpointStore`."""
        fetched = await self.hot.fetch(thread_id, checkpoint_ns, checkpoint_id)
        if fetched.found is not None:
            return await self._whole(fetched.found, fetched)
        if not fetched.elsewhere:
            return None
        if checkpoint_id is not None:
            return await self._away(CheckpointKey(thread_id, checkpoint_ns, checkpoint_id), fetched)
        archive = await self._reader()
        found = await self._newest(archive, thread_id, checkpoint_ns)
        if found is not None:
            here = await self.hot.fetch(*found.record.key)
            if here.found is not None:  # somebody else was faster
                return await self._whole(here.found, here)
            found = _with_hot_writes(found, here.writes)
            await self.hot.restore(found, await archive.namespaces(thread_id), fetched.state)
        return found

    async def scan(self, query: CheckpointQuery) -> AsyncIterator[StoredCheckpoint]:
        """List both tiers by id, newest first, each checkpoint once; see `CheckpointStore`."""
        elsewhere, keys = await self.hot.ids(query)
        here = set(keys)
        left = query.limit
        async with (
            aclosing(self._hot_pages(keys)) as hot,
            aclosing(self._archived(query, here) if elsewhere else _nothing()) as cold,
        ):
            next_hot = await anext(hot, None)
            if left != 0 and next_hot is not None and _is_newest(query) and query.matches(next_hot.record):
                yield next_hot  # trimming leaves the newest, so nothing in the archive comes before it
                left = None if left is None else left - 1
                next_hot = None if left == 0 else await anext(hot, None)
            next_cold = None if left == 0 else await anext(cold, None)
            while left is None or left > 0:
                if next_hot is None and next_cold is None:
                    return
                if next_cold is None or (next_hot is not None and _id(next_hot) >= _id(next_cold)):
                    chosen = cast("StoredCheckpoint", next_hot)
                    next_hot = await anext(hot, None)
                else:
                    chosen = next_cold
                    next_cold = await anext(cold, None)
                if query.matches(chosen.record):
                    left = None if left is None else left - 1
                    yield chosen

    async def delete_thread(self, thread_id: str) -> None:
        """Delete in Redis now, and in the archive by a reference in the outbox; see `CheckpointStore`."""
        query = CheckpointQuery(thread_id=thread_id, limit=1)
        elsewhere, keys = await self.hot.ids(query)
        newest = ""
        if elsewhere and not keys:
            with suppress(ArchiveUnavailable):  # then a writer that was idle for a week is not known to be late
                async with aclosing(self._archived(query, set())) as rows:
                    first = await anext(rows, None)
                    newest = "" if first is None else _id(first)
        await self.hot.delete_thread(thread_id, newest)
        self._notify()

    async def delete(self, keys: Sequence[CheckpointKey]) -> None:
        """Delete in Redis now, and in the archive by references in the outbox; see `CheckpointStore`."""
        await self.hot.delete(keys)
        self._notify()

    async def _away(self, key: CheckpointKey, fetched: Fetched) -> StoredCheckpoint | None:
        """Return a checkpoint that is not in Redis, with the writes that are."""
        if not fetched.elsewhere:
            return None
        found = await (await self._reader()).checkpoint(*key)
        return None if found is None else _with_hot_writes(found, fetched.writes)

    async def _newest(self, archive: ArchiveReader, thread_id: str, checkpoint_ns: str) -> StoredCheckpoint | None:
        """Return the newest in the archive that was not deleted since."""
        found = await archive.checkpoint(thread_id, checkpoint_ns)
        if found is None or not await self.hot.dropped([found.record.key]):
            return found
        query = CheckpointQuery(thread_id=thread_id, checkpoint_ns=checkpoint_ns)
        async with aclosing(self._archived(query, set())) as older:
            return await anext(older, None)

    async def _whole(self, found: StoredCheckpoint, fetched: Fetched) -> StoredCheckpoint:
        """Add the values that have left Redis: a fork of an old checkpoint refers to them."""
        if not fetched.missing:
            return found
        thread, space, _ = found.record.key
        archive = await self._reader()
        values = await archive.blobs(thread, space, fetched.missing)
        lost = sorted(fetched.missing.keys() - values.keys())
        if lost:
            raise CorruptRecord("/".join(found.record.key), f"{', '.join(lost)}: no tier has the value")
        return replace(found, blobs={**found.blobs, **values})

    async def _hot_pages(self, keys: Sequence[CheckpointKey]) -> AsyncGenerator[StoredCheckpoint]:
        names = iter(keys)
        async for fetched in self.hot.read(keys):
            key = next(names)
            if fetched.found is not None:
                yield await self._whole(fetched.found, fetched)
            elif (left := await self._away(key, fetched)) is not None:  # for the archive, since `keys` were read
                yield left

    async def _archived(self, query: CheckpointQuery, here: set[CheckpointKey]) -> AsyncGenerator[StoredCheckpoint]:
        """List the archive without what is in Redis, and without what was deleted there a moment ago."""
        archive = await self._reader()
        whole = replace(query, limit=None)  # some of what is found is left out; who asks stops when it is enough
        async with aclosing(cast("AsyncGenerator[StoredCheckpoint]", archive.scan(whole))) as rows:
            async for page in pages(rows, PAGE):
                keys = [stored.record.key for stored in page]
                hidden = here | await self.hot.dropped([key for key in keys if key not in here])
                left = [stored for stored in page if stored.record.key not in hidden]
                places = iter(left)
                async for fetched in self.hot.read([stored.record.key for stored in left]):
                    stored = next(places)
                    if fetched.found is None:
                        yield _with_hot_writes(stored, fetched.writes)
                    else:  # it has come back meanwhile
                        yield await self._whole(fetched.found, fetched)


async def _nothing() -> AsyncGenerator[StoredCheckpoint]:
    for none in ():
        yield none


def _is_newest(query: CheckpointQuery) -> bool:
    """Say whether the first that Redis finds is the newest of its namespace."""
    one = query.thread_id is not None and query.checkpoint_ns is not None
    return one and query.before is None and query.checkpoint_id is None


def _id(stored: StoredCheckpoint) -> str:
    return stored.record.key.checkpoint_id


def _with_hot_writes(found: StoredCheckpoint, writes: Sequence[WriteRecord]) -> StoredCheckpoint:
    """Add writes that came after the checkpoint had left Redis: regular ones that are new, special ones in any case."""
    known = {(write.task_id, write.idx): write for write in found.writes}
    for write in writes:
        if write.idx < 0 or (write.task_id, write.idx) not in known:
            known[write.task_id, write.idx] = write
    merged = sorted(known.values(), key=lambda write: (write.task_path, write.task_id, write.idx))
    return replace(found, writes=merged)
