"""The archive's queries: what is there, and not deleted.

Every query takes the newest copy of a row (`FINAL`) and leaves out what is not newer than its owner's tombstone. Of a
write the copy that counts is chosen among those that nothing has deleted since, so all are there until they are erased.
"""

# ruff: noqa: S608 - statements are put together from constants; values are always bound

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from storage.clickhouse.client import ClickHouseClient
from storage.clickhouse.rows import moment
from storage.errors import CorruptRecord
from storage.packing import text, unpack, utf8
from storage.records import (
    CheckpointKey,
    CheckpointQuery,
    CheckpointRecord,
    Entry,
    Kind,
    StoredCheckpoint,
    Value,
    WriteRecord,
)

OWNERS_PAGE = 1_000
MOST_NAMES = 24_000
"""Bytes of names in one query: bound as `\\xNN` they are four times as long, and servers take 128 kB in a form."""

Row = Sequence[Any]
_K = TypeVar("_K", bound=tuple[str, ...])
BlobKey = tuple[str, str, str, str]
"""Thread, namespace, channel, version."""


class IdleOwner(NamedTuple):
    """An owner whose last change is long ago."""

    owner: str
    kinds: tuple[str, ...]
    """Kinds of its records, and `"thread"`."""
    newest: int
    """Version of its last change."""


_FIRST_WRITES = (
    "SELECT thread_id, checkpoint_ns, checkpoint_id, task_path, task_id, idx, channel, type, blob, is_deleted FROM ({})"
    " ORDER BY thread_id, checkpoint_ns, checkpoint_id, task_id, idx, is_deleted, if(idx < 0, bitNot(ver), ver)"
    " LIMIT 1 BY thread_id, checkpoint_ns, checkpoint_id, task_id, idx, is_deleted"
)
"""Of the copies of each write the first, or of a special one the last; and whether some were removed."""
_REMOVED = "max(if(r.is_deleted, r.ver, 0)) OVER (PARTITION BY r.thread_id, r.checkpoint_ns, r.checkpoint_id)"
THREAD_TABLES = ("gg_checkpoints", "gg_writes", "gg_blobs")


