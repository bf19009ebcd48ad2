"""How a document or log entry is written down: names and values in turn, packed.

`v` is the format, `at` the microseconds since 1970; `f:name` a field (type␀bytes), `c:name` a column, `n:name` a
counter. A document's hash (`o:`) has the same names, so that Lua packs a state by joining what HGETALL returns.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from storage.errors import CorruptRecord
from storage.packing import pack, text, unpack, utf8
from storage.records import Change, Entry, Kind, Value

FORMAT = b"1"
"""Of entries; another one needs a migration."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def pairs_of(at: datetime, fields: Mapping[str, Value], columns: Mapping[str, str]) -> list[bytes]:
    """Names and values, in turn, of all but the counters."""
    pairs = [b"v", FORMAT, b"at", str((at - _EPOCH) // _MICROSECOND).encode()]
    for name, value in fields.items():
        pairs += (_name("f", name), utf8(value.type) + b"\0" + value.body)
    for name, fact in columns.items():
        pairs += (_name("c", name), utf8(fact))
    return pairs


def counters_of(counters: Mapping[str, float]) -> list[bytes]:
    """Names and numbers, in turn."""
    return [part for name, number in counters.items() for part in (_name("n", name), repr(float(number)).encode())]


def pack_change(change: Change) -> bytes:
    """An entry of a log, as it is stored."""
    return pack(pairs_of(change.at, change.fields, change.columns) + counters_of(change.increments))


def pack_entry(entry: Entry) -> bytes:
    """What `unpack_entry` reads."""
    return pack(entry_pairs(entry))


def entry_pairs(entry: Entry) -> list[bytes]:
    """Names and values, in turn."""
    return pairs_of(entry.at, entry.fields, entry.columns) + counters_of(entry.counters)


def unpack_entry(kind: Kind, owner: str, seq: int, packed: bytes) -> Entry:
    """Read an entry of `l:`.

    Raises:
        CorruptRecord: it is none.
    """
    return entry_of(kind, owner, seq, unpack(packed, f"{kind}/{owner}/{seq}"))


def entry_of(kind: Kind, owner: str, seq: int, pairs: Iterable[bytes]) -> Entry:
    """Read names and values, in turn.

    Raises:
        CorruptRecord: they are no entry.
    """
    key = f"{kind}/{owner}/{seq}"
    parts = list(pairs)
    stored = dict(zip(parts[::2], parts[1::2], strict=False))
    if len(parts) % 2 or stored.get(b"v") != FORMAT:
        raise CorruptRecord(key, f"its format is {stored.get(b'v', b'')!r}, and this version reads {FORMAT!r}")
    fields: dict[str, Value] = {}
    columns: dict[str, str] = {}
    counters: dict[str, float] = {}
    try:
        for label, value in stored.items():
            letter, _, name = text(label, key).partition(":")
            match letter:
                case "f":
                    kind_of_value, _, body = value.partition(b"\0")
                    fields[name] = Value(text(kind_of_value, key), body)
                case "c":
                    columns[name] = text(value, key)
                case "n":
                    counters[name] = float(value)
                case _:
                    pass  # `v` and `at`
        at = _EPOCH + int(stored[b"at"]) * _MICROSECOND
    except (KeyError, ValueError, OverflowError) as error:
        raise CorruptRecord(key, str(error)) from None
    return Entry(kind=kind, owner=owner, seq=seq, at=at, fields=fields, columns=columns, counters=counters)


def _name(letter: str, name: str) -> bytes:
    return utf8(f"{letter}:{name}")
