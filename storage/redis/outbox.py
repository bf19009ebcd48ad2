"""What stands in an outbox stream: references, about 150 bytes each, never payloads.

The first field is the kind of reference:

    k=c  t=thread  n=namespace  i=checkpoint id  b=packed blob fields that were stored with it
    k=w  t=thread  n=namespace  i=checkpoint id                 writes were added to it
    k=x  t=thread  n=namespace  i=checkpoint id                 it was deleted
    k=d  r=kind or "thread"     t=owner                         everything of an owner was deleted
    k=e  r=kind    t=owner      s=seq                           an entry of a document or log
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from storage.errors import CorruptRecord
from storage.packing import text, unpack
from storage.records import CheckpointKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reference:
    """An entry of the outbox, read."""

    id: str
    """`ms-seq`, as Redis gave it; rising within a partition."""
    kind: str
    owner: str
    checkpoint_ns: str = ""
    checkpoint_id: str = ""
    blob_fields: tuple[bytes, ...] = ()
    record_kind: str = ""
    seq: int = 0

    @property
    def key(self) -> CheckpointKey:
        """Of the checkpoint that it is about."""
        return CheckpointKey(self.owner, self.checkpoint_ns, self.checkpoint_id)

    @property
    def version(self) -> int:
        """Decides which of two copies is newer, in the archive: milliseconds, then 20 bits of sequence."""
        return version_of(self.id)

    @property
    def at(self) -> datetime:
        """When Redis took it, by its own clock."""
        return _EPOCH + timedelta(milliseconds=order_of(self.id)[0])


def order_of(stream_id: str) -> tuple[int, int]:
    """Return what outbox ids sort by: milliseconds and sequence, as numbers."""
    ms, _, seq = stream_id.partition("-")
    return int(ms), int(seq or 0)


def version_of(stream_id: str) -> int:
    """Return the version that an outbox id stands for."""
    ms, seq = order_of(stream_id)
    return (ms << 20) | min(seq, (1 << 20) - 1)


def read_reference(stream_id: str, fields: Mapping[bytes, bytes]) -> Reference:
    """Read the fields of an entry.

    Raises:
        CorruptRecord: somebody else wrote into the stream.
    """
    try:
        known = {name: text(value, stream_id) for name, value in fields.items() if name != b"b"}
        return Reference(
            id=stream_id,
            kind=known[b"k"],
            owner=known[b"t"],
            checkpoint_ns=known.get(b"n", ""),
            checkpoint_id=known.get(b"i", ""),
            blob_fields=tuple(unpack(fields.get(b"b", b""), stream_id)),
            record_kind=known.get(b"r", ""),
            seq=int(known.get(b"s", "0")),
        )
    except (KeyError, ValueError) as error:
        raise CorruptRecord(f"outbox {stream_id}", f"no reference: {error}") from None
