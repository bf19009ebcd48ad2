"""Copying and thinning whole threads, over any `CheckpointStore`. No value is decoded for it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from checkpointer.codec import labels_of
from storage.errors import ThreadDeleted
from storage.protocols import CheckpointStore
from storage.records import BlobRecord, CheckpointKey, CheckpointQuery, CheckpointRecord


async def copy(store: CheckpointStore, source: str, target: str) -> None:
    """Copy all checkpoints and writes, the oldest first, each blob once.

    Raises:
        ThreadDeleted: the target was deleted later than the oldest checkpoint was made; nothing was copied.
    """
    found = [stored async for stored in store.scan(CheckpointQuery(thread_id=source))]
    sent: set[tuple[str, str, str]] = set()
    for stored in reversed(found):
        record = stored.record
        space = record.key.checkpoint_ns
        new = [(channel, version) for channel, version in record.refs.items() if (space, channel, version) not in sent]
        sent.update((space, channel, version) for channel, version in new)
        blobs = [BlobRecord(channel=channel, version=version, value=stored.blobs[channel]) for channel, version in new]
        key = record.key._replace(thread_id=target)
        await store.put(replace(record, key=key), blobs)
        if stored is found[-1] and await store.get(*key) is None:
            raise ThreadDeleted(target)
        if stored.writes:
            await store.put_writes(key, stored.writes)


async def prune(store: CheckpointStore, threads: Iterable[str], strategy: str) -> None:
    """Keep the newest of each namespace with what it is rebuilt from (`keep_latest`), or nothing (`delete`)."""
    if strategy not in {"keep_latest", "delete"}:
        raise ValueError(f"unknown strategy {strategy!r}; it is 'keep_latest' or 'delete'")
    for thread in threads:
        if strategy == "delete":
            await store.delete_thread(thread)
            continue
        records = [stored.record async for stored in store.scan(CheckpointQuery(thread_id=thread))]
        newest: dict[str, CheckpointRecord] = {}
        for record in records:
            newest.setdefault(record.key.checkpoint_ns, record)
        kept = {record.key for record in newest.values()}
        await store.delete(_without_needed(records, {record.key for record in records} - kept))


async def delete_for_runs(store: CheckpointStore, run_ids: Sequence[str]) -> None:
    """Delete the checkpoints whose metadata name one of the runs."""
    doomed: dict[str, set[CheckpointKey]] = defaultdict(set)
    for run in run_ids:
        async for stored in store.scan(CheckpointQuery(labels=labels_of({"run_id": run}))):
            if stored.record.labels.get("run_id") == labels_of({"run_id": run})["run_id"]:
                doomed[stored.record.key.thread_id].add(stored.record.key)
    for thread, keys in doomed.items():
        records = [stored.record async for stored in store.scan(CheckpointQuery(thread_id=thread))]
        await store.delete(_without_needed(records, keys))


def _without_needed(records: Sequence[CheckpointRecord], doomed: set[CheckpointKey]) -> list[CheckpointKey]:
    """Leave out of `doomed` the ancestors that the rest needs: a delta channel without them would read as empty."""
    by_key = {record.key: record for record in records}
    needed: set[CheckpointKey] = set()
    for record in records:
        if record.key in doomed:
            continue
        ancestor: CheckpointRecord | None = record
        for _ in range(record.reach):
            if ancestor is None or ancestor.parent_id is None:
                break
            ancestor = by_key.get(ancestor.key._replace(checkpoint_id=ancestor.parent_id))
            if ancestor is not None:
                needed.add(ancestor.key)
    return [key for key in doomed if key not in needed]
