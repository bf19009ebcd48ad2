"""A `CheckpointStore` over the five methods of the seed's `CheckpointerBackend`.

The backend knows threads and ids, and nothing of namespaces, deletion or values that checkpoints share. So its
threads are ours by what is in them: `threads`, `namespaces` of a thread, `deleted` of a thread, and `checkpoints` and
`blobs` of a thread and namespace. What is stored is a dictionary with one text, base64, which any backend can keep as
JSON. Deleting puts an empty record in the place of what was there.
"""

import asyncio
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

from langgraph.checkpoint.base.id import uuid6

from storage.errors import CorruptRecord, StorageUnavailable
from storage.packing import (
    pack,
    pack_checkpoint,
    pack_map,
    pack_write,
    text,
    unpack,
    unpack_checkpoint,
    unpack_map,
    unpack_write,
    utf8,
)
from storage.records import (
    BlobRecord,
    CheckpointKey,
    CheckpointQuery,
    CheckpointRecord,
    StoredCheckpoint,
    Value,
    WriteRecord,
)
from storage.seed_protocols import CheckpointerBackend

MARK = "goalgraph"
"""Key of our text in what a backend returns, and the beginning of the text of a write."""
ALL = 2**31 - 1
"""As a limit; more than this some databases refuse."""
STORED, REMOVED, LATE = b"stored", b"removed", b"late"
"""What became of a checkpoint: it is there; it was deleted; it came after its thread was deleted."""


