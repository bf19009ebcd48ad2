"""From references to rows: what has to be fetched, and what it becomes. No I/O."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from storage.errors import CorruptRecord
from storage.packing import text, unpack_checkpoint, unpack_write
from storage.records import (
    Batch,
    BlobRecord,
    CheckpointKey,
    CheckpointRecord,
    Entry,
    Kind,
    Tombstone,
    WriteRecord,
)
from storage.redis.checkpoints import read_value, unpack_refs
from storage.redis.client import Argument
from storage.redis.entries import unpack_entry
from storage.redis.keys import Keys
from storage.redis.outbox import Reference, read_reference

KNOWN = frozenset("cwxde")
"""Kinds of references."""


@dataclass(slots=True)
class Item:
    """What one or several references point to; it is fetched once, as it is now, with the version of the newest."""

    kind: str
    newest: Reference
    fields: dict[bytes, None] = field(default_factory=dict[bytes, None])
    """Of the blobs that were stored with a checkpoint, each once and in order."""
    error: CorruptRecord | None = None
    """Why it is not archived."""

    def key_names(self, keys: Keys) -> list[bytes]:
        """Return the keys that the script `payloads` reads."""
        reference = self.newest
        if self.kind == "e":
            return [keys.record(letter, reference.record_kind, reference.owner) for letter in "lh"]
        thread, space, checkpoint_id = reference.key
        shared = [keys.thread("m", thread), keys.thread("x", thread)]
        if self.kind == "w":
            return [*shared, keys.thread("w", thread, space, checkpoint_id)]
        return [*shared, *(keys.thread(letter, thread, space) for letter in "crb")]

    @property
    def name(self) -> str:
        """What it is called in messages."""
        if self.kind == "e":
            return f"{self.newest.record_kind}/{self.newest.owner}/{self.newest.seq}"
        return "/".join(self.newest.key)

    def arguments(self) -> list[Argument]:
        """Return what the script `payloads` is told."""
        name = str(self.newest.seq) if self.kind == "e" else self.newest.checkpoint_id
        return [self.kind, name, self.newest.checkpoint_ns, len(self.fields), *self.fields]


@dataclass(slots=True)
class Load:
    """Rows on their way to the archive."""

    blobs: list[tuple[int, str, str, BlobRecord]] = field(default_factory=list[tuple[int, str, str, BlobRecord]])
    writes: list[tuple[int, CheckpointKey, WriteRecord]] = field(
        default_factory=list[tuple[int, CheckpointKey, WriteRecord]]
    )
    checkpoints: list[tuple[int, CheckpointRecord]] = field(default_factory=list[tuple[int, CheckpointRecord]])
    removed: list[tuple[int, CheckpointKey]] = field(default_factory=list[tuple[int, CheckpointKey]])
    entries: list[tuple[int, Entry]] = field(default_factory=list[tuple[int, Entry]])
    tombstones: list[Tombstone] = field(default_factory=list[Tombstone])
    size: int = 0
    """Bytes of the payloads."""
    missing: list[str] = field(default_factory=list[str])
    """Names of payloads that are neither here nor deleted."""
    items: dict[int, Item] = field(default_factory=dict[int, Item])
    """`id` of a row → what it was made from."""

    @property
    def rows(self) -> int:
        """How many so far."""
        return self.batch().rows

    def batch(self) -> Batch:
        """Return what the archive is given."""
        return Batch(
            blobs=self.blobs,
            writes=self.writes,
            checkpoints=self.checkpoints,
            removed=self.removed,
            entries=self.entries,
            tombstones=self.tombstones,
        )

    def blame(self, row: tuple[Any, ...], error: Exception) -> None:
        """Note that the archive does not take a row, so that what refers to it is kept aside.

        Raises:
            Exception: `error`, when it is a deletion: without it, more would be seen than there is.
        """
        item = self.items.get(id(row))
        if item is None:
            raise error
        item.error = CorruptRecord(item.name, f"the archive does not take it ({error})")

    @property
    def made(self) -> tuple[Sequence[tuple[Any, ...]], ...]:
        """Rows that were made from items, so far."""
        return self.blobs, self.writes, self.checkpoints, self.entries


class Claim:
    """References that were taken from one partition, in order, and how far they have come.

    Args:
        number: Of the partition.
        entries: `(id, [name, value, …])` as Redis gives them.
    """

    def __init__(self, number: int, entries: Sequence[tuple[bytes, Sequence[bytes]]]) -> None:
        self.number = number
        self.references: list[tuple[Reference | None, int]] = []
        """With the place of the item that has to be fetched before it is done; 0 for none."""
        self.items: list[Item] = []
        self.fetched = 0
        self.acknowledged = 0
        self.raw: list[tuple[str, Sequence[bytes]]] = [(name.decode(), fields) for name, fields in entries]
        self.unreadable: dict[str, CorruptRecord] = {}
        places: dict[tuple[object, ...], int] = {}
        for name, fields in self.raw:
            reference = self._read(name, fields)
            self.references.append((reference, 0 if reference is None else self._place(reference, places)))

    @property
    def unfetched(self) -> Sequence[Item]:
        """Items that are not fetched yet."""
        return self.items[self.fetched :]

    @property
    def finished(self) -> bool:
        """Whether all is fetched."""
        return self.fetched == len(self.items)

    def ready(self) -> Iterator[tuple[str, Reference | None, CorruptRecord | None]]:
        """Yield what can be acknowledged: in order, up to the first reference whose payload was not fetched.

        In order, so that what is acknowledged of an owner never has a gap.
        """
        for place in range(self.acknowledged, len(self.references)):
            reference, needs = self.references[place]
            if needs > self.fetched:
                return
            name = self.raw[place][0]
            error = self.unreadable.get(name) if needs == 0 else self.items[needs - 1].error
            yield name, reference, error

    def add(self, answers: Sequence[Sequence[Any]], load: Load) -> None:
        """Turn fetched payloads, for the first of `unfetched`, into rows."""
        if not self.fetched:
            self._add_deletions(load)
        for item, answer in zip(self.unfetched, answers, strict=False):
            before = [len(rows) for rows in load.made]
            try:
                _READERS[item.kind](item, answer, load)
            except CorruptRecord as error:
                item.error = error
            except ValueError as error:  # a number that is none, a map without a last value
                item.error = CorruptRecord(item.name, str(error))
            for rows, start in zip(load.made, before, strict=True):
                load.items.update((id(row), item) for row in rows[start:])
        self.fetched += len(answers)

    def _read(self, name: str, fields: Sequence[bytes]) -> Reference | None:
        try:
            reference = read_reference(name, dict(zip(fields[::2], fields[1::2], strict=False)))
        except CorruptRecord as error:
            self.unreadable[name] = error
            return None
        if reference.kind not in KNOWN:
            self.unreadable[name] = CorruptRecord(f"outbox {name}", f"{reference.kind!r} is no kind of reference")
        return reference

    def _place(self, reference: Reference, places: dict[tuple[object, ...], int]) -> int:
        match reference.kind:
            case "c" | "w":
                key = (reference.kind, *reference.key)
            case "e":
                key = ("e", reference.record_kind, reference.owner, reference.seq)
            case _:
                return 0
        place = places.get(key)
        if place is None:
            self.items.append(Item(reference.kind, reference))
            place = places[key] = len(self.items)
        item = self.items[place - 1]
        item.newest = reference
        item.fields.update(dict.fromkeys(reference.blob_fields))
        return place

    def _add_deletions(self, load: Load) -> None:
        for reference, _ in self.references:
            if reference is not None and reference.kind == "x":
                load.removed.append((reference.version, reference.key))
            elif reference is not None and reference.kind == "d":
                kind = cast("Kind", reference.record_kind)
                load.tombstones.append(Tombstone(kind, reference.owner, reference.version, reference.at))


def _add_entry(item: Item, answer: Sequence[Any], load: Load) -> None:
    packed, gone = answer
    reference = item.newest
    if packed is None:
        if not gone:
            load.missing.append(item.name)
        return
    load.size += len(packed)
    entry = unpack_entry(cast("Kind", reference.record_kind), reference.owner, reference.seq, packed)
    load.entries.append((reference.version, entry))


def _add_writes(item: Item, answer: Sequence[Any], load: Load) -> None:
    stored, gone = answer
    key, version, name = item.newest.key, item.newest.version, item.name
    if not stored and not gone:
        load.missing.append(name)
    error: CorruptRecord | ValueError | None = None
    for label, packed in zip(stored[::2], stored[1::2], strict=True):
        load.size += len(packed)
        try:
            task, _, idx = text(label, name).rpartition("\0")
            load.writes.append((version, key, unpack_write(task, int(idx), packed, name)))
        except (CorruptRecord, ValueError) as found:
            error = found
    if error is not None:
        raise error


def _add_checkpoint(item: Item, answer: Sequence[Any], load: Load) -> None:
    packed, packed_refs, values, gone = answer
    key, version, name = item.newest.key, item.newest.version, item.name
    error: CorruptRecord | None = None
    absent: list[tuple[str, str]] = []
    for label, stored in zip(item.fields, values, strict=True):
        channel, _, channel_version = text(label, name).rpartition("\0")
        if stored is None:
            absent.append((channel, channel_version))
            continue
        load.size += len(stored)
        try:
            value = read_value(stored, f"{name}/{channel}")
            blob = BlobRecord(channel=channel, version=channel_version, value=value)
            load.blobs.append((version, key.thread_id, key.checkpoint_ns, blob))
        except CorruptRecord as found:
            error = found
    if error is not None:
        raise error  # without this blob the checkpoint is not whole, so it stays out of the archive too
    if packed is None:
        if not gone:
            load.missing.append(name)
        return
    load.size += len(packed)
    refs = unpack_refs(packed_refs or b"", name)
    record = unpack_checkpoint(key, packed, refs)
    for channel, channel_version in absent:
        if refs.get(channel) == channel_version:
            load.missing.append(f"{name}/{channel}")
    load.checkpoints.append((version, record))


_Reader = Callable[[Item, Sequence[Any], Load], None]
_READERS: dict[str, _Reader] = {"c": _add_checkpoint, "w": _add_writes, "e": _add_entry}
