"""Values as they are stored: plain data, with blobs for what is large or has a codec of its own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

import pydantic_core
from pydantic import BaseModel, RootModel, SecretBytes, SecretStr, TypeAdapter, ValidationError

from planner.errors import BindingError, UnstorableOutput

ATOMS = (bool, int, float, str, bytes, datetime, date, time, timedelta, Decimal, UUID)
MAX_DEPTH = 200
"""Deeper values are taken for cyclic ones."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How values of one type become bytes and come back."""

    type: type
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]

    @property
    def name(self) -> str:
        """The name that a stored value carries."""
        return f"{self.type.__module__}.{self.type.__qualname__}"


class Codecs:
    """The codecs of a catalog, by type."""

    def __init__(self) -> None:
        self._by_type: dict[type, Codec] = {}
        self._by_name: dict[str, Codec] = {}

    def add(self, codec: Codec) -> None:
        """Register `codec`, in the place of one for the same type."""
        self._by_type[codec.type] = codec
        self._by_name[codec.name] = codec

    def of(self, kind: type) -> Codec | None:
        """Return the codec for `kind` or for its nearest base class that has one."""
        if not self._by_type:
            return None
        return next((self._by_type[base] for base in kind.__mro__ if base in self._by_type), None)

    def named(self, name: str) -> Codec | None:
        """Return the codec that wrote a value with this name."""
        return self._by_name.get(name)


@dataclass(frozen=True, slots=True)
class Plain:
    """A value as plain data, what had to be taken out of it, and how much it weighs."""

    value: Any
    encoded: Sequence[tuple[tuple[str | int, ...], Codec, bytes]]
    """Path, codec and bytes of each part that has a codec; the value holds `None` there."""
    size: int
    """Bytes, roughly: texts and binary by length, everything else by eight."""


def to_plain(value: object, codecs: Codecs | None = None) -> Plain:
    """Turn `value` into JSON-like data, bytes, datetimes, UUIDs and decimals.

    Models and dataclasses become dictionaries, sets sorted lists, keys text. Lists and dictionaries are copied, so
    later changes to `value` do not reach the result.

    Raises:
        UnstorableOutput: a part is neither plain nor of a type with a codec; the message names the part.
    """
    writer = _Writer(codecs or Codecs())
    plain = writer.write(value, ())
    return Plain(plain, writer.encoded, writer.size)


class _Writer:
    """One walk over one value."""

    def __init__(self, codecs: Codecs) -> None:
        self.codecs = codecs
        self.encoded: list[tuple[tuple[str | int, ...], Codec, bytes]] = []
        self.size = 0

    def write(self, value: object, path: tuple[str | int, ...]) -> Any:
        kind = type(value)
        if value is None or kind in ATOMS:
            self.size += len(value) if isinstance(value, str | bytes) else 8
            if (reason := _unwritable(value)) is not None:
                raise UnstorableOutput(f"{_place(path)} {reason}")
            return value
        if len(path) > MAX_DEPTH:
            raise UnstorableOutput(f"{_place(path[:6])}… is nested deeper than {MAX_DEPTH} levels, or contains itself")
        if kind is dict:
            return self._mapping(cast("dict[object, object]", value), path)
        if kind is list or kind is tuple:
            return self._list(cast("Sequence[object]", value), path)
        return self._odd(value, path)

    def _list(self, value: Iterable[object], path: tuple[str | int, ...]) -> list[Any]:
        self.size += 8
        return [self.write(item, (*path, at)) for at, item in enumerate(value)]

    def _mapping(self, value: Mapping[object, object], path: tuple[str | int, ...]) -> dict[str, Any]:
        self.size += 8
        plain: dict[str, Any] = {}
        for key, item in value.items():
            name = _key(key, path)
            if name in plain:
                raise UnstorableOutput(f"{_place(path)} has two keys that both become the text {name!r}")
            self.size += len(name)
            plain[name] = self.write(item, (*path, name))
        return plain

    def _odd(self, value: object, path: tuple[str | int, ...]) -> Any:
        kind = type(value)
        codec = self.codecs.of(kind)
        if codec is not None:
            content = codec.encode(value)
            self.encoded.append((path, codec, content))
            return None
        match value:
            case SecretStr() | SecretBytes():
                raise UnstorableOutput(
                    f"{_place(path)} is a secret; outputs are stored, so return a name for it instead"
                )
            case RootModel():
                return self.write(cast("RootModel[Any]", value).root, path)
            case BaseModel():
                return self._mapping(_model_fields(value), path)
            case Enum():
                return self.write(value.value, path)
            case Mapping():
                return self._mapping(cast("Mapping[object, object]", value), path)
            case set() | frozenset():
                return self._list(_sorted(cast("set[Any]", value)), path)
            case bytearray() | memoryview():
                return self.write(bytes(cast("bytearray", value)), path)
            case PurePath():
                return self.write(str(value), path)
            case _ if isinstance(value, ATOMS):
                return self.write(_atom(value), path)
            case Sequence():
                return self._list(cast("Sequence[object]", value), path)
            case _ if is_dataclass(kind):
                return self._mapping({item.name: getattr(value, item.name) for item in fields(kind)}, path)
            case _:
                name = f"{kind.__module__}.{kind.__qualname__}"
                raise UnstorableOutput(
                    f"{_place(path)} is a {name}, which cannot be stored; return plain data, a model or a dataclass, "
                    f"or give the catalog a codec: catalog.add_codec({kind.__name__}, encode, decode)"
                )


