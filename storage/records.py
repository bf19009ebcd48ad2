"""What is stored: plain values, opaque bytes with a type beside them, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Literal, NamedTuple, get_args

DocumentKind = Literal["session", "context", "conversation", "run", "task"]
"""Kinds with one current state: a change is merged into it, and each state is archived."""
LogKind = Literal["message", "event", "checkpoint"]
"""Kinds whose entries stand beside each other; `checkpoint` is the order in which the seed's interface stored them."""
Kind = DocumentKind | LogKind
DOCUMENTS: frozenset[str] = frozenset(get_args(DocumentKind))
KINDS: tuple[Kind, ...] = (*get_args(DocumentKind), *get_args(LogKind))


NAMED = "@named"
"""Threads `@named/…` have a namespace for each checkpoint, `space/id`, because their ids say nothing about age."""


class Value(NamedTuple):
    """Bytes and what reads them: `("msgpack", b"…")`. A store never looks inside."""

    type: str
    body: bytes


class CheckpointKey(NamedTuple):
    """Where a checkpoint is."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str
    """Ids of one thread and namespace sort by age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRecord:
    """A checkpoint without the values of its channels."""

    key: CheckpointKey
    parent_id: str | None
    body: Value
    metadata: Value
    refs: Mapping[str, str] = field(default_factory=dict[str, str])
    """Channel → version, for each channel that has a blob; a blob that is missing from every tier is corruption."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """Scalar metadata as text, to find a checkpoint by; empty when the metadata are encrypted, but for `run_id`."""
    reach: int = 0
    """How many ancestors are needed to rebuild it (delta channels); they stay in the hot tier with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRecord:
    """The value of a channel at a version; immutable, and shared by the checkpoints of its thread and namespace."""

    channel: str
    version: str
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRecord:
    """One write of a task, on the checkpoint that scheduled the task."""

    task_id: str
    idx: int
    """From 0 in the order of writing, first write wins; below 0 for LangGraph's special channels, last write wins."""
    task_path: str
    channel: str
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCheckpoint:
    """A checkpoint as it is read back."""

    record: CheckpointRecord
    blobs: Mapping[str, Value]
    """Channel → value, one for each of `record.refs`."""
    writes: Sequence[WriteRecord]
    """Sorted by task path, task id, index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointQuery:
    """Which checkpoints to list, newest first."""

    thread_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str | None = None
    before: str | None = None
    """Only ids below this one."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    """All have to be equal, but for those that an encrypted record hides (it shows its run at most)."""
    limit: int | None = None

    def matches(self, record: CheckpointRecord) -> bool:
        """Say whether a record is among what is asked for."""
        key, labels = record.key, record.labels
        hidden = not labels.keys() - {"run_id"}
        return (
            self.thread_id in (None, key.thread_id)
            and self.checkpoint_ns in (None, key.checkpoint_ns)
            and self.checkpoint_id in (None, key.checkpoint_id)
            and (self.before is None or key.checkpoint_id < self.before)
            and all(labels[name] == value if name in labels else hidden for name, value in self.labels.items())
        )


def is_named(thread_id: str) -> bool:
    """Say whether a thread holds checkpoints of the seed's interface, and none of LangGraph's."""
    return thread_id.startswith(f"{NAMED}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is added to an owner: merged into a document, or appended to a log."""

    kind: Kind
    owner: str
    """A session, run, thread or task id."""
    at: datetime
    """UTC, with a zone."""
    fields: Mapping[str, Value] = field(default_factory=dict[str, Value])
    """In a document each replaces the field of its name."""
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    """Facts in plain text to query by (status, user, action); never a user's content."""
    increments: Mapping[str, float] = field(default_factory=dict[str, float])
    """Added to the counters of a document; finite."""
    must: Literal["exist", "be_new"] | None = None
    """Refuse (`append` returns `None`) unless the owner exists, or does not yet."""

    def __post_init__(self) -> None:
        for name, amount in self.increments.items():
            if not isfinite(amount):
                raise ValueError(f"counter {name!r} cannot be increased by {amount}; only by a finite number")


def of_one_log(changes: Sequence[Change]) -> Change:
    """Return the first of several changes that can be appended together.

    Raises:
        ValueError: they are of several owners, or of a document.
    """
    first = changes[0]
    if first.kind in DOCUMENTS or any((change.kind, change.owner) != (first.kind, first.owner) for change in changes):
        raise ValueError("only entries of one log can be appended together")
    return first


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A state of a document, or an entry of a log, as it is read back."""

    kind: Kind
    owner: str
    seq: int
    """1, 2, 3 … for each owner."""
    at: datetime
    fields: Mapping[str, Value]
    columns: Mapping[str, str]
    counters: Mapping[str, float]


class Tombstone(NamedTuple):
    """Everything of an owner up to a version is deleted."""

    kind: Kind | Literal["thread"]
    owner: str
    upto: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What goes to the archive together. The first of each pair is the version that decides between two copies."""

    blobs: Sequence[tuple[int, str, str, BlobRecord]] = ()
    """Version, thread id, namespace, blob."""
    writes: Sequence[tuple[int, CheckpointKey, WriteRecord]] = ()
    checkpoints: Sequence[tuple[int, CheckpointRecord]] = ()
    removed: Sequence[tuple[int, CheckpointKey]] = ()
    """Single checkpoints that were deleted, by `prune` or `delete_for_runs`."""
    entries: Sequence[tuple[int, Entry]] = ()
    tombstones: Sequence[Tombstone] = ()

    @property
    def rows(self) -> int:
        """How many rows this becomes."""
        parts = (self.blobs, self.writes, self.checkpoints, self.removed, self.entries, self.tombstones)
        return sum(len(part) for part in parts)
