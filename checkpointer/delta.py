"""The history of delta channels: writes of ancestors back to the last snapshot."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
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
    if target is not None:
        async with aclosing(_ancestors(store, target)) as ancestors:
            async for ancestor in ancestors:
                name = "/".join(ancestor.record.key)
                wanted = [write for write in ancestor.writes if write.channel in writes and write.channel not in seeds]
                for write in reversed(read_writes(codec, wanted, name)):
                    writes[write[1]].append(write)
                seeds.update(_values(codec, ancestor, writes.keys() - seeds.keys()))
                if len(seeds) == len(writes):
                    break
    return {
        channel: cast(
            "DeltaChannelHistory",
            {"writes": found[::-1]} | ({"seed": seeds[channel]} if channel in seeds else {}),
        )
        for channel, found in writes.items()
    }


async def _ancestors(store: CheckpointStore, child: StoredCheckpoint) -> AsyncGenerator[StoredCheckpoint]:
    """Yield one ancestor after the other, read ahead in the order of ids, which is nearly always that of ancestry.

    What the order brings up and is no ancestor belongs to another fork, and is dropped.
    """
    thread, space, before = child.record.key
    query = CheckpointQuery(thread_id=thread, checkpoint_ns=space, before=before)
    async with aclosing(cast("AsyncGenerator[StoredCheckpoint]", store.scan(query))) as older:
        while (wanted := child.record.parent_id) is not None:
            found = await anext(older, None)
            while found is not None and found.record.key.checkpoint_id > wanted:
                found = await anext(older, None)
            if found is None or found.record.key.checkpoint_id != wanted:
                found = await store.get(thread, space, wanted)  # a clock went back, and a parent has the higher id
            if found is None:
                return
            yield found
            child = found


def _values(codec: ValueCodec, stored: StoredCheckpoint, channels: set[str]) -> dict[str, Any]:
    """Return the values of `channels` that a checkpoint holds, inline or as blobs."""
    name = "/".join(stored.record.key)
    inline = cast("Mapping[str, Any]", codec.load(stored.record.body, name)["channel_values"])
    values = {channel: inline[channel] for channel in channels & inline.keys()}
    for channel in channels & stored.blobs.keys():
        values[channel] = codec.load(stored.blobs[channel], f"{name}/{channel}")
    return values
