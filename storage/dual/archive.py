"""The archive of a storage: opened when it is needed first, and in one process at a time when it is embedded."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable

from storage.clickhouse import ClickHouseArchive
from storage.embedded import ArchiveLease
from storage.errors import ArchiveUnavailable
from storage.protocols import ArchiveReader

logger = logging.getLogger("goalgraph")

OpenReader = Callable[[], Awaitable[ArchiveReader]]
"""Opens the archive when it is needed first; raises `ArchiveUnavailable` when it cannot be read now."""


class ArchiveHandle:
    """Opens an archive once.

    Args:
        archive: Not open yet.
        lease: Of an embedded one: who may open it.
    """

    def __init__(self, archive: ClickHouseArchive, lease: ArchiveLease | None = None) -> None:
        self._archive = archive
        self._lease = lease
        self._opening = asyncio.Lock()
        self._told = False
        self.is_open = False
        self.on_open: Callable[[ClickHouseArchive], Awaitable[None]] = _nothing
        """Awaited once, before the archive is used."""

    async def open(self) -> ClickHouseArchive:
        """Return the archive.

        Raises:
            ArchiveUnavailable: it does not answer, or another process holds it; the error has its number.
            StorageRefused: its server says no.
        """
        async with self._opening:
            if self._lease is not None and not self._lease.held:
                self._take(self._lease)
            if not self.is_open:
                await self._archive.open()
                await self.on_open(self._archive)
                self.is_open = True
        return self._archive

    async def aclose(self) -> None:
        """Close it, if it was opened, and let another process have it."""
        await self._archive.aclose()
        self.is_open = False
        if self._lease is not None:
            self._lease.release()

    def _take(self, lease: ArchiveLease) -> None:
        if lease.acquire():
            return
        owner = lease.owner()
        if owner == os.getpid():  # another storage of this process; the engine takes several clients
            return
        if not self._told:
            logger.warning("process %s holds the archive and archives for all; this one goes on with Redis", owner)
            self._told = True
        raise ArchiveUnavailable(
            "it may be in the archive, which another process has open; ask there, or when that has ended",
            owner,
        )


async def _nothing(_: ClickHouseArchive) -> None:
    return
