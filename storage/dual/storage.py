"""`DualStorage`: Redis and ClickHouse as one, opened and closed together."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Literal

from storage.archiver import Archiver, ArchiverPolicy
from storage.blobs import FsspecBlobStore
from storage.clickhouse import ClickHouseArchive, Layout
from storage.dual.archive import ArchiveHandle
from storage.dual.checkpoints import TieredCheckpoints
from storage.dual.options import StorageOptions
from storage.dual.records import TieredRecords
from storage.dual.runs import TieredRuns
from storage.dual.warm import settle
from storage.embedded import ArchiveLease, DataDirectory, open_redis
from storage.errors import ArchiveUnavailable
from storage.protocols import Table
from storage.records import Kind
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.keys import Keys
from storage.redis.records import RedisRecords
from storage.redis.retention import let_go, take_back
from storage.redis.runs import open_renewer
from storage.redis.storage import PING
from storage.references import digests_in
from storage.runs import RunStore
from storage.serde import ValueCodec
from storage.sessions import StorageFacade
from storage.sessions.stores import utc_now

logger = logging.getLogger("goalgraph")

PATIENCE = 2.0
"""Seconds that references may wait before an embedded archive is opened for them: a short script never pays for it."""


class DualStorage(StorageFacade):
    """What is live in Redis, everything in ClickHouse; one write goes to both. Made by `DualStorage.open`.

    Attributes:
        archiver: Moves what is written into the archive; `archiver.metrics()` tells how far it is.
        loop: Where it was opened, and where alone it can be used.
        runs: A `RunStore`, `DueRuns` and `CallOutbox`.
    """

    def __init__(
        self,
        client: RedisClient,
        handle: ArchiveHandle,
        archiver: Archiver,
        options: StorageOptions,
        *,
        codec: ValueCodec | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.client = client
        self.archiver = archiver
        self.loop = asyncio.get_running_loop()
        self._handle = handle
        self._exits = AsyncExitStack()
        hot = RedisCheckpoints(client, outbox_limit=options.outbox_limit)
        records = RedisRecords(client, outbox_limit=options.outbox_limit)
        tiered = TieredRecords(records, handle.open, archiver.notify)
        self.runs = TieredRuns(client, tiered, outbox_limit=options.outbox_limit, notify=archiver.notify)
        super().__init__(
            TieredCheckpoints(hot, handle.open, archiver.notify),
            tiered,
            name="dual",
            tiers={"redis": self._probe_redis, "archive": self._probe_archive},
            close=self._exits.aclose,
            codec=codec,
            clock=clock,
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        options: StorageOptions | None = None,
        *,
        codec: ValueCodec | None = None,
        policy: ArchiverPolicy | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> AsyncGenerator["DualStorage"]:
        """Start or reach both tiers, and the archiver between them.

        An archive that does not answer is no error: what is written waits in the outbox.

        Args:
            options: Where, and how.
            codec: How the seed's values are written; strict by default.
            policy: How the archiver works, in place of what `options` say.
            clock: Says what time it is, in UTC.

        Raises:
            StorageUnavailable: Redis does not answer.
            StorageRefused: a URL, a password, a right or a version is wrong.
            DataDirectoryError: the data directory cannot be used. RedisNotFound: there is no redis-server to start.
        """
        options = options or StorageOptions()
        async with AsyncExitStack() as exits:
            embedded = options.redis_url is None or options.archive_url is None
            directory = await asyncio.to_thread(DataDirectory, options.data_dir) if embedded else None
            handle = _handle(options, directory)
            cold = options.archive_url is not None or (directory is not None and directory.archive_exists)
            url = options.redis_url
            if url is None and directory is not None:
                url = await exits.enter_async_context(
                    open_redis(directory, binary=options.redis_server, fsync=options.fsync)
                )
            client, own = [await _connect(exits, url or "", options, cold=cold) for _ in range(2)]
            exits.push_async_callback(handle.aclose)
            handle.on_open = lambda archive: settle(client, archive)
            archiver = Archiver(own, handle.open, policy or _policy(options))  # payloads stay out of the writers' way
            storage = cls(client, handle, archiver, options, codec=codec, clock=clock)
            if options.archive_url is not None:
                await storage.greet_archive()
            await exits.enter_async_context(archiver)
            storage._exits.push_async_exit(exits.pop_all())
        try:
            yield storage
        finally:
            await storage.close()

    def renewer(self) -> AbstractAsyncContextManager[RunStore]:
        """Open what renews leases in another thread, whose event loop enters it; it needs no archive."""
        return open_renewer(self.client)

    async def greet_archive(self) -> None:
        """Reach the archive once, so that what is wrong with its URL or password is said now."""
        try:
            await self._handle.open()
        except ArchiveUnavailable as error:
            logger.warning("%s; what is written waits in Redis until then", error)

    async def archive(self) -> ClickHouseArchive:
        """Return the archive, for reading; it is opened when it is needed first.

        Raises:
            ArchiveUnavailable: it does not answer, or another process holds it.
        """
        return await self._handle.open()

    async def flush(self, timeout: float = 30.0) -> None:
        """Wait until all that is written so far is in the archive.

        Raises:
            ArchiveUnavailable: not within `timeout` seconds.
        """
        await self.archiver.flush(timeout)

    async def evict(self, thread_id: str) -> bool:
        """Archive a thread and remove it from Redis; it comes back when it is used. False when it is not there."""
        await self.flush()
        return await self.archiver.evict_thread(thread_id)

    async def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> Table:
        """Ask the archive a `SELECT`, after what is written so far has got there."""
        await self.flush()
        return await (await self.archive()).query(sql, parameters)

    async def erase(self, kind: Kind | Literal["thread"], owner: str) -> None:
        """Remove a thread, session or run for good, from both tiers and without a trace in the archive's rows."""
        if kind == "thread":
            await self.checkpoints.delete_thread(owner)
        else:
            await self.records.delete(kind, owner)
        await self.flush()
        await (await self.archive()).erase(kind, owner, at=self.clock())

    async def retain(self, idle_for: timedelta) -> int:
        """Remove threads and records that have been idle for longer, each as a whole; returns how many.

        What is in Redis stays, however old: it was used not long ago, and evicting it comes first.
        """
        await self.flush()
        await self.archiver.evict(idle_for.total_seconds())
        archive = await self.archive()
        let_gone: set[str] = set()

        async def spare(owners: Sequence[str]) -> frozenset[str]:
            held = await let_go(self.client, owners)
            let_gone.update(set(owners) - held)
            return held

        dropped = await archive.retain(idle_for, now=self.clock(), spare=spare)
        await take_back(self.client, let_gone.difference(dropped))
        return len(dropped)

    async def collect_blobs(self, blobs: FsspecBlobStore, *, older_than: timedelta = timedelta(days=1)) -> int:
        """Remove the blobs that no record of either tier refers to; returns how many files went.

        Args:
            blobs: Of this storage alone.
            older_than: Younger ones stay, since a blob is stored before what refers to it.
        """
        used = digests_in(self.checkpoints, self.records, self.codec)
        return await blobs.collect(used, older_than=older_than, now=self.clock())

    async def _probe_redis(self) -> Mapping[str, object]:
        await self.client.call(PING, [], [])
        return {"where": self.client.where}

    async def _probe_archive(self) -> Mapping[str, object]:
        archive = await self.archive()
        await archive.query("SELECT 1")
        return {"where": archive.client.where, **_figures(self.archiver)}


async def _connect(exits: AsyncExitStack, url: str, options: StorageOptions, *, cold: bool) -> RedisClient:
    client = await RedisClient.open(url, keys=Keys(options.key_prefix), cold=cold)
    exits.push_async_callback(client.aclose)
    return client


def _figures(archiver: Archiver) -> dict[str, Any]:
    metrics = archiver.metrics()
    return {"lag": metrics.lag, "waiting": metrics.waiting, "last_error": metrics.error}


def _handle(options: StorageOptions, directory: DataDirectory | None) -> ArchiveHandle:
    layout = Layout() if options.engine is None else Layout(engine=options.engine)
    if options.archive_url is not None:
        return ArchiveHandle(ClickHouseArchive.on_server(options.archive_url, layout))
    if directory is None:
        raise ValueError("an embedded archive needs a data directory")
    return ArchiveHandle(ClickHouseArchive.in_process(directory.archive, layout), ArchiveLease(directory))


def _policy(options: StorageOptions) -> ArchiverPolicy:
    return ArchiverPolicy(
        keep_checkpoints=options.keep_checkpoints,
        evict_after=options.idle_after.total_seconds(),
        patience=PATIENCE if options.archive_url is None else 0.0,
    )