def conform(adapter: TypeAdapter[Any], value: object, place: str) -> Any:
    """Return plain `value` as the Python type of `adapter`: as it is, or as its JSON form, never as another type's.

    Raises:
        BindingError: it does not fit; the message names `place` and the part that does not, never a value.
    """
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError as error:
        problem = error
    if isinstance(value, SecretStr):
        return conform(adapter, value.get_secret_value(), place)
    try:
        content = pydantic_core.to_json(_revealed(value), inf_nan_mode="constants")
        return adapter.validate_json(content, strict=True)
    except ValidationError as error:
        problem = error
    except RecursionError:
        raise BindingError(place, "it is nested too deeply, or contains itself") from None
    except (ValueError, TypeError):  # binary that JSON cannot carry, inside a dataclass that strict mode wants as one
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            problem = error
    raise BindingError(place, describe(problem))


def describe(error: ValidationError) -> str:
    """Say what a validation found wrong, where, and never with the value itself."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" if fault["loc"] else fault["msg"] for fault in faults[:5]
    )


def _unwritable(value: object) -> str | None:
    """Say what of a plain value no store can write: LangGraph's serialiser has 64-bit integers and UTF-8."""
    if type(value) is int and not -(2**63) <= value < 2**64:
        return "is an integer of more than 64 bits; return it as text"
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "is a text with a lone surrogate; decode it with errors='replace'"
    return None


def _key(key: object, path: Sequence[str | int]) -> str:
    """Write a key as JSON does: text; numbers, dates and UUIDs become their text."""
    match key:
        case Enum():
            return _key(key.value, path)
        case str():
            return str(key)
        case bool():
            return "true" if key else "false"
        case int() | float() | Decimal() | UUID():
            return str(key)
        case date() | time():
            return key.isoformat()
        case _:
            kind = type(key).__name__
            raise UnstorableOutput(f"{_place(path)} has a key of type {kind}; keys must be text, numbers or dates")


def _model_fields(model: BaseModel) -> dict[Any, Any]:
    """Return what the JSON Schema of a model promises: by alias, without what is excluded, with what is computed."""
    kind = type(model)
    names = {name: info.serialization_alias for name, info in kind.model_fields.items() if not info.exclude}
    names |= {name: info.alias for name, info in kind.model_computed_fields.items()}
    return {alias or name: getattr(model, name) for name, alias in names.items()} | (model.model_extra or {})


def _atom(value: object) -> object:
    """Return an instance of a subclass, such as numpy's float64 or pandas' Timestamp, as the plain type itself."""
    match value:
        case int():
            return int(value)
        case float():
            return float(value)
        case str():
            return str.__str__(value)
        case bytes():
            return bytes(value)
        case datetime():
            return datetime.combine(_atom_date(value), _atom_time(value))
        case date():
            return _atom_date(value)
        case time():
            return _atom_time(value)
        case timedelta():
            return timedelta(value.days, value.seconds, value.microseconds)
        case Decimal():
            return Decimal(value)
        case UUID():
            return UUID(int=value.int)
        case _:
            raise TypeError(f"{type(value).__name__} is no subclass of a plain type")


def _atom_date(value: date) -> date:
    return date(value.year, value.month, value.day)


def _atom_time(value: datetime | time) -> time:
    return time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)


def _sorted(values: set[Any]) -> list[Any]:
    """Give a set an order that is the same in every process."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)


def _revealed(value: Any) -> Any:
    """Return plain data with the secrets in it as text: JSON would have their stars."""
    match value:
        case SecretStr() | SecretBytes():
            return value.get_secret_value()
        case dict():
            return {key: _revealed(item) for key, item in cast("dict[Any, Any]", value).items()}
        case list() | tuple():
            return [_revealed(item) for item in cast("Sequence[Any]", value)]
        case _:
            return value


def _place(path: Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return f"the part {text.lstrip('.')}" if text else "the value"