class Reader:
    """Reads through one client."""

    def __init__(self, client: ClickHouseClient) -> None:
        self._client = client

    async def keys(self, query: CheckpointQuery, after: CheckpointKey | None, size: int) -> list[CheckpointKey]:
        """Return the next `size` keys, newest first, that come after `after`."""
        where, bound = _conditions(query, after)
        alive = _alive("thread", "thread_id", None if query.thread_id is None else [query.thread_id])
        rows = await self._client.query(
            "SELECT r.thread_id, r.checkpoint_ns, r.checkpoint_id"
            f" FROM gg_checkpoints AS r FINAL {alive.join} WHERE {' AND '.join((alive.where, *where))}"
            " ORDER BY r.checkpoint_id DESC, r.checkpoint_ns DESC, r.thread_id DESC LIMIT {size:UInt32}",
            {**bound, **alive.bound, "size": size},
        )
        return [CheckpointKey(*(_name(name) for name in row)) for row in rows]

    async def checkpoints(self, keys: Sequence[CheckpointKey]) -> list[StoredCheckpoint]:
        """Return the checkpoints that are there, in the order of `keys`.

        Raises:
            CorruptRecord: a blob that one of them refers to is missing; the key of the checkpoint is named.
        """
        records = await self._records(keys)
        wanted = {(*record.key[:2], *ref) for record in records for ref in record.refs.items()}
        blobs = await self.blobs(sorted(wanted))
        writes = await self._writes([record.key for record in records])
        whole = [await self._whole(record, blobs, writes.get(record.key, ())) for record in records]
        return [stored for stored in whole if stored is not None]

    async def _records(self, keys: Sequence[CheckpointKey]) -> list[CheckpointRecord]:
        found: dict[CheckpointKey, CheckpointRecord] = {}
        for some in _limited(keys):
            alive = _alive("thread", "thread_id", [key.thread_id for key in some])
            rows = await self._client.query(
                "SELECT r.thread_id, r.checkpoint_ns, r.checkpoint_id, r.parent_id, r.body_type, r.body,"
                " r.metadata_type, r.metadata, arrayMap(ref -> (ref.1, ref.2), r.refs), r.labels, r.reach"
                f" FROM gg_checkpoints AS r FINAL {alive.join} WHERE {alive.where}"
                " AND (r.thread_id, r.checkpoint_ns, r.checkpoint_id) IN {keys:Array(Tuple(String, String, String))}",
                {"keys": [tuple(key) for key in some], **alive.bound},
            )
            found |= {record.key: record for record in map(_checkpoint, rows)}
        return [found[key] for key in keys if key in found]

    async def blobs(self, keys: Sequence[BlobKey]) -> dict[BlobKey, Value]:
        """Return the blobs that are there."""
        found: dict[BlobKey, Value] = {}
        for some in _limited(keys):
            alive = _alive("thread", "thread_id", [key[0] for key in some])
            rows = await self._client.query(
                "SELECT r.thread_id, r.checkpoint_ns, r.channel, r.version, r.type, r.blob"
                f" FROM gg_blobs AS r FINAL {alive.join} WHERE {alive.where}"
                " AND (r.thread_id, r.checkpoint_ns, r.channel, r.version)"
                " IN {keys:Array(Tuple(String, String, String, String))}",
                {"keys": list(some), **alive.bound},
            )
            for *names, kind, body in rows:
                thread_id, checkpoint_ns, channel, version = (_name(name) for name in names)
                found[thread_id, checkpoint_ns, channel, version] = Value(_name(kind), body)
        return found

    async def _writes(self, keys: Sequence[CheckpointKey]) -> dict[CheckpointKey, list[WriteRecord]]:
        found: dict[CheckpointKey, list[WriteRecord]] = {}
        for some in _limited(keys):
            alive = _alive("thread", "thread_id", [key[0] for key in some])
            rows = (
                f"FROM gg_writes AS r {alive.join} WHERE {alive.where}"
                " AND (r.thread_id, r.checkpoint_ns, r.checkpoint_id) IN {keys:Array(Tuple(String, String, String))}"
            )
            bound = {"keys": [tuple(key) for key in some], **alive.bound}
            copies = await self._client.query(_FIRST_WRITES.format(f"SELECT r.* {rows}"), bound)
            if any(is_deleted for *_, is_deleted in copies):  # seldom, and finding out what came later takes longer
                later = f"SELECT * FROM (SELECT r.*, {_REMOVED} AS removed {rows}) WHERE ver > removed"
                copies = await self._client.query(_FIRST_WRITES.format(later), bound)
            for key, group in groupby(copies, lambda row: CheckpointKey(*(_name(name) for name in row[:3]))):
                writes = [_write(row[3:-1]) for row in group]
                found[key] = sorted(writes, key=lambda write: (write.task_path, write.task_id, write.idx))
        return found

    async def _whole(
        self, record: CheckpointRecord, blobs: Mapping[BlobKey, Value], writes: Sequence[WriteRecord]
    ) -> StoredCheckpoint | None:
        missing = [ref for ref in record.refs.items() if (*record.key[:2], *ref) not in blobs]
        if missing:
            if not await self._records([record.key]):  # it was deleted while we read
                return None
            names = ", ".join(f"{channel} {version}" for channel, version in missing[:3])
            raise CorruptRecord("/".join(record.key), f"{len(missing)} of its blobs are not in the archive ({names})")
        values = {ref[0]: blobs[*record.key[:2], *ref] for ref in record.refs.items()}
        return StoredCheckpoint(record=record, blobs=values, writes=writes)

    async def namespaces(self, thread_id: str) -> list[str]:
        """Name the namespaces of a thread, sorted."""
        alive = _alive("thread", "thread_id", [thread_id])
        rows = await self._client.query(
            "SELECT DISTINCT r.checkpoint_ns FROM gg_checkpoints AS r FINAL"
            f" WHERE r.thread_id = {{thread:String}} AND {alive.where} ORDER BY r.checkpoint_ns",
            {"thread": thread_id, **alive.bound},
        )
        return [_name(row[0]) for row in rows]

    async def read(
        self, kind: Kind, owner: str, *, after: int = 0, limit: int | None = None, newest: bool = False
    ) -> list[Entry]:
        """As `RecordStore.read`."""
        alive = _alive(kind, "owner", [owner])
        rows = await self._client.query(
            "SELECT r.seq, toUnixTimestamp64Micro(r.at), r.fields, r.columns, r.counters"
            " FROM gg_records AS r FINAL WHERE r.kind = {kind:String}"
            f" AND r.owner = {{owner:String}} AND r.seq > {{after:UInt64}} AND {alive.where}"
            f" ORDER BY r.seq {'DESC' if newest else 'ASC'}" + (" LIMIT {limit:UInt64}" if limit is not None else ""),
            {"kind": kind, "owner": owner, "after": after, "limit": limit or 0, **alive.bound},
        )
        return [_entry(kind, owner, row) for row in (reversed(rows) if newest else rows)]

    async def owners(self, kind: Kind) -> AsyncIterator[str]:
        """Name the owners of a kind, the one that changed last first."""
        alive = _alive(kind, "owner", None)
        source = f"SELECT r.owner AS owner, r.ver AS ver FROM gg_records AS r {alive.join}"
        source = f"{source} WHERE r.kind = {{kind:String}} AND {alive.where}"
        async for owner in self._by_change(source, {"kind": kind, **alive.bound}):
            yield owner

    async def threads(self) -> AsyncIterator[str]:
        """Name the threads, the one that changed last first."""
        alive = _alive("thread", "thread_id", None)
        source = f"SELECT r.thread_id AS owner, r.ver AS ver FROM gg_checkpoints AS r FINAL {alive.join}"
        async for owner in self._by_change(f"{source} WHERE {alive.where}", alive.bound):
            yield owner

    async def _by_change(self, source: str, bound: Mapping[str, Any]) -> AsyncIterator[str]:
        newest, owner = (1 << 64) - 1, ""
        while True:
            rows = await self._client.query(
                f"SELECT owner, max(ver) AS newest FROM ({source}) GROUP BY owner"
                " HAVING newest < {newest:UInt64} OR (newest = {newest:UInt64} AND owner < {owner:String})"
                f" ORDER BY newest DESC, owner DESC LIMIT {OWNERS_PAGE}",
                {**bound, "newest": newest, "owner": owner},
            )
            for row in rows:
                owner, newest = _name(row[0]), int(row[1])
                yield owner
            if len(rows) < OWNERS_PAGE:
                return

    async def newest_version(self) -> int:
        """Return the highest version of anything; 0 when nothing was ever archived."""
        parts = " UNION ALL ".join(
            f"SELECT max({column}) AS newest FROM {table}"
            for table, column in (
                ("gg_checkpoints", "ver"),
                ("gg_blobs", "ver"),
                ("gg_writes", "ver"),
                ("gg_records", "ver"),
                ("gg_tombstones", "upto_ver"),
            )
        )
        return int((await self._client.query(f"SELECT max(newest) FROM ({parts})"))[0][0])

    async def deleted_upto(self, kind: str, owner: str) -> int:
        """Return up to where an owner is deleted, or else the highest version of its rows; 0 when there are none."""
        rows = await self._client.query(
            "SELECT max(upto_ver) FROM gg_tombstones WHERE kind = {kind:String} AND owner = {owner:String}",
            {"kind": kind, "owner": owner},
        )
        if rows[0][0]:
            return int(rows[0][0])
        tables = THREAD_TABLES if kind == "thread" else ("gg_records",)
        mine = "thread_id = {owner:String}" if kind == "thread" else "kind = {kind:String} AND owner = {owner:String}"
        parts = " UNION ALL ".join(f"SELECT max(ver) AS newest FROM {table} WHERE {mine}" for table in tables)
        rows = await self._client.query(f"SELECT max(newest) FROM ({parts})", {"kind": kind, "owner": owner})
        return int(rows[0][0])

    async def idle(self, cutoff: int, owners: Sequence[str] | None = None) -> list[IdleOwner]:
        """Return owners, of all or of `owners`, with rows that are all below version `cutoff`."""
        one_of = "" if owners is None else " WHERE {} IN {{owners:Array(String)}}"
        parts = [
            f"SELECT 'thread' AS kind, thread_id AS owner, ver FROM {table}" + one_of.format("thread_id")
            for table in THREAD_TABLES
        ]
        parts.append("SELECT toString(kind) AS kind, owner, ver FROM gg_records" + one_of.format("owner"))
        rows = await self._client.query(
            f"SELECT owner, groupUniqArray(kind), max(ver) AS newest FROM ({' UNION ALL '.join(parts)})"
            " GROUP BY owner HAVING newest < {cutoff:UInt64} ORDER BY owner",
            {"cutoff": cutoff, "owners": list(owners or ())},
        )
        return [
            IdleOwner(_name(owner), tuple(sorted(_name(kind) for kind in kinds)), int(newest))
            for owner, kinds, newest in rows
        ]


