"""From values to bytes and back: LangGraph's encoding, read strictly, and encrypted when there is a key.

Only known types are rebuilt, pickles are neither written nor read, and bytes that cannot be read are an error;
LangGraph hands back the raw payload instead, which is a value of another type.

What does not come back as it was is LangGraph's encoding:

- tuples become lists, except in a set and as the key of a dictionary;
- a `bytearray` or `memoryview` inside another value becomes `bytes`;
- keys that are a UUID, date or enum become text;
- subclasses of `str` and `dict` become these, and an exception becomes its `repr`;
- half of a surrogate pair becomes "?", and the zone of a datetime becomes its offset;
- a numpy array of records loses the names of its fields, and one of objects can be written and never be read.

Integers over 64 bits, numpy scalars and whatever has no encoding are refused when they are written (`TypeError`).
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from importlib import import_module
from typing import Any, cast

import ormsgpack
from langchain_core.load.load import Reviver
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_DELTA_SNAPSHOT,
    EXT_METHOD_SINGLE_ARG,
    EXT_NUMPY_ARRAY,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)
from langgraph.checkpoint.serde.types import _DeltaSnapshot  # pyright: ignore[reportPrivateUsage]  # what extension 7 is
from langgraph.types import Send
from pydantic import BaseModel

from storage.errors import CorruptRecord, ForbiddenType
from storage.records import Value

AllowedType = type | tuple[str, ...] | str
"""A class, its module and name, or `"package.module:Name"`."""

_UNNAMED = "a value"
"""Stands for the key, which a serializer does not know; `ValueCodec` puts the key in its place."""
_OBJECTS_IN_JSON = ("constructor", "secret", "not_implemented")
_PATHS_OF_JSON = Reviver(allowed_objects="messages").import_mappings
"""LangChain's constructors in JSON name classes by where they once were."""


class ValueCodec:
    """Values to `Value` and back, by any serializer; failures name the key.

    Args:
        serde: Reads and writes; one that was given by a user is used as it is.
    """

    def __init__(self, serde: SerializerProtocol) -> None:
        self.serde = serde
        self._dumps = serde.dumps_typed
        self._loads = serde.loads_typed

    @cached_property
    def encrypted(self) -> bool:
        """Whether what is written is encrypted: LangGraph then puts a plus into the type (`msgpack+aes`)."""
        return "+" in self._dumps(None)[0]

    def dump(self, value: object) -> Value:
        """Encode `value`; nothing of the result changes with it later.

        Raises:
            TypeError: it has no encoding.
        """
        kind, body = self._dumps(value)
        return Value(kind, body if type(body) is bytes else bytes(body))  # LangGraph returns a bytearray itself

    def load(self, value: Value, key: str) -> Any:
        """Decode what `dump` wrote.

        Raises:
            ForbiddenType: it names a type that may not be loaded.
            CorruptRecord: it cannot be read.
        """
        try:
            return self._loads(value)
        except ForbiddenType as error:
            raise ForbiddenType(key, error.type_name) from error
        except CorruptRecord as error:
            raise CorruptRecord(key, error.reason) from error
        except Exception as error:  # serializers and ciphers raise anything
            why = _words(error)
            raise CorruptRecord(key, f"wrong key or changed bytes ({why})" if "+" in value.type else why) from error


def strict_serializer(allowed_types: Iterable[AllowedType] = ()) -> JsonPlusSerializer:
    """Return LangGraph's serializer, which loads plain data, the types that LangGraph holds for safe, and these.

    Args:
        allowed_types: At the top level of their modules, because only module and name are stored.

    Raises:
        ValueError: one of them can never be found by its name.
    """
    return _StrictSerializer(frozenset(map(_module_and_name, allowed_types)))


