"""What every part of the facade works with."""

from collections.abc import Callable
from datetime import UTC, datetime

from storage.protocols import CheckpointStore, RecordStore
from storage.serde import ValueCodec, strict_serializer


def utc_now() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


class Stores:
    """The two stores, how values are written, and the time.

    Args:
        checkpoints: For checkpoints and writes.
        records: For everything else.
        codec: By default LangGraph's encoding, read strictly: plain data, dates, UUIDs, sets and bytes.
        clock: Says what time it is, in UTC.
    """

    def __init__(
        self,
        checkpoints: CheckpointStore,
        records: RecordStore,
        *,
        codec: ValueCodec | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.checkpoints = checkpoints
        self.records = records
        self.codec = codec or ValueCodec(strict_serializer())
        self.clock = clock


def as_text(at: datetime) -> str:
    """ISO 8601 in UTC, with its zone."""
    return at.astimezone(UTC).isoformat()
