"""Documents and logs over both tiers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice

from storage.dual.archive import OpenReader
from storage.records import DOCUMENTS, Change, Entry, Kind
from storage.redis.records import ARCHIVE, RedisRecords

RESTORED = 200
"""Entries of a log that come back with it; what is older is read from the archive."""


class TieredRecords:
    """A `RecordStore` over Redis and the archive.

    Args:
        hot: What is live.
        reader: Gives the archive.
        notify: Told after each write, so that an archiver of this process wakes up.
    """

    def __init__(self, hot: RedisRecords, reader: OpenReader, notify: Callable[[], None] = lambda: None) -> None:
        self.hot = hot
        self._reader = reader
        self._notify = notify

    async def append(self, change: Change) -> Entry | None:
        """Apply `change` in Redis; an owner that was evicted comes back first. See `RecordStore`."""
        answer = await self.hot.append_or_ask(change)
        if answer is ARCHIVE:
            await self.bring_back(change.kind, change.owner)
            answer = await self.hot.append_or_ask(change, asked=True)
        self._notify()
        return answer if isinstance(answer, Entry) else None

    async def append_all(self, changes: Sequence[Change]) -> None:
        """Append entries of one log in one call; see `RecordStore`."""
        if await self.hot.append_all_or_ask(changes) is ARCHIVE:
            await self.bring_back(changes[0].kind, changes[0].owner)
            await self.hot.append_all_or_ask(changes, asked=True)
        self._notify()

    async def bring_back(self, kind: Kind, owner: str) -> None:
        """Take the newest of an evicted owner back from the archive, if it is there."""
        limit = 1 if kind in DOCUMENTS else RESTORED
        known = await (await self._reader()).read(kind, owner, limit=limit, newest=True)
        if known:
            await self.hot.restore(known)

    async def latest(self, kind: Kind, owner: str) -> Entry | None:
        """Return the newest state or entry, wherever it is."""
        answer = await self.hot.latest_or_ask(kind, owner)
        if isinstance(answer, Entry) or answer is None:
            return answer
        found = await (await self._reader()).read(kind, owner, limit=1, newest=True)
        return found[0] if found else None

    async def read(
        self, kind: Kind, owner: str, *, after: int = 0, limit: int | None = None, newest: bool = False
    ) -> Sequence[Entry]:
        """Return entries of both tiers in the order of `seq`, each once; see `RecordStore`."""
        hot = await self.hot.read_hot(kind, owner, after=after, limit=limit, newest=newest)
        if not hot.incomplete:
            return hot.entries
        archived = await (await self._reader()).read(kind, owner, after=after, limit=limit, newest=newest)
        by_seq = {entry.seq: entry for entry in (*archived, *hot.entries)}
        merged = [by_seq[seq] for seq in sorted(by_seq)]
        if limit is None:
            return merged
        return merged[len(merged) - limit :] if newest and len(merged) > limit else merged[:limit]

    async def owners(self, kind: Kind) -> AsyncIterator[str]:
        """Name those that are live, then those that are in the archive only."""
        seen: set[str] = set()
        async for owner in self.hot.owners(kind):
            seen.add(owner)
            yield owner
        if not await self.hot.any_gone(kind):
            return
        archived = (await self._reader()).owners(kind)
        others = iter([owner async for owner in archived if owner not in seen])
        while page := list(islice(others, RESTORED)):
            answers = await asyncio.gather(*(self.hot.latest_or_ask(kind, owner) for owner in page))
            for owner, answer in zip(page, answers, strict=True):
                if answer is not None:  # or it was deleted a moment ago, and the archive has not heard of it
                    yield owner

    async def delete(self, kind: Kind, owner: str) -> bool:
        """Delete in Redis now, and in the archive by a reference in the outbox; see `RecordStore`."""
        there = await self.hot.delete(kind, owner)
        self._notify()
        return there
