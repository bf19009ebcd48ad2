"""`open_stores`: what the settings say about storage, opened and closed."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver

from checkpointer import DualWriteSaver
from goalgraph.settings import Settings
from planner.execution import RunStores
from storage.blobs import FsspecBlobStore
from storage.dual import DualStorage, StorageOptions
from storage.protocols import BlobStore, RecordStore, Table
from storage.redis.archiving import ArchiverMetrics
from storage.runs import LiveRuns, RunStore
from storage.seed_protocols import StorageBackend
from storage.serde import ValueCodec, encrypted, strict_serializer


class Queried(Protocol):
    """What can be asked in SQL."""

    async def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> Table:
        """Return what a `SELECT` gives, of all that is written so far; whatever writes is refused."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStores:
    """The stores of an application, open."""

    records: RecordStore
    checkpointer: BaseCheckpointSaver[Any]
    blobs: BlobStore
    archive: Queried
    """Opened when it is first asked."""
    runs: LiveRuns | None = None
    """Who advances which run; `None`: nobody but this process knows of its runs."""
    renewer: Callable[[], AbstractAsyncContextManager[RunStore]] | None = None
    """Opens what renews leases of `runs` in another thread, whose event loop enters it."""
    archiving: Callable[[], ArchiverMetrics] | None = None
    """Tells how far the archive is."""
    codec: ValueCodec | None = None
    """For what is in `records`; strict by default."""
    sessions: StorageBackend | None = None
    """Where conversations are kept; `None`: in the process."""

    @property
    def run_stores(self) -> RunStores | None:
        """What the planner's runs are kept in."""
        if self.runs is None:
            return None
        codec = self.codec or ValueCodec(strict_serializer())
        return RunStores(records=self.records, live=self.runs, renewer=self.renewer, codec=codec)


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncGenerator[OpenStores]:
    """Open the stores that `settings` name, and close them in the end; several openings may share a data directory.

    Raises:
        StorageError: they cannot be opened; the message says what to do. See `DualStorage.open`.
    """
    storage = settings.storage
    options = StorageOptions(
        data_dir=settings.data_dir,
        redis_url=storage.redis_url,
        archive_url=storage.archive_url,
        key_prefix=storage.key_prefix,
        redis_server=storage.redis_server,
        fsync=storage.fsync,
        engine=storage.engine,
        outbox_limit=storage.outbox_limit,
        keep_checkpoints=storage.keep_checkpoints,
        idle_after=storage.idle_after,
    )
    key = storage.key
    serde = strict_serializer(storage.allowed_types)
    codec = ValueCodec(serde if key is None else encrypted(serde, key))
    async with DualStorage.open(options, codec=codec) as both:
        saver = DualWriteSaver(both.checkpoints, serde=codec.serde, storage=both)
        try:
            yield OpenStores(
                records=both.records,
                checkpointer=saver,
                blobs=FsspecBlobStore(settings.data_dir / "blobs", key=key),
                codec=codec,
                sessions=both,
                archive=both,
                archiving=both.archiver.metrics,
                runs=both.runs,
                renewer=both.renewer,
            )
        finally:
            saver.close()
