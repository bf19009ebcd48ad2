"""From a Python function to its slots: parameters are inputs, the return annotation gives the outputs."""

import contextlib
import inspect
import re
import typing
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from functools import lru_cache, partial
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, TypeAdapter
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema
from typing_extensions import is_typeddict

from planner.catalog.slot import MISSING, PYTHON_TYPE, JsonSchema, Semantic, Slot
from planner.catalog.spec import ActionContext, Resource
from planner.catalog.typed_dicts import modern
from planner.catalog.values import Codecs, to_plain
from planner.errors import RegistrationError, UnstorableOutput

T = TypeVar("T")

SCHEMA_ERRORS = (
    PydanticSchemaGenerationError,
    PydanticInvalidForJsonSchema,
    PydanticUndefinedAnnotation,
    PydanticUserError,
)

Mode = typing.Literal["validation", "serialization"]


@dataclass(frozen=True, slots=True)
class Signature:
    """What the annotations of a function say."""

    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    returns: Slot
    single_output: bool
    context_parameter: str | None
    resources: Mapping[str, str]
    """Parameter → name of the resource."""


def read_signature(function: Callable[..., Any], codecs: Codecs, names: Mapping[str, Any] | None = None) -> Signature:
    """Read the slots of `function`; `names` are local names that its annotations may use.

    Raises:
        RegistrationError: a parameter or the return value cannot become a slot; the message says what to write.
    """
    hints, bound = _hints(function, names), _bound(function)
    inputs: list[Slot] = []
    context_parameter: str | None = None
    resources: dict[str, str] = {}
    for name, parameter in _parameters(function).items():
        if name in bound:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise RegistrationError(
                f"{_name(function)}: parameter {parameter} has no fixed name; declare each input by name"
            )
        annotation = hints.get(name, Any)
        if ActionContext in (_bare(annotation), *get_args(_bare(annotation))):
            context_parameter = name
        elif (resource := _extra(annotation, Resource)) is not None:
            resources[name] = resource.name
        else:
            inputs.append(_input(function, name, annotation, parameter, codecs))
    returns, outputs, single = _outputs(function, hints.get("return", Any), codecs)
    return Signature(tuple(inputs), outputs, returns, single, context_parameter, resources)


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a `functools.partial` calls in the end; anything else as it is."""
    while isinstance(function, partial):
        function = function.func
    return function


def schema_slots(schema: JsonSchema) -> tuple[Slot, ...]:
    """Return one slot for each property of an object schema, each with the definitions it refers to."""
    target = resolve_local(schema)
    required: list[str] = target.get("required", [])
    return tuple(
        Slot(
            name,
            _with_definitions(part, schema),
            part.get("description"),
            name in required,
            part.get("default", MISSING),
        )
        for name, part in target.get("properties", {}).items()
    )


def resolve_local(schema: JsonSchema) -> JsonSchema:
    """Follow a `$ref` at the top into the schema's own `$defs`."""
    reference = schema.get("$ref", "")
    return schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"), schema)


def close_objects(schema: Any) -> Any:
    """Say of each object with declared properties that it has no others, unless it says otherwise.

    True of what a model, dataclass or TypedDict serialises to; it lets a reference to a missing field be refused.
    """
    if isinstance(schema, dict):
        node: dict[str, Any] = {
            key: close_objects(value) for key, value in typing.cast("dict[str, Any]", schema).items()
        }
        if isinstance(node.get("properties"), dict) and node.get("type") == "object":
            node.setdefault("additionalProperties", False)
        return node
    if isinstance(schema, list):
        return [close_objects(item) for item in typing.cast("list[Any]", schema)]
    return schema


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    target = unwrapped(function)
    if isinstance(target, type):
        raise RegistrationError(f"{target.__name__} is a class; give a function, or an instance that can be called")
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise RegistrationError(f"{_name(function)} is a generator; return a list instead")
    try:
        return inspect.signature(function).parameters
    except (ValueError, TypeError) as error:
        raise RegistrationError(f"{_name(function)} has no signature; wrap it in a function that has one") from error


def _bound(function: Callable[..., Any]) -> set[str]:
    """Return the parameters that a `functools.partial` gives by name; the plan has no say in them."""
    names: set[str] = set()
    while isinstance(function, partial):
        names.update(function.keywords)
        function = function.func
    return names


def _hints(function: Callable[..., Any], names: Mapping[str, Any] | None) -> dict[str, Any]:
    target = unwrapped(function)
    target = target if inspect.isroutine(target) else type(target).__call__
    try:
        return typing.get_type_hints(target, localns=dict(names or {}), include_extras=True)
    except NameError as error:
        raise RegistrationError(
            f"{_name(function)}: the annotation {error.name!r} is not defined where the function can see it; "
            "define or import it before the function is registered"
        ) from None
    except (AttributeError, SyntaxError, TypeError) as error:
        raise RegistrationError(f"{_name(function)}: an annotation cannot be read: {error}") from error


def _input(
    function: Callable[..., Any], name: str, annotation: Any, parameter: inspect.Parameter, codecs: Codecs
) -> Slot:
    place = f"{_name(function)}: parameter {name!r}"
    if isinstance(parameter.default, FieldInfo):
        raise RegistrationError(
            f"{place} has Field(…) as its default; write Annotated[…, Field(…)], and then the default"
        )
    adapter, schema = _adapter(place, annotation, codecs, mode="validation")
    required = parameter.default is inspect.Parameter.empty
    default = MISSING
    if not required:
        try:
            default = to_plain(parameter.default).value
        except UnstorableOutput:
            default = MISSING
    semantic = _extra(annotation, Semantic)
    return Slot(name, schema, schema.get("description"), required, default, semantic and semantic.name, adapter)


