"""`typing.TypedDict` made readable for pydantic, which before Python 3.12 only reads that of `typing_extensions`."""

import sys
import typing
from functools import reduce
from types import UnionType
from typing import Any, NotRequired, Required, cast, get_args, get_origin

import typing_extensions
from typing_extensions import ReadOnly


def modern(annotation: Any) -> Any:
    """Return `annotation` with every `typing.TypedDict` in it made anew as one of `typing_extensions`."""
    if sys.version_info >= (3, 12):
        return annotation
    return _rewrite(annotation, {})


def _rewrite(annotation: Any, made: dict[Any, Any]) -> Any:
    if isinstance(annotation, type) and type(annotation).__module__ == "typing" and hasattr(annotation, "__total__"):
        return made.get(annotation) or _typed_dict(annotation, made)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not arguments or origin is typing.Literal:
        return annotation
    if origin is typing.Annotated:
        inner = _rewrite(arguments[0], made)
        return annotation if inner is arguments[0] else typing.Annotated[(inner, *arguments[1:])]
    rewritten = tuple(_rewrite(one, made) for one in arguments)
    if all(new is old for new, old in zip(rewritten, arguments, strict=True)):
        return annotation
    if origin in (typing.Union, UnionType):
        return reduce(lambda left, right: left | right, rewritten)
    generic = cast("Any", annotation if hasattr(annotation, "copy_with") else origin)
    return generic.copy_with(rewritten) if generic is annotation else generic[rewritten]


def _typed_dict(kind: Any, made: dict[Any, Any]) -> Any:
    made[kind] = dict[str, Any]  # a TypedDict that contains itself is open below
    hints = typing.get_type_hints(kind, include_extras=True)
    fields: dict[str, Any] = {}
    for name, hint in hints.items():
        while get_origin(hint) in (Required, NotRequired, ReadOnly):
            hint = get_args(hint)[0]  # noqa: PLW2901 - the wrappers come off one by one
        field = _rewrite(hint, made)
        fields[name] = NotRequired[field] if name in kind.__optional_keys__ else Required[field]
    made[kind] = typing_extensions.TypedDict(kind.__name__, fields)  # pyright: ignore[reportArgumentType]  # built at run time
    made[kind].__doc__ = kind.__doc__
    return made[kind]