def _conditions(query: CheckpointQuery, after: CheckpointKey | None) -> tuple[list[str], dict[str, Any]]:
    """`WHERE` of a query, and what it binds."""
    where: list[str] = []
    bound: dict[str, Any] = {}
    for column, operator, name, value in (
        ("thread_id", "=", "thread", query.thread_id),
        ("checkpoint_ns", "=", "ns", query.checkpoint_ns),
        ("checkpoint_id", "=", "id", query.checkpoint_id),
        ("checkpoint_id", "<", "before", query.before),
    ):
        if value is not None:
            where.append(f"r.{column} {operator} {{{name}:String}}")
            bound[name] = value
    if after is not None:
        where.append(
            "(r.checkpoint_id, r.checkpoint_ns, r.thread_id)"
            " < ({last_id:String}, {last_ns:String}, {last_thread:String})"
        )
        bound |= {"last_thread": after.thread_id, "last_ns": after.checkpoint_ns, "last_id": after.checkpoint_id}
    for number, (label, value) in enumerate(query.labels.items()):
        bound |= {f"label{number}": label, f"value{number}": value}
        # A checkpoint whose metadata are encrypted has no labels, or only the run.
        hidden = "empty(r.labels)" if label == "run_id" else "length(r.labels) = mapContains(r.labels, 'run_id')"
        where.append(
            f"((mapContains(r.labels, {{label{number}:String}}) AND r.labels[{{label{number}:String}}]"
            f" = {{value{number}:String}}) OR {hidden})"
        )
        if label == "run_id":
            where.append(f"r.run_id IN ({{value{number}:String}}, '')")  # what its index can answer
    return where, bound


