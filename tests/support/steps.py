"""Checkpoints whose content follows from their name, so that every process can check what any other has written."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata, CheckpointTuple, empty_checkpoint

from checkpointer import DualWriteSaver
from storage.archiver import ArchiverPolicy
from storage.dual import DualStorage, StorageOptions
from storage.serde import ValueCodec, strict_serializer

BRISK = ArchiverPolicy(linger=0.02, poll=0.1, backoff=0.02, most_backoff=0.2, lease=1.0, reopen=0.1, closing=2.0)
"""An archiver that notices everything soon. The lease is short: whoever follows one that was killed waits for it."""


@dataclass(frozen=True, order=True)
class Step:
    """What is read of a checkpoint."""

    number: int
    value: str
    root: str
    """Of the channel that only the first step of a chain has written."""
    writes: tuple[str, ...] = ()


@asynccontextmanager
async def open_saver(
    redis: str | None = None, archive: str | None = None, *, policy: ArchiverPolicy = BRISK, **options: object
) -> AsyncIterator[DualWriteSaver]:
    """Open a saver over both tiers as an application does, with an archiver that follows `policy`."""
    chosen = replace(StorageOptions(redis_url=redis, archive_url=archive), **options)
    serde = strict_serializer()
    async with DualStorage.open(chosen, policy=policy, codec=ValueCodec(serde)) as storage:
        saver = DualWriteSaver(storage.checkpoints, serde=serde, storage=storage)
        try:
            yield saver
        finally:
            saver.close()


def name_of(number: int) -> str:
    """An id that sorts by age, as LangGraph's do."""
    return f"{number:010}"


def at(thread: str, number: int | None = None) -> RunnableConfig:
    """Where a step is; the newest without a number."""
    place = {} if number is None else {"checkpoint_id": name_of(number)}
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **place}}


def step(thread: str, number: int, *, root: int, written: bool = False) -> Step:
    """What has to be read of a step."""
    writes = (f"{thread} out {number}",) if written else ()
    return Step(number, f"{thread} value {number}", f"{thread} root {root}", writes)


async def put_step(saver: DualWriteSaver, thread: str, number: int, *, parent: int | None, root: int) -> None:
    """Store a checkpoint: its own value changes in each step, `root` only where a chain starts."""
    stored = empty_checkpoint()
    made = step(thread, number, root=root)
    stored["id"] = name_of(number)
    stored["channel_values"] = {"value": [made.value], "root": [made.root]}
    stored["channel_versions"] = {"value": name_of(number), "root": name_of(root)}
    new = ["value", "root"] if number == root else ["value"]
    meta: CheckpointMetadata = {"source": "loop", "step": number, "parents": {}}
    await saver.aput(at(thread, parent), stored, meta, {name: stored["channel_versions"][name] for name in new})


async def write_step(saver: DualWriteSaver, thread: str, number: int) -> None:
    """Store the one write that a step has."""
    await saver.aput_writes(at(thread, number), [("out", f"{thread} out {number}")], f"task {number}")


async def run_steps(saver: DualWriteSaver, thread: str, numbers: Collection[int], *, root: int | None = None) -> None:
    """Store steps and their writes, one after the other; they start a chain unless they have a `root`."""
    root = min(numbers) if root is None else root
    for number in numbers:
        await put_step(saver, thread, number, parent=None if number == root else number - 1, root=root)
        await write_step(saver, thread, number)


def read_step(found: CheckpointTuple) -> Step:
    """What a checkpoint holds."""
    values = found.checkpoint["channel_values"]
    assert name_of(int(found.checkpoint["id"])) == found.config["configurable"]["checkpoint_id"]  # pyright: ignore[reportTypedDictNotRequiredAccess]  # a saver always sets it
    (value,), (root,) = values["value"], values["root"]
    return Step(
        int(found.checkpoint["id"]), value, root, tuple(sorted(one for _, _, one in found.pending_writes or ()))
    )


async def list_steps(saver: DualWriteSaver, thread: str) -> list[Step]:
    """All of a thread, newest first, from whichever tier."""
    return [read_step(found) async for found in saver.alist(at(thread))]


async def newest_step(saver: DualWriteSaver, thread: str) -> Step | None:
    """The newest of a thread."""
    found = await saver.aget_tuple(at(thread))
    return None if found is None else read_step(found)


def whole(thread: str, numbers: Collection[int]) -> list[Step]:
    """What `list_steps` returns when `numbers` were stored, with their writes."""
    root = min(numbers, default=0)
    return [step(thread, number, root=root, written=True) for number in sorted(numbers, reverse=True)]


async def everywhere(saver: DualWriteSaver, thread: str) -> list[Step]:
    """Archive all, and return what both tiers say, which has to be what the archive says alone."""
    await saver.aflush()
    both = await list_steps(saver, thread)
    if both:
        assert await saver.aevict(thread), "not all of it is archived"
    alone = await list_steps(saver, thread)
    assert both == alone, "the archive has something else than both tiers"
    newest = await newest_step(saver, thread)
    assert newest == (both[0] if both else None)
    return both
