"""The history of delta channels: writes of ancestors back to the last snapshot."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langgraph.checkpoint.base import DeltaChannelHistory

from checkpointer.codec import read_writes
from storage.protocols import CheckpointStore
from storage.records import CheckpointKey, CheckpointQuery, StoredCheckpoint
from storage.serde import ValueCodec


async def delta_history(
    store: CheckpointStore, codec: ValueCodec, key: CheckpointKey, channels: Sequence[str]
) -> Mapping[str, DeltaChannelHistory]:
    """Walk the parents of `key` until each channel has a stored value.

    The value at an ancestor is what was before the writes stored at that ancestor, so those belong to the history; the
    target's own do not, since they make its child.
    """
    writes: dict[str, list[tuple[str, str, Any]]] = {channel: [] for channel in channels}
    seeds: dict[str, Any] = {}
    target = await store.get(key.thread_id, key.checkpoint_ns, key.checkpoint_id or None) if channels else None
    walk = _Ancestors(store, target)
    while len(seeds) < len(writes) and (ancestor := await walk.parent()) is not None:
        name = "/".join(ancestor.record.key)
        wanted = [write for write in ancestor.writes if write.channel in writes and write.channel not in seeds]
        for write in reversed(read_writes(codec, wanted, name)):
            writes[write[1]].append(write)
        values = _values(codec, ancestor, writes.keys() - seeds.keys())
        seeds.update(values)
    return {
        channel: cast(
            "DeltaChannelHistory",
            {"writes": found[::-1]} | ({"seed": seeds[channel]} if channel in seeds else {}),
        )
        for channel, found in writes.items()
    }


class _Ancestors:
    """One ancestor after the other, read ahead in the order of ids, which is nearly always that of ancestry."""

    def __init__(self, store: CheckpointStore, target: StoredCheckpoint | None) -> None:
        self._store = store
        self._child = target
        query = CheckpointQuery() if target is None else _below(target.record.key)
        self._older = store.scan(query) if target is not None else None
        self._passed: dict[str, StoredCheckpoint] = {}

    async def parent(self) -> StoredCheckpoint | None:
        """Return the parent of the last one, or `None` at the root."""
        child = self._child
        if child is None or child.record.parent_id is None or self._older is None:
            return None
        wanted = child.record.parent_id
        while wanted not in self._passed:
            older = await anext(self._older, None)
            if older is None or older.record.key.checkpoint_id < wanted:
                break
            self._passed[older.record.key.checkpoint_id] = older
        found = self._passed.get(wanted)
        if found is None:
            thread, space, _ = child.record.key
            found = await self._store.get(thread, space, wanted)
        self._child = found
        return found


def _below(key: CheckpointKey) -> CheckpointQuery:
    return CheckpointQuery(thread_id=key.thread_id, checkpoint_ns=key.checkpoint_ns, before=key.checkpoint_id)


def _values(codec: ValueCodec, stored: StoredCheckpoint, channels: set[str]) -> dict[str, Any]:
    """Return the values of `channels` that a checkpoint holds, inline or as blobs."""
    name = "/".join(stored.record.key)
    inline = cast("Mapping[str, Any]", codec.load(stored.record.body, name)["channel_values"])
    values = {channel: inline[channel] for channel in channels & inline.keys()}
    for channel in channels & stored.blobs.keys():
        values[channel] = codec.load(stored.blobs[channel], f"{name}/{channel}")
    return values