def encrypted(serde: SerializerProtocol, key: bytes) -> EncryptedSerializer:
    """Return a serializer that writes what `serde` writes, encrypted and authenticated (AES in EAX mode).

    It also reads what was written without encryption, so it does not tell whether somebody who can write to the store
    put a value there.

    Args:
        serde: Strict, for what is not trusted.
        key: 16, 24 or 32 bytes.

    Raises:
        ValueError: the key has another length.
    """
    if len(key) not in {16, 24, 32}:
        raise ValueError(f"a key for AES has 16, 24 or 32 bytes, and this one has {len(key)}")
    return EncryptedSerializer.from_pycryptodome_aes(serde, key=key)


class _StrictSerializer(JsonPlusSerializer):
    """Writes as LangGraph does, and raises `CorruptRecord` or `ForbiddenType` where LangGraph would guess."""

    def __init__(self, allowed: frozenset[tuple[str, ...]]) -> None:
        super().__init__(pickle_fallback=False, allowed_json_modules=None, allowed_msgpack_modules=allowed or None)
        self._allowed = allowed | SAFE_MSGPACK_TYPES

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> "JsonPlusSerializer":
        """Return one that loads these types too: LangGraph asks for those of a graph's state."""
        merged = set(self._allowed)
        for kind in extra_allowlist:
            merged.add((kind.__module__, kind.__name__) if isinstance(kind, type) else kind)
        return self if merged <= self._allowed else _StrictSerializer(frozenset(merged))

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, body = data
        match kind:
            case "null":
                return None
            case "bytes":
                return body
            case "bytearray":
                return bytearray(body)
            case "msgpack":
                return _Decoding(self._allowed).read(body)
            case "json":
                return _Decoding(self._allowed).read_json(body)
            case "pickle":
                raise CorruptRecord(_UNNAMED, "it is a pickle, and these are never loaded")
            case _ if "+" in kind:
                raise CorruptRecord(_UNNAMED, f"it is encrypted ({kind}), and no key is given")
            case _:
                raise CorruptRecord(_UNNAMED, f"no way is known to read {kind!r}")


class _Decoding:
    """Reading one value. ormsgpack hides what its hook raises, so the first failure is kept here.

    A type that may not be loaded leaves a hole and reading goes on, so that all such types are named at once.
    """

    __slots__ = ("_allowed", "_failure", "_forbidden")

    def __init__(self, allowed: frozenset[tuple[str, ...]]) -> None:
        self._allowed = allowed
        self._failure: Exception | None = None
        self._forbidden: dict[str, None] = {}

    def read(self, body: bytes) -> Any:
        try:
            value = self._unpack(body)
        except Exception as error:  # stored bytes may make anything fail
            if not self._forbidden:
                raise _as_corrupt(self._failure or error) from error
            value = None
        if self._forbidden:
            raise ForbiddenType(_UNNAMED, ", ".join(self._forbidden))
        return value

    def read_json(self, body: bytes) -> Any:
        try:
            return json.loads(body, object_hook=self._revive)
        except Exception as error:  # as above
            raise _as_corrupt(error) from error

    def _unpack(self, body: bytes) -> Any:
        return ormsgpack.unpackb(body, ext_hook=self._extension, option=ormsgpack.OPT_NON_STR_KEYS)

    def _extension(self, code: int, body: bytes) -> Any:
        try:
            return self._rebuild(code, self._unpack(body))
        except ForbiddenType as error:
            self._forbidden[error.type_name] = None
            return None
        except Exception as error:  # it is raised again
            self._failure = self._failure or error
            raise

    def _rebuild(self, code: int, payload: Any) -> Any:
        """Make the object that an extension stands for."""
        if code == EXT_DELTA_SNAPSHOT:
            return _DeltaSnapshot(payload)
        if code == EXT_NUMPY_ARRAY:
            return _array(*payload)
        module, name, content, *method = payload
        found = self._find(module, name)
        if code == EXT_METHOD_SINGLE_ARG and method != ["fromisoformat"]:  # the only one that LangGraph writes
            raise ForbiddenType(_UNNAMED, f"{module}:{name}.{method}")
        try:
            return _make(code, found, content)
        except Exception as error:  # a constructor may raise anything
            raise CorruptRecord(_UNNAMED, f"its {module}:{name} cannot be rebuilt ({_words(error)})") from error

    def _revive(self, found: dict[str, Any]) -> Any:
        """Make the object that a constructor in JSON stands for; only old versions of LangGraph wrote these."""
        version, path = found.get("lc"), found.get("id")
        if version not in (1, 2) or found.get("type") not in _OBJECTS_IN_JSON or not isinstance(path, list):
            return found
        path = tuple(cast("list[str]", path))
        *module, name = _PATHS_OF_JSON.get(path, path) if version == 1 else path
        make = self._find(".".join(module), name)
        return make(*(found.get("args") or ()), **(found.get("kwargs") or {}))

    def _find(self, module: str, name: str) -> Callable[..., Any]:
        """Return a class that may be loaded; nothing is imported before that is known."""
        if (module, name) not in self._allowed:
            raise ForbiddenType(_UNNAMED, f"{module}:{name}")
        if module == "pathlib._local":  # where Python 3.13 has its paths, and no other version
            module = "pathlib"
        home = sys.modules.get(module) or import_module(module)  # found without the import's lock, as it mostly is
        return getattr(home, name)


