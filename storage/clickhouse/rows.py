"""Records as rows of the archive's tables, in the format RowBinary; and what the columns are called."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import Struct
from struct import error as struct_error
from typing import TypeVar

from storage.packing import pack, utf8
from storage.records import Batch, BlobRecord, CheckpointKey, CheckpointRecord, Entry, Tombstone, Value, WriteRecord

MOST_ROWS = 2_000
MOST_BYTES = 8_000_000
"""Of one insert: encoding and inserting more at once is felt by the event loop."""
_V = TypeVar("_V")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = 10**16
"""Microseconds, in the year 2286: later is out of the range of `DateTime64(6)`."""

_UINT64 = Struct("<Q").pack
_UINT32 = Struct("<I").pack
_INT64 = Struct("<q").pack
_INT32 = Struct("<i").pack
_FLOAT64 = Struct("<d").pack


@dataclass(frozen=True, slots=True)
class Insert:
    """Rows for one table, few enough for one insert."""

    table: str
    columns: tuple[str, ...]
    rows: bytes


CHECKPOINTS = (
    "thread_id", "checkpoint_ns", "checkpoint_id", "parent_id", "body_type", "body", "metadata_type", "metadata",
    "refs", "labels", "run_id", "reach", "ts", "ver", "is_deleted",
)  # fmt: skip
BLOBS = ("thread_id", "checkpoint_ns", "channel", "version", "type", "blob", "ts", "ver")
WRITES = (
    "thread_id", "checkpoint_ns", "checkpoint_id", "task_path", "task_id", "idx", "channel", "type", "blob", "ts",
    "ver", "is_deleted",
)  # fmt: skip
RECORDS = ("kind", "owner", "seq", "at", "fields", "columns", "counters", "ts", "ver")
TOMBSTONES = ("kind", "owner", "upto_ver", "ts")


def inserts(batch: Batch) -> Iterator[Insert]:
    """Return a batch as inserts, in the order in which they have to be made.

    Tombstones and removals come first, so nothing that is deleted shows up again between two inserts; blobs come before
    writes before checkpoints, so a checkpoint that can be seen is whole.

    Raises:
        ValueError: a time has no zone, or a number no place in its column. Nothing has been returned then.
    """
    try:
        parts: list[tuple[str, tuple[str, ...], list[bytes]]] = [
            ("gg_tombstones", TOMBSTONES, list(map(_tombstone, batch.tombstones))),
            ("gg_checkpoints", CHECKPOINTS, list(map(_removed, batch.removed))),
            ("gg_blobs", BLOBS, list(map(_blob, batch.blobs))),
            ("gg_writes", WRITES, [*map(_removed_writes, batch.removed), *map(_write, batch.writes)]),
            ("gg_checkpoints", CHECKPOINTS, list(map(_checkpoint, batch.checkpoints))),
            ("gg_records", RECORDS, list(map(_entry, batch.entries))),
        ]
    except (struct_error, OverflowError) as error:
        raise ValueError(f"a number does not fit into the archive: {error}") from error
    return (Insert(table, columns, chunk) for table, columns, rows in parts for chunk in _chunks(rows))


def microseconds(at: datetime) -> int:
    """Return microseconds since 1970.

    Raises:
        ValueError: `at` has no zone.
    """
    if at.utcoffset() is None:
        raise ValueError(f"{at!r} has no zone; times are UTC with a zone")
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment(micros: int) -> datetime:
    """Return the time, UTC, of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def version_at(at: datetime) -> int:
    """Return the lowest version (milliseconds, then 20 bits) that a record can have got at a time."""
    return max(0, microseconds(at) // 1000) << 20


def _checkpoint(item: tuple[int, CheckpointRecord]) -> bytes:
    ver, record = item
    return b"".join((
        *map(_text, record.key),
        _text(record.parent_id or ""),
        *_value(record.body),
        *_value(record.metadata),
        _map(record.refs, _text),  # an array of pairs has the form of a map
        _map(record.labels, _text),
        _text(record.labels.get("run_id", "")),
        _UINT32(record.reach),
        _inserted(ver),
        _UINT64(ver),
        b"\0",
    ))  # fmt: skip


def _removed(item: tuple[int, CheckpointKey]) -> bytes:
    ver, key = item
    empty = _text("") * 5 + _map({}, _text) * 2 + _text("") + _UINT32(0)
    return b"".join((*map(_text, key), empty, _inserted(ver), _UINT64(ver), b"\1"))


def _blob(item: tuple[int, str, str, BlobRecord]) -> bytes:
    ver, thread_id, checkpoint_ns, blob = item
    names = map(_text, (thread_id, checkpoint_ns, blob.channel, blob.version))
    return b"".join((*names, *_value(blob.value), _inserted(ver), _UINT64(ver)))


def _write(item: tuple[int, CheckpointKey, WriteRecord]) -> bytes:
    ver, key, write = item
    return b"".join((
        *map(_text, key),
        _text(write.task_path),
        _text(write.task_id),
        _INT32(write.idx),
        _text(write.channel),
        *_value(write.value),
        _inserted(ver),
        _UINT64(ver),
        b"\0",
    ))  # fmt: skip


def _removed_writes(item: tuple[int, CheckpointKey]) -> bytes:
    ver, key = item
    return b"".join((*map(_text, key), _text("") * 2, _INT32(0), _text("") * 3, _inserted(ver), _UINT64(ver), b"\1"))


def _entry(item: tuple[int, Entry]) -> bytes:
    ver, entry = item
    fields = pack(
        part for name, value in entry.fields.items() for part in (utf8(name), value.type.encode(), value.body)
    )
    return b"".join((
        _text(entry.kind),
        _text(entry.owner),
        _UINT64(entry.seq),
        _INT64(microseconds(entry.at)),
        _bytes(fields),
        _map(entry.columns, _text),
        _map(entry.counters, _FLOAT64),
        _inserted(ver),
        _UINT64(ver),
    ))  # fmt: skip


def _tombstone(item: Tombstone) -> bytes:
    return b"".join((_text(item.kind), _text(item.owner), _UINT64(item.upto), _INT64(microseconds(item.at))))


def _inserted(ver: int) -> bytes:
    return _INT64(min((ver >> 20) * 1000, _LAST))


def _value(value: Value) -> tuple[bytes, bytes]:
    return _text(value.type), _bytes(value.body)


def _text(text: str) -> bytes:
    return _bytes(utf8(text))


def _bytes(content: bytes) -> bytes:
    return _length(len(content)) + content


def _map(items: Mapping[str, _V], value: Callable[[_V], bytes]) -> bytes:
    return _length(len(items)) + b"".join(_text(name) + value(each) for name, each in items.items())


def _length(number: int) -> bytes:
    """LEB128: seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _chunks(rows: Sequence[bytes]) -> Iterable[bytes]:
    """Rows, joined; a row that is too large by itself goes by itself."""
    chunk: list[bytes] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) == MOST_ROWS or size + len(row) > MOST_BYTES):
            yield b"".join(chunk)
            chunk, size = [], 0
        chunk.append(row)
        size += len(row)
    if chunk:
        yield b"".join(chunk)
