"""Checkpoints under names of the caller's own, which need not sort: a log keeps the order in which they were stored."""

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, NamedTuple, cast

from storage.records import NAMED, Change, CheckpointKey, CheckpointRecord, Entry, StoredCheckpoint, WriteRecord
from storage.sessions.stores import Stores, as_text

WRITES = "@named-writes"
"""Namespaces of writes begin with it: they may come before their checkpoint, so they hang on an empty one there."""
PAGE = 64


class PendingWrite(NamedTuple):
    """A write as LangGraph has it in `pending_writes`, and its place among those of its task."""

    task_id: str
    channel: str
    value: Any
    idx: int


class NamedCheckpoints(Stores):
    """A checkpoint is a dictionary: `thread_id`, `checkpoint_id`, `data`, `metadata`, `created_at` (ISO 8601, UTC).

    The newest is the one that was stored last. When metadata have a `session_id`, the thread expires with that session;
    otherwise with the session of its own name.
    """

    async def put_checkpoint(
        self,
        thread_id: str,
        checkpoint_id: str,
        checkpoint_data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        """Store a checkpoint; the same id again replaces it, and it is the newest then.

        Raises:
            TypeError: something cannot be encoded.
        """
        now = self.clock()
        details: dict[str, Any] = {"metadata": metadata or {}, "created_at": as_text(now)}
        await self._put(key_of(NAMED, thread_id, checkpoint_id), checkpoint_data, details)
        session = (metadata or {}).get("session_id")
        columns = {"session": session} if isinstance(session, str) else {}
        await self._note(thread_id, now, {"id": checkpoint_id, **columns})
        return True

    async def store_checkpoint(
        self,
        thread_id: str,
        checkpoint_id: str,
        checkpoint_data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        """The same as `put_checkpoint`; the seed has two names for it."""
        return await self.put_checkpoint(thread_id, checkpoint_id, checkpoint_data, metadata)

    async def get_checkpoint(self, thread_id: str, checkpoint_id: str | None = None) -> dict[str, Any] | None:
        """Return a checkpoint, the one stored last without an id; `None` when there is none."""
        if checkpoint_id is None:
            newest = await self.list_checkpoints(thread_id, limit=1)
            return newest[0] if newest else None
        stored = await self.checkpoints.get(*key_of(NAMED, thread_id, checkpoint_id))
        return None if stored is None else self._checkpoint(thread_id, stored)

    async def list_checkpoints(self, thread_id: str, limit: int = 10) -> list[dict[str, Any]]:
        """Return the `limit` checkpoints stored last, newest first, each once."""
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        async with aclosing(self._order(thread_id)) as order:
            while len(found) < limit and (entry := await anext(order, None)) is not None:
                checkpoint_id = entry.columns["id"]
                if "writes" in entry.columns or checkpoint_id in seen:
                    continue
                seen.add(checkpoint_id)
                if (checkpoint := await self.get_checkpoint(thread_id, checkpoint_id)) is not None:
                    found.append(checkpoint)
        return found

    async def put_writes(self, thread_id: str, checkpoint_id: str, task_id: str, writes_data: Any) -> bool:
        """Store the writes of a task; the checkpoint need not be there yet.

        What a task writes to a channel for the n-th time is stored once: the first stays. So a call may be repeated,
        and a second call adds to the first. Calls of one task must not overlap.

        Args:
            thread_id: Of the checkpoint.
            checkpoint_id: Of the checkpoint.
            task_id: Whose writes they are.
            writes_data: Pairs of channel and value.
        """
        key = key_of(WRITES, thread_id, checkpoint_id)
        pairs = cast("Sequence[tuple[str, Any]]", writes_data)
        bodies = [(channel, self.codec.dump(value)) for channel, value in pairs]
        stored = await self.checkpoints.get(*key)
        if stored is None:
            await self._put(key, None, None)
            await self._note(thread_id, self.clock(), {"id": checkpoint_id, "writes": "1"})
        before = [write for write in stored.writes if write.task_id == task_id] if stored else []
        known = Counter(write.channel for write in before)
        idx = max((write.idx for write in before), default=-1) + 1
        added: list[WriteRecord] = []
        for channel, body in bodies:
            if known[channel]:
                known[channel] -= 1
                continue
            added.append(WriteRecord(task_id=task_id, idx=idx, task_path="", channel=channel, value=body))
            idx += 1
        if added:
            await self.checkpoints.put_writes(key, added)
        return True

    async def get_writes(self, thread_id: str, checkpoint_id: str) -> list[tuple[Any, ...]]:
        """Return `PendingWrite`s, `(task_id, channel, value, idx)`, sorted by task and by order of writing."""
        stored = await self.checkpoints.get(*key_of(WRITES, thread_id, checkpoint_id))
        name = f"writes/{thread_id}/{checkpoint_id}"
        return [
            PendingWrite(
                write.task_id, write.channel, self.codec.load(write.value, f"{name}/{write.task_id}"), write.idx
            )
            for write in (stored.writes if stored else ())
        ]

    async def checkpoint_ids(self, thread_id: str, *, with_writes: bool = False) -> set[str]:
        """Name the checkpoints of a thread, and with `with_writes` those too of which there are only writes."""
        entries = await self.records.read("checkpoint", thread_id)
        return {entry.columns["id"] for entry in entries if with_writes or "writes" not in entry.columns}

    async def session_of(self, thread_id: str) -> str:
        """Name the session that a thread belongs to: what metadata said last, or else its own name."""
        async with aclosing(self._order(thread_id)) as order:
            async for entry in order:
                if "session" in entry.columns:
                    return entry.columns["session"]
        return thread_id

    async def delete_checkpoints(self, thread_id: str) -> None:
        """Delete all checkpoints of a thread with their writes; the same ids may be used again."""
        ids = await self.checkpoint_ids(thread_id, with_writes=True)
        if not ids:
            return
        await self.checkpoints.delete([key_of(space, thread_id, each) for space in (NAMED, WRITES) for each in ids])
        await self.records.delete("checkpoint", thread_id)

    async def _put(self, key: CheckpointKey, body: object, metadata: object) -> None:
        record = CheckpointRecord(
            key=key, parent_id=None, body=self.codec.dump(body), metadata=self.codec.dump(metadata)
        )
        await self.checkpoints.put(record, [])

    async def _note(self, thread_id: str, at: datetime, columns: dict[str, str]) -> None:
        await self.records.append(Change(kind="checkpoint", owner=thread_id, at=at, columns=columns))

    async def _order(self, thread_id: str) -> AsyncGenerator[Entry]:
        """Go through the log, newest first."""
        newest = await self.records.latest("checkpoint", thread_id)
        upto = newest.seq if newest else 0
        while upto > 0:
            after = max(0, upto - PAGE)
            for entry in reversed(await self.records.read("checkpoint", thread_id, after=after, limit=upto - after)):
                yield entry
            upto = after

    def _checkpoint(self, thread_id: str, stored: StoredCheckpoint) -> dict[str, Any]:
        record = stored.record
        name = f"checkpoint/{thread_id}/{record.key.checkpoint_id}"
        return {
            "thread_id": thread_id,
            "checkpoint_id": record.key.checkpoint_id,
            "data": self.codec.load(record.body, name),
            **self.codec.load(record.metadata, f"{name}/metadata"),
        }


def key_of(space: str, thread_id: str, checkpoint_id: str) -> CheckpointKey:
    """Return where a named checkpoint, or its writes, are.

    Each has a namespace of its own: of several in one, those with the highest ids would stay in the hot tier, and ids
    like `c9` and `c10` say nothing about age. So it is the namespaces that were stored last that stay.
    """
    return CheckpointKey(f"{NAMED}/{thread_id}", f"{space}/{checkpoint_id}", checkpoint_id)
