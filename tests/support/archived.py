"""Records to put into an archive."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from storage.records import BlobRecord, CheckpointKey, CheckpointRecord, Entry, Kind, Value, WriteRecord

DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOT_UTF8 = bytes(range(256)) + b"\xff\xfe\x00\r\n\\N'"


def version(number: int = 0, at: datetime = DAY) -> int:
    """The `number`th version of a moment."""
    return (int(at.timestamp() * 1000) << 20) + number


def days(number: float) -> timedelta:
    return timedelta(days=number)


def value(body: bytes | str) -> Value:
    return Value("bytes", body.encode() if isinstance(body, str) else body)


def checkpoint(
    thread_id: str,
    checkpoint_id: str,
    *,
    ns: str = "",
    refs: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    body: bytes | str = "body",
) -> CheckpointRecord:
    return CheckpointRecord(
        key=CheckpointKey(thread_id, ns, checkpoint_id),
        parent_id=None,
        body=value(body),
        metadata=value("metadata"),
        refs=refs or {},
        labels=labels or {},
    )


def blob(channel: str, version: str, body: bytes | str = "value") -> BlobRecord:
    return BlobRecord(channel=channel, version=version, value=value(body))


def write(idx: int, body: bytes | str = "write", *, task_id: str = "task", path: str = "") -> WriteRecord:
    return WriteRecord(task_id=task_id, idx=idx, task_path=path, channel="out", value=value(body))


def entry(
    kind: Kind,
    owner: str,
    seq: int = 1,
    *,
    at: datetime = DAY,
    fields: Mapping[str, Value] | None = None,
    columns: Mapping[str, str] | None = None,
    counters: Mapping[str, float] | None = None,
) -> Entry:
    return Entry(
        kind=kind, owner=owner, seq=seq, at=at, fields=fields or {}, columns=columns or {}, counters=counters or {}
    )