def _outputs(function: Callable[..., Any], annotation: Any, codecs: Codecs) -> tuple[Slot, tuple[Slot, ...], bool]:
    place = f"{_name(function)}: the return value"
    adapter, schema = _adapter(place, annotation, codecs, mode="serialization")
    schema = close_objects(schema)
    semantic = _extra(annotation, Semantic)
    whole = Slot("result", schema, semantic=semantic and semantic.name, adapter=adapter)
    kind = _bare(annotation)
    if not isinstance(kind, type) or not _is_record(kind, codecs) or not resolve_local(schema).get("properties"):
        return whole, (whole,), True
    meanings = _meanings(kind)
    return whole, tuple(replace(slot, semantic=meanings.get(slot.name)) for slot in schema_slots(schema)), False


def _is_record(kind: type[Any], codecs: Codecs) -> bool:
    return codecs.of(kind) is None and (issubclass(kind, BaseModel) or is_dataclass(kind) or is_typeddict(kind))


def _meanings(kind: type[Any]) -> dict[str, str]:
    """Return the semantic types of a record's fields, by the names they are serialised under."""
    if issubclass(kind, BaseModel):
        extras = {info.serialization_alias or name: info.metadata for name, info in kind.model_fields.items()}
    else:
        try:
            hints = typing.get_type_hints(kind, include_extras=True)
        except NameError:  # local names; pydantic knows them, `typing` does not
            return {}
        extras = {name: get_args(_required(hint)) for name, hint in hints.items()}
    found = {name: next((one for one in more if isinstance(one, Semantic)), None) for name, more in extras.items()}
    return {name: meaning.name for name, meaning in found.items() if meaning is not None}


def _required(hint: Any) -> Any:
    """Take `Required[…]` and `NotRequired[…]` off."""
    return get_args(hint)[0] if get_origin(hint) in (typing.Required, typing.NotRequired) else hint


def _adapter(place: str, annotation: Any, codecs: Codecs, *, mode: Mode) -> tuple[TypeAdapter[Any] | None, JsonSchema]:
    kind = _bare(annotation)
    if isinstance(kind, type) and codecs.of(kind) is not None:
        return TypeAdapter(Annotated[Any, _InstanceOf(kind)]), {PYTHON_TYPE: f"{kind.__module__}.{kind.__qualname__}"}
    if kind is Any or kind is object:
        return None, {}
    try:
        return _pydantic(annotation, mode) if isinstance(annotation, Hashable) else _read(annotation, mode)
    except SCHEMA_ERRORS as error:
        reason = re.split(r"\. |\n", str(error))[0]
    with contextlib.suppress(*SCHEMA_ERRORS):
        adapter = TypeAdapter(modern(annotation), config=ConfigDict(arbitrary_types_allowed=True))
        return adapter, adapter.json_schema(mode=mode, schema_generator=_schemas_with(codecs))
    shown = inspect.formatannotation(annotation)
    raise RegistrationError(
        f"{place} is annotated {shown}, which has no JSON Schema ({reason}); use plain types, a pydantic model or a "
        f'dataclass, mark it Annotated[…, Resource("name")] if the application provides it, '
        f"or call catalog.add_codec({kind.__name__ if isinstance(kind, type) else 'TheType'}, encode, decode) first"
    )


def _read(annotation: Any, mode: Mode) -> tuple[TypeAdapter[Any], JsonSchema]:
    adapter: TypeAdapter[Any] = TypeAdapter(modern(annotation))
    return adapter, adapter.json_schema(mode=mode)


_pydantic = lru_cache(maxsize=1024)(_read)
"""Most parameters of a large catalog have one of a few types, and reading one takes a third of a millisecond."""


def _schemas_with(codecs: Codecs) -> type[GenerateJsonSchema]:
    """Return pydantic's generator with a schema for types that have a codec, wherever they stand: `list[Image]`."""

    class Generator(GenerateJsonSchema):
        def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> dict[str, Any]:
            kind = schema["cls"]
            if not isinstance(kind, type) or codecs.of(kind) is None:
                return super().is_instance_schema(schema)
            return {PYTHON_TYPE: f"{kind.__module__}.{kind.__qualname__}"}

    return Generator


@dataclass(frozen=True, slots=True)
class _InstanceOf:
    """Lets instances of a type with a codec through, as they are."""

    type: type

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(self.type)


def _with_definitions(part: JsonSchema, whole: JsonSchema) -> JsonSchema:
    definitions = whole.get("$defs")
    return {**part, "$defs": definitions} if definitions and _mentions_ref(part) else part


def _mentions_ref(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return "$ref" in schema or any(
            _mentions_ref(item) for item in typing.cast("Mapping[str, Any]", schema).values()
        )
    return isinstance(schema, list) and any(_mentions_ref(item) for item in typing.cast("list[Any]", schema))


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _extra(annotation: Any, kind: type[T]) -> T | None:
    if get_origin(annotation) is not Annotated:
        return None
    return next((extra for extra in get_args(annotation)[1:] if isinstance(extra, kind)), None)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)
