"""Reading a plan from a file or stdin."""

import os
import sys
from pathlib import Path

from goalgraph.cli.exits import CommandError, Exit
from planner.limits import Limits
from planner.plan import CandidatePlan
from planner.plan.reading.decode import Decoded, decode_plan

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
SHAPE = 'a plan is one JSON object: {"steps": [{"id": …, "action": …, "inputs": {…}}, …]}'


def names_a_file(subject: str) -> bool:
    """Tell a plan's file from a goal in words."""
    return subject == "-" or subject.endswith(".json") or os.path.exists(subject)  # noqa: PTH110 - a goal may be no path at all, for which Path.exists raises


def read_plan(source: str, limits: Limits | None = None) -> Decoded:
    """Read a plan as far as it can be read; faults inside it are issues.

    Raises:
        CommandError: there is no file, or nothing in it that could be a plan.
    """
    limits = limits or Limits()
    name = "stdin" if source == "-" else source
    data = _bytes(source, limits.plan_bytes + 1)
    if not data.strip():
        raise CommandError(f"{name} is empty; {SHAPE}", Exit.INVALID_PLAN)
    if b"\x00" in data[:4096] and not data.startswith(UTF_16):
        raise CommandError(f"{name} is a binary file; {SHAPE}", Exit.INVALID_PLAN)
    return decode_plan(data, limits)


def need_plan(source: str, limits: Limits | None = None) -> CandidatePlan:
    """Read a plan that has to be there, as `draw` needs it.

    Raises:
        CommandError: there is none.
    """
    decoded = read_plan(source, limits)
    if decoded.plan is None:
        name = "stdin" if source == "-" else source
        faults = "; ".join(issue.message for issue in decoded.issues[:3])
        raise CommandError(f"{name} holds no plan: {faults}", Exit.INVALID_PLAN)
    return decoded.plan


def _bytes(source: str, limit: int) -> bytes:
    if source == "-":
        return sys.stdin.buffer.read(limit)
    path = Path(source)
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except IsADirectoryError:
        raise CommandError(f"{source} is a folder; give a plan's file, or the goal as a sentence") from None
    except FileNotFoundError:
        raise CommandError(f"there is no file {source}; make a plan with: goalgraph plan GOAL --out {source}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"{source} cannot be read: {reason}") from None
