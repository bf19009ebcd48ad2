"""Which blobs the records of both tiers refer to."""

import re
from collections.abc import AsyncIterator, Iterable, Iterator

from storage.protocols import CheckpointStore, RecordStore
from storage.records import KINDS, CheckpointQuery, StoredCheckpoint, Value
from storage.serde import ValueCodec

DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
"""A SHA-256 in any encoding that leaves text as it is, which ours does."""


async def digests_in(checkpoints: CheckpointStore, records: RecordStore, codec: ValueCodec) -> AsyncIterator[str]:
    """Name everything in any record that looks like a digest; some more than once.

    Nothing is decoded that is not encrypted: whatever looks like a digest keeps its blob, so a reference is not missed
    because somebody else wrote it. It reads everything there is, and is for now and then.

    Raises:
        CorruptRecord: a record is encrypted with another key, so that it is not known what it refers to.
        ArchiveUnavailable: the archive cannot be read, so neither.
    """
    async for stored in checkpoints.scan(CheckpointQuery()):
        for digest in _digests(_values(stored), codec, "/".join(stored.record.key)):
            yield digest
    for kind in KINDS:
        async for owner in records.owners(kind):
            for entry in await records.read(kind, owner):
                for digest in _digests(entry.fields.values(), codec, f"{kind}/{owner}/{entry.seq}"):
                    yield digest


def _values(stored: StoredCheckpoint) -> Iterator[Value]:
    yield stored.record.body
    yield from stored.blobs.values()
    yield from (write.value for write in stored.writes)


def _digests(values: Iterable[Value], codec: ValueCodec, key: str) -> Iterator[str]:
    for value in values:
        content = repr(codec.load(value, key)).encode() if "+" in value.type else value.body
        yield from (found.decode() for found in DIGEST.findall(content))
