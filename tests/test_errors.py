"""The planner's errors: one root, the built-in errors that callers may catch, and messages that read as text."""

import inspect
import re

import pytest

from planner import errors
from planner.errors import (
    BindingError,
    InvalidRef,
    LimitExceeded,
    ModelError,
    PlannerError,
    UnknownAction,
    closest,
)

DRAWN = re.findall(r"[├└]── (\w+)(?: \(([\w, ]+)\))?", errors.__doc__ or "")
CLASSES = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, PlannerError)
}


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Every class is drawn, and nothing else."""
    assert {name for name, _ in DRAWN} == CLASSES.keys() - {"PlannerError"}


@pytest.mark.parametrize(("name", "builtin"), DRAWN)
def test_an_error_is_also_the_built_in_one_that_the_seeds_raise(name: str, builtin: str) -> None:
    """So code that caught `KeyError` or `ValueError` goes on working."""
    assert issubclass(CLASSES[name], PlannerError)
    for base in filter(None, builtin.split(", ")):
        assert base in {parent.__name__ for parent in CLASSES[name].__mro__}


def test_model_errors_have_a_root_of_their_own() -> None:
    """What a drafting loop catches."""
    below = {name for name, kind in CLASSES.items() if issubclass(kind, ModelError)}

    assert {"ModelError", "ModelRefused", "ModelTruncated", "ModelUnavailable"} == below


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UnknownAction("laod", ["load", "save"]), "unknown action 'laod'; closest: load"),
        (UnknownAction("x", []), "unknown action 'x'; closest: nothing similar"),
        (InvalidRef("load"), "'load' is not an action reference; write action:name@version or flow:name@version"),
        (BindingError("a.x", "it is not there"), "a.x: it is not there"),
        (LimitExceeded("steps", "too many"), "too many (raise the limit 'steps' to allow it)"),
        (PlannerError(), ""),
    ],
)
def test_a_message_is_text_and_not_the_repr_of_a_key(error: PlannerError, message: str) -> None:
    """`str(KeyError("x"))` is `'x'` in quotes; ours is the sentence."""
    assert message == str(error)


def test_the_facts_stay_with_the_error() -> None:
    """For programs."""
    assert ("laod", ["load"]) == (UnknownAction("laod", ["load"]).action, UnknownAction("laod", ["load"]).known)
    assert ("load", "a.x", "steps") == (
        InvalidRef("load").ref,
        BindingError("a.x", "").path,
        LimitExceeded("steps", "").limit,
    )


def test_names_that_are_close_are_found_in_small_and_large_catalogs() -> None:
    """At most three, the closest first."""
    names = [f"find_{kind}_{at}" for kind in ("flights", "hotels", "trains") for at in range(1_000)]

    assert "find_flights_77" == closest("fnid_flihgts_77", names).split(", ")[0]
    assert "load" == closest("laod", ["save", "load", "draw"])
    assert "nothing similar" == closest("zzz", names)
    assert len(closest("find_hotels_5", names).split(", ")) <= 3
