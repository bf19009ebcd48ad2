"""Workers on many machines: the engine that wakes them up, and what they tell about themselves."""

from typing import TYPE_CHECKING

from goalgraph.workers.health import Beat, Health
from goalgraph.workers.opening import ExtraMissing, next_database, open_engine

if TYPE_CHECKING:
    from goalgraph.workers.dramatiq_engine import DramatiqEngine

__all__ = ["Beat", "DramatiqEngine", "ExtraMissing", "Health", "next_database", "open_engine"]


def __getattr__(name: str) -> object:
    if name != "DramatiqEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from goalgraph.workers.dramatiq_engine import DramatiqEngine  # noqa: PLC0415 - needs what is optional
    except ModuleNotFoundError as error:
        raise ExtraMissing(error.name or "dramatiq") from None
    return DramatiqEngine