class BackendCheckpoints:
    """Checkpoints in a backend that can only put, get and list.

    Costs, in calls of the backend: `put` 3 and two for each new blob; `put_writes` 2 and one for each write; `get` 2
    and one for each channel, without an id it lists all checkpoints of the namespace; `scan` lists each namespace, and
    then as `get`; deleting is one or two calls for each checkpoint and blob. Writes cannot be deleted: they stay, and
    are not read. A deletion that runs beside a write of the same thread may miss it.
    """

    def __init__(self, backend: CheckpointerBackend) -> None:
        self._backend = backend
        self._listed: set[tuple[str, str]] = set()
        """Threads and namespaces that this process has put into the directory."""

    async def put(self, record: CheckpointRecord, blobs: Sequence[BlobRecord], *, fence: int | None = None) -> None:
        """Store a checkpoint after its blobs, so that what can be found is whole."""
        _refuse(fence)
        thread, space, own = record.key
        place = _place("checkpoints", thread, space)
        if await self._follows_deletion(place, record):
            await self._put(place, own, [LATE])
            return
        await self._list(thread, space)
        folder = _place("blobs", thread, space)
        await asyncio.gather(*(self._put_blob(folder, blob) for blob in blobs))
        await self._put(place, own, [STORED, pack_checkpoint(record), pack_map(record.refs)])

    async def put_writes(self, key: CheckpointKey, writes: Sequence[WriteRecord], *, fence: int | None = None) -> None:
        """Store writes, each under a task id of its own: a backend may keep only the last call of a task."""
        _refuse(fence)
        thread, space, own = key
        place = _place("checkpoints", thread, space)
        deleted, found = await asyncio.gather(self._deleted(thread), self._get(place, own))
        if own <= deleted or found in ([LATE], [REMOVED]):
            return
        await self._list(thread, space)
        for write in writes:
            order = str(uuid6())  # rises, so a reader can tell the first of two
            parts = [order.encode(), utf8(write.task_id), str(write.idx).encode(), pack_write(write)]
            await self._put_text(place, own, order, write.channel, parts)

    async def get(
        self, thread_id: str, checkpoint_ns: str, checkpoint_id: str | None = None
    ) -> StoredCheckpoint | None:
        """Return a checkpoint, the newest without an id."""
        if checkpoint_id is None:
            records = await self._records(thread_id, checkpoint_ns)
            newest = max(records, key=lambda record: record.key, default=None)
            return None if newest is None else await self._whole(newest)
        key = CheckpointKey(thread_id, checkpoint_ns, checkpoint_id)
        parts = await self._get(_place("checkpoints", thread_id, checkpoint_ns), checkpoint_id)
        record = _record(key, parts)
        return None if record is None else await self._whole(record)

    async def scan(self, query: CheckpointQuery) -> AsyncIterator[StoredCheckpoint]:
        """List checkpoints, newest first."""
        threads = [query.thread_id] if query.thread_id is not None else await self._names(_place("threads"))
        found: list[CheckpointRecord] = []
        for thread in threads:
            for space in await self._names(_place("namespaces", thread)):
                if query.checkpoint_ns in (None, space):
                    found += await self._records(thread, space)
        found = sorted(filter(query.matches, found), key=lambda record: record.key[::-1], reverse=True)
        for record in found[: query.limit]:
            yield await self._whole(record)

    async def delete_thread(self, thread_id: str) -> None:
        """Empty all records of a thread, and remember its newest id for writers that are late."""
        spaces = await self._names(_place("namespaces", thread_id))
        records = [record for space in spaces for record in await self._records(thread_id, space)]
        if not records:
            return
        newest = max(record.key.checkpoint_id for record in records)
        await self._put(_place("deleted", thread_id), "newest", [utf8(newest)])
        await self._empty([record.key for record in records])
        for space in spaces:
            await self._empty_blobs(thread_id, space, needed=set())

    async def delete(self, keys: Sequence[CheckpointKey]) -> None:
        """Empty single checkpoints, and the blobs that nothing refers to any more."""
        await self._empty(keys)
        for thread, space in {(key.thread_id, key.checkpoint_ns) for key in keys}:
            records = await self._records(thread, space)
            needed = {_joined(*ref) for record in records for ref in record.refs.items()}
            await self._empty_blobs(thread, space, needed)

    async def _follows_deletion(self, place: str, record: CheckpointRecord) -> bool:
        parent = record.parent_id
        deleted, before = await asyncio.gather(
            self._deleted(record.key.thread_id), self._get(place, parent) if parent else _none()
        )
        return record.key.checkpoint_id <= deleted or (parent is not None and (parent <= deleted or before == [LATE]))

    async def _put_blob(self, folder: str, blob: BlobRecord) -> None:
        """Store a blob, unless its version is there: it is immutable."""
        own = _joined(blob.channel, blob.version)
        if await self._get(folder, own) in (None, [REMOVED]):
            await self._put(folder, own, [blob.value.type.encode(), blob.value.body])

    async def _deleted(self, thread: str) -> str:
        parts = await self._get(_place("deleted", thread), "newest")
        return text(parts[0], thread) if parts else ""

    async def _list(self, thread: str, space: str) -> None:
        """Put thread and namespace into the directory, once for each process; again changes nothing."""
        if (thread, space) in self._listed:
            return
        await self._put(_place("threads"), _joined(thread), [utf8(thread)])
        await self._put(_place("namespaces", thread), _place(space), [utf8(space)])
        self._listed.add((thread, space))

    async def _names(self, place: str) -> list[str]:
        return [text(parts[0], place) for parts in (await self._all(place)).values()]

    async def _records(self, thread: str, space: str) -> list[CheckpointRecord]:
        every = await self._all(_place("checkpoints", thread, space))
        records = [
            _record(CheckpointKey(thread, space, checkpoint_id), parts) for checkpoint_id, parts in every.items()
        ]
        return [record for record in records if record is not None]

    async def _whole(self, record: CheckpointRecord) -> StoredCheckpoint:
        """Add blobs and writes."""
        thread, space, own = record.key
        folder = _place("blobs", thread, space)
        name = "/".join(record.key)
        found = await asyncio.gather(*(self._get(folder, _joined(*ref)) for ref in record.refs.items()))
        values: dict[str, Value] = {}
        for channel, parts in zip(record.refs, found, strict=True):
            if not parts or len(parts) != 2:
                raise CorruptRecord(name, f"the value of its channel {channel!r} is not stored")
            values[channel] = Value(text(parts[0], name), parts[1])
        writes = await self._backend.get_writes(_place("checkpoints", thread, space), own)
        return StoredCheckpoint(record=record, blobs=values, writes=_writes(writes, name))

    async def _empty(self, keys: Iterable[CheckpointKey]) -> None:
        for thread, space, own in keys:
            place, order = _place("checkpoints", thread, space), str(uuid6())
            await self._put(place, own, [REMOVED])
            await self._put_text(place, own, order, REMOVED.decode(), [order.encode()])

    async def _empty_blobs(self, thread: str, space: str, needed: set[str]) -> None:
        folder = _place("blobs", thread, space)
        for blob in await self._ids(folder) - needed:
            await self._put(folder, blob, [REMOVED])

    # --------------------------------------------------------------------------------------- the backend's methods

    async def _put(self, place: str, own: str, parts: Sequence[bytes]) -> None:
        if not await self._backend.put_checkpoint(place, own, {MARK: _encode([utf8(own), *parts])}, None):
            raise StorageUnavailable(f"the backend did not store {own!r} in {place!r}")

    async def _put_text(self, place: str, own: str, order: str, channel: str, parts: Sequence[bytes]) -> None:
        if not await self._backend.put_writes(place, own, order, [(channel, f"{MARK}:{_encode(parts)}")]):
            raise StorageUnavailable(f"the backend did not store writes of {own!r} in {place!r}")

    async def _get(self, place: str, own: str) -> list[bytes] | None:
        found = await self._backend.get_checkpoint(place, own)
        return None if found is None else _decode(found, f"{place}/{own}")[1:]

    async def _all(self, place: str) -> dict[str, list[bytes]]:
        """Return what is in a place, by id; what was emptied too."""
        every = [_decode(found, place) for found in await self._backend.list_checkpoints(place, ALL)]
        return {text(own, place): parts for own, *parts in every}

    async def _ids(self, place: str) -> set[str]:
        return {own for own, parts in (await self._all(place)).items() if parts != [REMOVED]}


