"""The archive in ClickHouse: everything that was ever acknowledged, written in batches and read back."""

# ruff: noqa: S608 - statements are put together from constants; values are always bound

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self, cast

from storage.clickhouse.client import ANSWER_SECONDS, CONNECT_SECONDS, ClickHouseClient, Rows, in_process, server
from storage.clickhouse.reader import THREAD_TABLES, IdleOwner, Reader
from storage.clickhouse.rows import inserts, version_at
from storage.clickhouse.schema import Layout, migrate
from storage.errors import StorageRefused
from storage.records import (
    Batch,
    CheckpointKey,
    CheckpointQuery,
    Entry,
    Kind,
    StoredCheckpoint,
    Tombstone,
    Value,
)

OwnerKind = Kind | str
"""A kind of record, or `"thread"`."""
KEYS = 1_000
"""Of checkpoints that are found together in a scan: finding some of all threads costs as much as finding many."""
PAGE = 32
"""Checkpoints that are read together in a scan, with their blobs."""
DROPPED_TOGETHER = 50
"""Owners in one `DELETE`, which costs the same for one as for many; few, so that they are looked at just before."""

Spare = Callable[[Sequence[str]], Awaitable[AbstractSet[str]]]
"""Says which of some owners are still in use."""

_READS = re.compile(r"(?:SELECT|WITH|SHOW|DESCRIBE|DESC|EXPLAIN|EXISTS)\b", re.IGNORECASE)
_WRITES_A_FILE = re.compile(r"\bINTO\s+OUTFILE\b", re.IGNORECASE)
_NO_CODE = re.compile(r"'(?:[^'\\]|\\.|'')*'|`[^`]*`|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
"""Strings, quoted names, comments. Only for a clear answer: the connection itself cannot write."""


class ClickHouseArchive:
    """An `Archive` and `ArchiveReader`. It connects, and brings the schema up to date, at the first call that needs it.

    While ClickHouse does not answer, each call raises `ArchiveUnavailable` and the next tries again, so it may be made
    before its server is up. For one event loop; whoever makes it closes it.

    Args:
        client: Where.
        layout: How tables are made.
    """

    def __init__(self, client: ClickHouseClient, layout: Layout | None = None) -> None:
        self.client = client
        self._layout = layout or Layout()
        self._reader = Reader(client)
        self._migrated = False

    @classmethod
    def in_process(cls, path: str | Path, layout: Layout | None = None) -> Self:
        """Return an archive in this process; see `storage.clickhouse.client.in_process`."""
        return cls(in_process(path), layout)

    @classmethod
    def on_server(
        cls,
        url: str,
        layout: Layout | None = None,
        *,
        connect_timeout: float = CONNECT_SECONDS,
        timeout: float = ANSWER_SECONDS,
    ) -> Self:
        """Return an archive on a server; see `storage.clickhouse.client.server`."""
        return cls(server(url, connect_timeout=connect_timeout, timeout=timeout), layout)

    async def open(self) -> Self:
        """Connect and migrate now.

        Raises:
            ArchiveUnavailable: no answer, or another process holds the path.
            StorageRefused: the URL, password, rights or version do not do; the message says which.
        """
        await self._ready()
        return self

    async def aclose(self) -> None:
        """Disconnect; closing twice changes nothing."""
        await self.client.aclose()

    async def __aenter__(self) -> Self:
        try:
            return await self.open()
        except BaseException:  # whatever it is, it is raised again
            await self.aclose()
            raise

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    # ------------------------------------------------------------------------------------------------------- writing

    async def insert(self, batch: Batch) -> None:
        """Store a batch; see `Archive`.

        Raises:
            ValueError: a time has no zone; nothing was stored.
        """
        parts = inserts(batch)
        await self._ready()
        for part in parts:
            await self.client.insert(part.table, part.columns, part.rows)

    async def erase(self, kind: OwnerKind, owner: str, *, at: datetime, upto: int | None = None) -> None:
        """Remove the rows of an owner for good: a tombstone hides them at once, then they are deleted.

        Deleting or pruning single checkpoints only hides them; their writes, and blobs that nothing refers to any more,
        go here and with `drop`.

        Args:
            kind: A kind of record, or `"thread"`.
            owner: Whose.
            at: Now.
            upto: Up to this version. By default up to where it was deleted already, so that what was written since
                stays; everything, when it was not.
        """
        await self._ready()
        last = await self._reader.deleted_upto(kind, owner) if upto is None else upto
        if last:
            await self.insert(Batch(tombstones=[Tombstone(cast("Kind", kind), owner, last, at)]))
            await self._delete(kind, {owner: last})

    async def retain(self, idle_for: timedelta, *, now: datetime, spare: Spare | None = None) -> list[str]:
        """Remove every owner of which nothing has changed for `idle_for`, as a whole, and return their names.

        Args:
            idle_for: Reckoned from the last change that is archived.
            now: When it is.
            spare: Asked for the owners that are in use nevertheless, some at a time, just before they go; without
                it, an owner that was only read lately goes too.
        """
        dropped: list[str] = []
        idle = await self.idle(idle_for, now=now)
        for start in range(0, len(idle), DROPPED_TOGETHER):
            some = idle[start : start + DROPPED_TOGETHER]
            spared = await spare([each.owner for each in some]) if spare else frozenset[str]()
            dropped += await self.drop([each for each in some if each.owner not in spared], at=now)
        return dropped

    async def idle(self, idle_for: timedelta, *, now: datetime) -> list[IdleOwner]:
        """Name the owners of which nothing has changed for `idle_for`.

        What has one id counts together: a thread, its run, and the run's events. A row that is old is no matter while
        its owner is in use: a channel that does not change is old and needed.
        """
        cutoff = version_at(now - idle_for)
        await self._ready()
        return await self._reader.idle(cutoff)

    async def drop(self, idle: Sequence[IdleOwner], *, at: datetime) -> list[str]:
        """Remove owners as `idle` named them, but for those that have changed since; return who went.

        Of what is archived of them from now on, nothing is hidden.
        """
        await self._ready()
        known = {each.owner: each for each in idle}
        if not known:
            return []
        now = await self._reader.idle(max(each.newest for each in idle) + 1, list(known))
        some = [each for each in now if each == known[each.owner]]
        stones = [Tombstone(cast("Kind", kind), each.owner, each.newest, at) for each in some for kind in each.kinds]
        await self.insert(Batch(tombstones=stones))
        for kind in sorted({kind for each in some for kind in each.kinds}):
            await self._delete(kind, {each.owner: each.newest for each in some if kind in each.kinds})
        return [each.owner for each in some]

    async def compact(self) -> None:
        """Merge what came in many batches now, which the engine does by itself in time: about a fifth of the bytes."""
        await self._ready()
        for table in (*THREAD_TABLES, "gg_records", "gg_tombstones"):
            await self.client.command(f"OPTIMIZE TABLE {table} FINAL")

    async def _delete(self, kind: OwnerKind, upto: Mapping[str, int]) -> None:
        """Delete the rows of owners, of each up to a version."""
        bound = {"owners": list(upto), "upto": list(upto.values()), "kind": kind}
        theirs = (
            "{0} IN {{owners:Array(String)}} AND ver <= {{upto:Array(UInt64)}}[indexOf({{owners:Array(String)}}, {0})]"
        )
        if kind != "thread":
            where = f"kind = {{kind:String}} AND {theirs.format('owner')}"
            await self.client.command(f"DELETE FROM gg_records WHERE {where}", bound)
            return
        for table in THREAD_TABLES:  # first what is seen
            await self.client.command(f"DELETE FROM {table} WHERE {theirs.format('thread_id')}", bound)

    # ------------------------------------------------------------------------------------------------------- reading

    async def checkpoint(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None = None
    ) -> StoredCheckpoint | None:
        """Return a checkpoint with blobs and writes, the newest without an id.

        Raises:
            CorruptRecord: a blob it refers to is missing.
        """
        await self._ready()
        keys = [CheckpointKey(thread_id, checkpoint_ns, checkpoint_id or "")]
        if checkpoint_id is None:
            query = CheckpointQuery(thread_id=thread_id, checkpoint_ns=checkpoint_ns)
            keys = await self._reader.keys(query, None, 1)
        found = await self._reader.checkpoints(keys)
        return found[0] if found else None

    async def blobs(self, thread_id: str, checkpoint_ns: str, refs: Mapping[str, str]) -> Mapping[str, Value]:
        """Return the values of `refs` (channel → version) that are there."""
        await self._ready()
        found = await self._reader.blobs([(thread_id, checkpoint_ns, *ref) for ref in refs.items()])
        return {channel: value for (_, _, channel, _), value in found.items()}

    async def namespaces(self, thread_id: str) -> list[str]:
        """Name the namespaces of a thread, sorted."""
        await self._ready()
        return await self._reader.namespaces(thread_id)

    async def scan(self, query: CheckpointQuery) -> AsyncGenerator[StoredCheckpoint, None]:
        """List checkpoints by id, newest first over all that the query takes in; read page by page.

        Raises:
            CorruptRecord: as `checkpoint`.
        """
        await self._ready()
        left = query.limit
        last: CheckpointKey | None = None
        while left is None or left > 0:
            size = KEYS if left is None else min(KEYS, left)
            keys = await self._reader.keys(query, last, size)
            for start in range(0, len(keys), PAGE):
                for stored in await self._reader.checkpoints(keys[start : start + PAGE]):
                    yield stored
            if len(keys) < size:
                return
            last = keys[-1]
            left = None if left is None else left - size

    async def read(
        self, kind: Kind, owner: str, *, after: int = 0, limit: int | None = None, newest: bool = False
    ) -> Sequence[Entry]:
        """As `RecordStore.read`; of a document, its states."""
        await self._ready()
        return await self._reader.read(kind, owner, after=after, limit=limit, newest=newest)

    async def owners(self, kind: Kind) -> AsyncIterator[str]:
        """Name the owners of a kind, the one that changed last first."""
        await self._ready()
        async for owner in self._reader.owners(kind):
            yield owner

    async def threads(self) -> AsyncIterator[str]:
        """Name the threads, the one that changed last first."""
        await self._ready()
        async for thread_id in self._reader.threads():
            yield thread_id

    async def newest_version(self) -> int:
        """Return the highest version of anything that was ever archived; 0 when nothing was."""
        await self._ready()
        return await self._reader.newest_version()

    async def is_empty(self) -> bool:
        """Whether nothing was ever archived here."""
        return await self.newest_version() == 0

    async def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> Rows:
        """Run a query and return its rows; text that is not UTF-8 comes as bytes. Views: `storage.clickhouse.views`.

        Args:
            sql: One `SELECT`, `WITH`, `SHOW`, `DESCRIBE`, `EXPLAIN` or `EXISTS`.
            parameters: Values for `{name:Type}` in it.

        Raises:
            StorageRefused: it is something else, it writes, or it is wrong.
        """
        code = _NO_CODE.sub(" ", sql).strip().rstrip(";").lstrip("( \n\t")
        if not _READS.match(code) or _WRITES_A_FILE.search(code) or ";" in code:
            raise StorageRefused(
                "the archive answers one query at a time: SELECT, WITH, SHOW, DESCRIBE, EXPLAIN or EXISTS"
            )
        await self._ready()
        return await self.client.read_only(sql, parameters)

    async def _ready(self) -> None:
        if not self._migrated:  # by several callers at once is as good as by one
            await migrate(self.client, self._layout)
            self._migrated = True
