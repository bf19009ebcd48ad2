"""Strings of bytes in one string of bytes: each with its length before it, so that Lua can join them and never parses.

The form is `>I` (length, four bytes, big-endian) and the bytes, again and again. Lua's `struct.pack(">I4c0", …)` is the
same.
"""

from collections.abc import Iterable, Mapping
from struct import Struct

from storage.errors import CorruptRecord
from storage.records import (
    CheckpointKey,
    CheckpointRecord,
    Value,
    WriteRecord,
)

FORMAT = b"1"
"""Of every packed record; another one needs a migration."""
_LENGTH = Struct(">I")


def pack(parts: Iterable[bytes]) -> bytes:
    """Join `parts`."""
    joined = bytearray()
    for part in parts:
        joined += _LENGTH.pack(len(part))
        joined += part
    return bytes(joined)


def unpack(packed: bytes, key: str) -> list[bytes]:
    """Return the parts; `key` is named when they cannot be read.

    Raises:
        CorruptRecord: the bytes do not add up.
    """
    parts: list[bytes] = []
    at, end = 0, len(packed)
    while at < end:
        if at + 4 > end:
            raise CorruptRecord(key, "a length is cut off")
        (length,) = _LENGTH.unpack_from(packed, at)
        at += 4
        if at + length > end:
            raise CorruptRecord(key, "a part is cut off")
        parts.append(packed[at : at + length])
        at += length
    return parts


def pack_map(items: Mapping[str, str]) -> bytes:
    """Join names and texts, in turn."""
    return pack(utf8(part) for item in items.items() for part in item)


def unpack_map(packed: bytes, key: str) -> dict[str, str]:
    """Read what `pack_map` wrote."""
    parts = [text(part, key) for part in unpack(packed, key)]
    if len(parts) % 2:
        raise CorruptRecord(key, "a name has no text")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def utf8(name: str) -> bytes:
    """Encode text; half of a surrogate pair, which Python allows, is a character like any other."""
    return name.encode("utf-8", "surrogatepass")


def text(part: bytes, key: str) -> str:
    """Decode UTF-8."""
    try:
        return part.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise CorruptRecord(key, str(error)) from None


def number(part: bytes, key: str) -> int:
    """Read an integer."""
    try:
        return int(part)
    except ValueError:
        raise CorruptRecord(key, f"{part[:20]!r} is no number") from None


def pack_checkpoint(record: CheckpointRecord) -> bytes:
    """Everything of a checkpoint but its key and `refs`, which Lua has to see."""
    return pack(
        (
            FORMAT,
            utf8(record.parent_id or ""),
            utf8(record.body.type),
            record.body.body,
            utf8(record.metadata.type),
            record.metadata.body,
            pack_map(record.labels),
            str(record.reach).encode(),
            str(len(record.refs)).encode(),
        )
    )


def unpack_checkpoint(key: CheckpointKey, packed: bytes, refs: Mapping[str, str]) -> CheckpointRecord:
    """Read what `pack_checkpoint` wrote."""
    name = "/".join(key)
    parts = unpack(packed, name)
    if len(parts) != 9 or parts[0] != FORMAT:
        raise CorruptRecord(name, f"its format is {parts[0] if parts else b''!r}, and this version reads {FORMAT!r}")
    _, parent, body_type, body, metadata_type, metadata, labels, reach, count = parts
    if count != str(len(refs)).encode():
        raise CorruptRecord(name, f"it refers to {text(count, name)} values, and {len(refs)} are named")
    return CheckpointRecord(
        key=key,
        parent_id=text(parent, name) or None,
        body=Value(text(body_type, name), body),
        metadata=Value(text(metadata_type, name), metadata),
        refs=refs,
        labels=unpack_map(labels, name),
        reach=number(reach, name),
    )


def pack_write(write: WriteRecord) -> bytes:
    """Everything of a write but its task and index."""
    texts = map(utf8, (write.task_path, write.channel, write.value.type))
    return pack((FORMAT, *texts, write.value.body))


def unpack_write(task_id: str, idx: int, packed: bytes, name: str) -> WriteRecord:
    """Read what `pack_write` wrote."""
    parts = unpack(packed, name)
    if len(parts) != 5 or parts[0] != FORMAT:
        raise CorruptRecord(name, f"its format is {parts[0] if parts else b''!r}, and this version reads {FORMAT!r}")
    _, path, channel, kind, body = parts
    return WriteRecord(
        task_id=task_id,
        idx=idx,
        task_path=text(path, name),
        channel=text(channel, name),
        value=Value(text(kind, name), body),
    )