def _refuse(fence: int | None) -> None:
    if fence is not None:
        raise ValueError("a CheckpointerBackend cannot fence writers; use DualWriteSaver, or no fencing token")


def _place(*parts: str) -> str:
    """Name a thread of the backend."""
    return f"{MARK}:{_joined(*parts)}"


def _joined(*parts: str) -> str:
    """Join names so that no two lists of them give the same text, in characters that any backend can keep."""
    return ":".join(quote(part, safe="", errors="surrogatepass") for part in parts)


def _encode(parts: Iterable[bytes]) -> str:
    return b64encode(pack(parts)).decode()


def _decode(found: Mapping[str, Any], name: str) -> list[bytes]:
    """Find our text in what a backend returned: its dictionary may be ours, or have ours in it.

    Raises:
        CorruptRecord: it is not there, or changed.
    """
    for layer in (found, *found.values()):
        if isinstance(layer, Mapping) and isinstance(encoded := cast("Mapping[str, Any]", layer).get(MARK), str):
            return _unpack(encoded, name)
    raise CorruptRecord(name, "the backend returned something else than what was stored")


def _unpack(encoded: str, name: str) -> list[bytes]:
    try:
        return unpack(b64decode(encoded, validate=True), name)
    except BadBase64 as error:
        raise CorruptRecord(name, str(error)) from None


def _record(key: CheckpointKey, parts: Sequence[bytes] | None) -> CheckpointRecord | None:
    if not parts or parts[0] in {REMOVED, LATE}:
        return None
    name = "/".join(key)
    if len(parts) != 3:
        raise CorruptRecord(name, f"it has {len(parts)} parts")
    return unpack_checkpoint(key, parts[1], unpack_map(parts[2], name))


def _writes(stored: Iterable[Sequence[Any]], name: str) -> list[WriteRecord]:
    """Read the writes of a checkpoint: those since it was last deleted, and of two with one index the right one."""
    texts = [part for write in stored for part in write if isinstance(part, str) and part.startswith(f"{MARK}:")]
    found = sorted(_unpack(each.partition(":")[2], name) for each in texts)  # by order, which stands first
    kept: dict[tuple[str, int], WriteRecord] = {}
    for order, *parts in found:
        if not parts:
            kept.clear()
            continue
        if len(parts) != 3:
            raise CorruptRecord(f"{name}/{text(order, name)}", f"a write has {len(parts)} parts")
        task, idx = text(parts[0], name), int(parts[1])
        if idx < 0 or (task, idx) not in kept:
            kept[task, idx] = unpack_write(task, idx, parts[2], name)
    return sorted(kept.values(), key=lambda write: (write.task_path, write.task_id, write.idx))


async def _none() -> None:
    return
