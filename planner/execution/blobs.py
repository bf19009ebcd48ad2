"""Parts of an output that are too large or too odd for a record: into the blob store and back."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from planner.catalog import ActionSpec, Codecs, to_plain
from planner.errors import BindingError
from planner.execution.attempt import Returned
from planner.execution.outcome import BlobPart, StepOutcome
from storage.errors import BlobNotFound, CorruptRecord, StorageError
from storage.protocols import BlobStore
from storage.records import Value
from storage.serde import ValueCodec, strict_serializer

_PLAIN = ValueCodec(strict_serializer())


async def set_aside(returned: Returned, spec: ActionSpec, blobs: BlobStore, largest: int) -> tuple[Any, list[BlobPart]]:
    """Store what does not belong in a record; return the value without it, and where it went."""
    return await set_aside_value(returned, blobs, largest, [] if spec.single_output else list(returned.value))


async def set_aside_value(
    returned: Returned, blobs: BlobStore, largest: int, names: Sequence[str] = ()
) -> tuple[Any, list[BlobPart]]:
    """As `set_aside`; with `names` the value is an object, and each of its fields is stored by itself."""
    parts: list[BlobPart] = []
    for path, codec, content in returned.encoded:
        parts.append((path, await _put(blobs, content), codec.name, len(content)))
    if returned.size <= largest:
        return returned.value, parts
    value = returned.value
    fields: Sequence[tuple[str | int, ...]] = [(name,) for name in names] or [()]
    taken = {path for path, *_ in parts}
    for path in fields:
        part = value if not path else value[path[0]]
        size = to_plain(part).size
        if size > largest and not any(tuple(other[: len(path)]) == path for other in taken):
            content = _PLAIN.dump([part]).body
            parts.append((path, await _put(blobs, content), "", len(content)))
            value = replace_at(value, path, None)
    return value, parts


async def _put(blobs: BlobStore, content: bytes) -> str:
    """Store a part; whatever a store raises is its failure, never that of the action whose output it is."""
    try:
        return await blobs.put(content)
    except StorageError:
        raise
    except Exception as error:  # any store may be behind the protocol, each with errors of its own
        raise StorageError(f"the blob store failed with {type(error).__name__}: {error}") from error


async def load(outcome: StepOutcome, blobs: BlobStore, codecs: Codecs) -> Any:
    """Return the whole value of an outcome.

    Raises:
        CorruptRecord: the store does not hold a part, or holds something else; the message names the step.
        BindingError: a part was written by a codec that the catalog does not have.
    """
    value = outcome.value
    for path, digest, name, _ in outcome.blobs:
        try:
            content = await blobs.get(digest)
        except BlobNotFound as error:  # the record refers to it, so that it is absent means that it is lost
            raise CorruptRecord(_key(outcome.step_id), str(error)) from error
        except CorruptRecord as error:
            raise CorruptRecord(_key(outcome.step_id), f"{error.key}: {error.reason}") from error
        value = replace_at(value, path, decode(content, name, codecs, outcome.step_id))
    return value


def _key(step_id: str) -> str:
    return f"output of step {step_id}"


def live_value(returned: Returned) -> Any:
    """Return the whole value of what an action has just returned, without going through the store."""
    value = returned.value
    for path, codec, content in returned.encoded:
        value = replace_at(value, path, codec.decode(content))
    return value


def decode(content: bytes, name: str, codecs: Codecs, place: str) -> Any:
    """Read one stored part."""
    if not name:
        return cast("list[Any]", _PLAIN.load(Value("msgpack", content), _key(place)))[0]
    codec = codecs.named(name)
    if codec is None:
        raise BindingError(place, f"its output was stored with a codec for {name}; add it with catalog.add_codec")
    return codec.decode(content)


def replace_at(value: Any, path: Sequence[str | int], part: Any) -> Any:
    """Return `value` with `part` at `path`; what lies on the way is copied, the rest is shared."""
    if not path:
        return part
    first, *rest = path
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value)
        return {**entries, str(first): replace_at(entries[str(first)], rest, part)}
    items = list(cast("Sequence[Any]", value))
    items[int(first)] = replace_at(items[int(first)], rest, part)
    return items
