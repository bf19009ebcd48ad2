"""A clock that is wrong, for a whole process.

`python -m tests.chaos.wrong_clock SECONDS MODULE ARGUMENTS…` runs a module with its clocks set ahead before it, or
anything that it imports, can look at them.
"""

import datetime as dt
import runpy
import sys
import time
from typing import Any


def set_wrong(seconds: float) -> None:
    """Let every clock that tells the date be ahead by so many seconds; what measures time is right."""
    real_time, real_ns, real = time.time, time.time_ns, dt.datetime
    ahead = dt.timedelta(seconds=seconds)

    class Kind(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, real)

        def __subclasscheck__(cls, kind: type) -> bool:
            return issubclass(kind, real)

    class Wrong(real, metaclass=Kind):
        """Makes real ones, so that nothing else sees a difference."""

        def __new__(cls, *args: Any, **named: Any) -> Any:
            return real(*args, **named)

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return real.now(tz) + ahead

        @classmethod
        def utcnow(cls) -> Any:
            return real.now(dt.UTC).replace(tzinfo=None) + ahead

    time.time = lambda: real_time() + seconds
    time.time_ns = lambda: real_ns() + int(seconds * 1e9)
    dt.datetime = Wrong


if __name__ == "__main__":
    set_wrong(float(sys.argv.pop(1)))
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
