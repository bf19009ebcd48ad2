"""A saver that knows which task's result has been acknowledged.

LangGraph does not await `put_writes`, not even with `durability="sync"`, so a task that returned is not yet a task that
survives a crash (planning.md section 6). Dependents wait for the acknowledgement.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

from planner.execution.earlier import Earlier

TURNS = 50


class Acknowledgements:
    """One future for each task, done when its writes have been stored, or failed when they were refused."""

    def __init__(self) -> None:
        self.on_refused: Callable[[BaseException], None] = lambda _: None
        """Told at once of any refused write, also of tasks that nobody waits for."""
        self.writing = 0
        """Calls of the saver that have not come back."""
        self.earlier = Earlier()
        """What earlier lives of the run have left."""
        self._by_task: dict[str, asyncio.Future[None]] = {}

    async def idle(self) -> None:
        """Wait until what has just finished is stored."""
        for _ in range(TURNS):  # LangGraph hands a result on over a few turns of the loop
            await asyncio.sleep(0)
        while self.writing:  # noqa: ASYNC110 - a short wait at the end of a process; no event is kept up for it
            await asyncio.sleep(0.005)

    def of(self, task_id: str) -> asyncio.Future[None]:
        """Return the future of a task; whoever asks first makes it."""
        future = self._by_task.get(task_id)
        if future is None:
            future = self._by_task[task_id] = asyncio.get_running_loop().create_future()
        return future

    def stored(self, task_id: str) -> None:
        """Record that the writes of a task are stored."""
        future = self.of(task_id)
        if not future.done():
            future.set_result(None)

    def refused(self, task_id: str, error: BaseException) -> None:
        """Record that the writes of a task were not stored."""
        future = self.of(task_id)
        if not future.done():
            future.set_exception(error)
            future.exception()  # a task that nobody depends on is not "never retrieved"
        self.on_refused(error)


class AcknowledgingSaver(BaseCheckpointSaver[Any]):
    """Hands everything to `inner` and tells `acknowledgements` when the writes of a task have been stored.

    Args:
        inner: Stores.
        acknowledgements: Of one run.
        newest: The newest checkpoint of the run's thread, when it has just been read; it answers the first question
            for it, since nobody else writes there.
    """

    def __init__(
        self,
        inner: BaseCheckpointSaver[Any],
        acknowledgements: Acknowledgements,
        newest: tuple[CheckpointTuple | None] | None = None,
    ) -> None:
        super().__init__(serde=inner.serde)
        self._newest = newest
        self.inner = inner
        self.acknowledgements = acknowledgements

    @property
    def config_specs(self) -> list[Any]:
        """The inner saver's."""
        return cast("Any", self.inner).config_specs

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of a task, then acknowledge them."""
        self._newest = None
        self.acknowledgements.writing += 1
        try:
            await self.inner.aput_writes(config, writes, task_id, task_path)
        except BaseException as error:  # whatever it is, it is raised again
            self.acknowledgements.refused(task_id, error)
            raise
        finally:
            self.acknowledgements.writing -= 1
        self.acknowledgements.stored(task_id)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Hand on. A flow hears of a refusal inside its action, so it would fail the step: the run hears of it here."""
        self._newest = None
        try:
            return await self.inner.aput(config, checkpoint, metadata, new_versions)
        except Exception as error:  # whatever it is, it is raised again
            self.acknowledgements.on_refused(error)
            raise

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Hand on, and keep what earlier lives of the run asked and began."""
        where = config.get("configurable", {})
        if self._newest is not None and not where.get("checkpoint_ns") and not where.get("checkpoint_id"):
            (found,), self._newest = self._newest, None
        else:
            found = await self.inner.aget_tuple(config)
        self.acknowledgements.earlier.read(found)
        return found

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 -- LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Hand on."""
        async for found in self.inner.alist(config, filter=filter, before=before, limit=limit):
            yield found

    async def adelete_thread(self, thread_id: str) -> None:
        """Hand on."""
        await self.inner.adelete_thread(thread_id)

    async def aget_delta_channel_history(self, **arguments: Any) -> Mapping[str, Any]:
        """Hand on."""
        return await self.inner.aget_delta_channel_history(**arguments)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Hand on; flows that are invoked synchronously inside a step come here."""
        return self.inner.put(config, checkpoint, metadata, new_versions)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Hand on; the tasks of a run are always written asynchronously."""
        self.inner.put_writes(config, writes, task_id, task_path)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Hand on."""
        return self.inner.get_tuple(config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 -- LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Hand on."""
        return self.inner.list(config, filter=filter, before=before, limit=limit)

    def get_delta_channel_history(self, **arguments: Any) -> Mapping[str, Any]:
        """Hand on."""
        return self.inner.get_delta_channel_history(**arguments)

    def get_next_version(self, current: Any, channel: None) -> Any:
        """The inner saver's, since it has to sort what it stores."""
        return self.inner.get_next_version(current, channel)

    def with_allowlist(self, extra_allowlist: Any) -> "AcknowledgingSaver":
        """Return the same over the inner saver's copy, which LangGraph makes in strict mode."""
        return AcknowledgingSaver(self.inner.with_allowlist(extra_allowlist), self.acknowledgements, self._newest)