@dataclass(frozen=True, slots=True)
class _Alive:
    """Leaves out of the rows `r` what a tombstone covers."""

    join: str
    where: str
    bound: Mapping[str, Any]


def _alive(kind: str, column: str, owners: Sequence[str] | None) -> _Alive:
    """Rows whose `column` is one of `owners`, or anybody (`None`). One owner needs no join, and half the time."""
    some = sorted(set(owners or ()))
    of = {0: "", 1: " AND owner = {gone_owner:String}"}.get(len(some), " AND owner IN {gone_owners:Array(String)}")
    stones = f"FROM gg_tombstones WHERE kind = {{gone_kind:String}}{of}"
    if len(some) == 1:
        where = f"r.ver > ifNull((SELECT max(upto_ver) {stones}), 0)"
        return _Alive("", where, {"gone_kind": kind, "gone_owner": some[0]})
    join = f"LEFT JOIN (SELECT owner, max(upto_ver) AS upto {stones} GROUP BY owner) AS gone ON gone.owner = r.{column}"
    return _Alive(join, "r.ver > ifNull(gone.upto, 0)", {"gone_kind": kind, "gone_owners": some})


def _limited(keys: Sequence[_K]) -> list[list[_K]]:
    """Keys in parts that fit into a query."""
    parts: list[list[_K]] = []
    room = 0
    for key in keys:
        size = 4 + sum(len(utf8(name)) + 2 for name in key)
        if not parts or size > room:
            parts.append([])
            room = MOST_NAMES
        parts[-1].append(key)
        room -= size
    return parts


def _checkpoint(row: Row) -> CheckpointRecord:
    *names, parent, body_type, body, metadata_type, metadata, refs, labels, reach = row
    return CheckpointRecord(
        key=CheckpointKey(*(_name(name) for name in names)),
        parent_id=_name(parent) or None,
        body=Value(_name(body_type), body),
        metadata=Value(_name(metadata_type), metadata),
        refs={_name(channel): _name(version) for channel, version in refs},
        labels={_name(label): _name(value) for label, value in labels.items()},
        reach=int(reach),
    )


def _write(row: Row) -> WriteRecord:
    task_path, task_id, idx, channel, kind, body = row
    return WriteRecord(
        task_id=_name(task_id),
        idx=int(idx),
        task_path=_name(task_path),
        channel=_name(channel),
        value=Value(_name(kind), body),
    )


def _entry(kind: Kind, owner: str, row: Row) -> Entry:
    seq, at, packed, columns, counters = row
    key = f"{kind}/{owner}/{seq}"
    parts = unpack(packed, key)
    if len(parts) % 3:
        raise CorruptRecord(key, "a field is cut off")
    fields = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return Entry(
        kind=kind,
        owner=owner,
        seq=int(seq),
        at=moment(int(at)),
        fields={text(name, key): Value(text(form, key), body) for name, form, body in fields},
        columns={_name(name): _name(value) for name, value in columns.items()},
        counters={_name(name): float(value) for name, value in counters.items()},
    )


def _name(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")
