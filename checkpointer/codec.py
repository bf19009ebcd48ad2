"""LangGraph's checkpoints as records, and back. Serialised before anything is awaited: state is passed by reference."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_serializable_checkpoint_metadata,
)

from storage.records import BlobRecord, CheckpointKey, CheckpointRecord, StoredCheckpoint, Value, WriteRecord
from storage.serde import ValueCodec

INLINE_TEXT = 256
"""Characters; a longer text becomes a blob of its own, stored once for all checkpoints that have it."""
MOST_REACH = 2**31 - 1
"""What a column of the archive holds."""
SCALARS = (type(None), bool, int, float)
PLAIN_LABELS = frozenset({"run_id"})
"""Metadata that are no secret: an encrypted checkpoint can still be found by its run."""


def key_of(config: RunnableConfig, checkpoint_id: str | None = None) -> CheckpointKey:
    """Return where `config` points; the id is empty for the newest.

    Raises:
        ValueError: the config names no thread.
    """
    configurable = config.get("configurable") or {}
    if "thread_id" not in configurable:
        raise ValueError('a checkpointer needs a thread: {"configurable": {"thread_id": …}}')
    chosen = checkpoint_id or configurable.get("checkpoint_id") or ""
    return CheckpointKey(str(configurable["thread_id"]), configurable.get("checkpoint_ns") or "", chosen)


def config_of(key: CheckpointKey) -> RunnableConfig:
    """Return the config of one checkpoint."""
    thread, space, checkpoint_id = key
    return {"configurable": {"thread_id": thread, "checkpoint_ns": space, "checkpoint_id": checkpoint_id}}


def to_records(
    codec: ValueCodec,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
) -> tuple[CheckpointRecord, list[BlobRecord]]:
    """Return a checkpoint's record and the blobs that are new.

    Small scalars stay in the body, inside the serialised bytes; everything else is a blob of its channel's version, so
    that a channel that does not change is stored once.
    """
    values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
    inline: dict[str, Any] = {}
    refs: dict[str, str] = {}
    blobs: list[BlobRecord] = []
    dump = _dump_once(codec)
    for channel, value in values.items():
        version = versions.get(channel)
        if version is None or _is_small(value):
            inline[channel] = value
            continue
        refs[channel] = str(version)
        if channel in new_versions:
            blobs.append(BlobRecord(channel=channel, version=str(version), value=dump(value)))
    full = get_serializable_checkpoint_metadata(config, metadata)
    stored_metadata = codec.dump(full)
    labels = labels_of(full)
    if _is_encrypted(stored_metadata):
        labels = {name: value for name, value in labels.items() if name in PLAIN_LABELS}
    configurable = config.get("configurable") or {}
    record = CheckpointRecord(
        key=key_of(config, checkpoint["id"]),
        parent_id=configurable.get("checkpoint_id") or None,
        body=codec.dump({**checkpoint, "channel_values": inline}),
        metadata=stored_metadata,
        refs=refs,
        labels=labels,
        reach=_reach(full),
    )
    return record, blobs


def to_writes(codec: ValueCodec, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str) -> list[WriteRecord]:
    """Return the records of a task's writes."""
    dump = _dump_once(codec)
    return [
        WriteRecord(
            task_id=task_id,
            idx=WRITES_IDX_MAP.get(channel, position),
            task_path=task_path,
            channel=channel,
            value=dump(value),
        )
        for position, (channel, value) in enumerate(writes)
    ]


def to_tuple(codec: ValueCodec, stored: StoredCheckpoint) -> CheckpointTuple:
    """Return what LangGraph reads.

    Raises:
        CorruptRecord: something cannot be decoded; it names the key.
    """
    record = stored.record
    name = "/".join(record.key)
    checkpoint = cast("Checkpoint", codec.load(record.body, name))
    values = checkpoint["channel_values"]
    for channel, value in stored.blobs.items():
        values[channel] = codec.load(value, f"{name}/{channel}")
    parent = None if record.parent_id is None else record.key._replace(checkpoint_id=record.parent_id)
    return CheckpointTuple(
        config=config_of(record.key),
        checkpoint=checkpoint,
        metadata=metadata_of(codec, record),
        parent_config=None if parent is None else config_of(parent),
        pending_writes=read_writes(codec, stored.writes, name),
    )


def read_writes(codec: ValueCodec, writes: Sequence[WriteRecord], name: str) -> list[tuple[str, str, Any]]:
    """Return writes as LangGraph reads them."""
    return [
        (write.task_id, write.channel, codec.load(write.value, f"{name}/{write.task_id}/{write.channel}"))
        for write in writes
    ]


def metadata_of(codec: ValueCodec, record: CheckpointRecord) -> CheckpointMetadata:
    """Return the metadata of a checkpoint."""
    return cast("CheckpointMetadata", codec.load(record.metadata, f"{'/'.join(record.key)}/metadata"))


def labels_of(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return scalar metadata as text; values that are equal in Python are the same text."""
    labels: dict[str, str] = {}
    for name, value in metadata.items():
        match value:
            case None:
                labels[name] = "null"
            case str():
                labels[name] = value
            case bool() | int() | float() if value == value // 1:  # 1, 1.0 and True are equal
                labels[name] = str(int(value))
            case float():
                labels[name] = repr(value)
            case _:
                pass
    return labels


def matches(wanted: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Say whether metadata have all of `wanted`."""
    return all(name in metadata and metadata[name] == value for name, value in wanted.items())


def _dump_once(codec: ValueCodec) -> Callable[[object], Value]:
    """Return what serialises each object once, for a call in which all of them live and nothing can change them.

    LangGraph's entrypoints write what they return to two channels, and all of it is in both.
    """
    known: dict[int, Value] = {}

    def dump(value: object) -> Value:
        if (stored := known.get(id(value))) is None:
            stored = known[id(value)] = codec.dump(value)
        return stored

    return dump


def _reach(metadata: Mapping[str, Any]) -> int:
    """Return how many ancestors a delta channel is rebuilt from."""
    counters = metadata.get("counters_since_delta_snapshot")
    reach = 0
    for pair in cast("Mapping[str, object]", counters).values() if isinstance(counters, Mapping) else ():
        match pair:
            case [int(), int(supersteps)]:
                reach = max(reach, supersteps + 1)
            case _:
                pass  # metadata are the user's, who may call anything by this name
    return min(reach, MOST_REACH)


def _is_small(value: object) -> bool:
    return type(value) in SCALARS or (type(value) is str and len(value) <= INLINE_TEXT)


def _is_encrypted(value: Value) -> bool:
    return "+" in value.type  # LangGraph's convention: "msgpack+aes"