def _make(code: int, found: Any, content: Any) -> Any:
    """Call a type that may be loaded the way its extension says."""
    if code == EXT_CONSTRUCTOR_SINGLE_ARG:
        return found(map(_hashable, content) if found in {set, frozenset} else content)
    if code == EXT_CONSTRUCTOR_POS_ARGS:
        if found is Send and len(content) == 3:
            return Send(content[0], content[1], timeout=content[2])
        return found(*content)
    if code in {EXT_CONSTRUCTOR_KW_ARGS, EXT_PYDANTIC_V1}:
        return found(**content)
    if code == EXT_METHOD_SINGLE_ARG:
        return found.fromisoformat(content)
    if code == EXT_PYDANTIC_V2:
        return _model(found, content)
    raise ValueError(f"extension {code} is not known")


def _as_corrupt(error: Exception) -> CorruptRecord:
    if isinstance(error, CorruptRecord):
        return error
    return CorruptRecord(_UNNAMED, _words(error))


def _words(error: Exception) -> str:
    """Return its first line: the others of a validation error show the values."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"


def _model(make: Any, fields: Any) -> Any:
    """Validate what `model_dump` gave: names in place of aliases, and computed fields among the others."""
    if not issubclass(make, BaseModel):
        return make(**fields)
    if isinstance(fields, Mapping):
        computed = make.model_computed_fields
        if computed:
            fields = {name: part for name, part in cast("Mapping[str, Any]", fields).items() if name not in computed}
    return make.__pydantic_validator__.validate_python(fields, by_alias=True, by_name=True)  # a third faster


def _hashable(part: Any) -> Any:
    """Return a member of a set: a list there can only have been a tuple."""
    return tuple(map(_hashable, cast("list[Any]", part))) if isinstance(part, list) else part


def _array(kind: str, shape: Any, order: Any, body: bytes) -> Any:
    numpy = import_module("numpy")
    flat = numpy.frombuffer(body, dtype=numpy.dtype(kind))
    return flat.reshape(shape, order=order).copy(order="K")  # `frombuffer` cannot be written to


def _module_and_name(allowed: AllowedType) -> tuple[str, ...]:
    if isinstance(allowed, str):
        module, colon, name = allowed.partition(":")
        if not (module and colon and name.isidentifier()):
            raise ValueError(f"{allowed!r} names no type that may be loaded; write 'package.module:Name'")
        return module, name
    if isinstance(allowed, tuple):
        return allowed
    module, name = allowed.__module__, allowed.__name__
    if getattr(sys.modules.get(module), name, None) is not allowed:
        raise ValueError(
            f"{allowed.__qualname__!r} cannot be loaded: stored bytes name module and name only, so it has to stand at "
            f"the top level of {module}"
        )
    return module, name
