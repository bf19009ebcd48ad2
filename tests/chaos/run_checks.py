"""What must hold of a run in the end, by what was written down of it. Plain values, no I/O."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.runs import ENDS

KINDS = ("not ended", "ended twice", "forked", "repeated", "zombie", "wrong", "callback", "archive", "bug")
"""Of what may be found."""
TERMINAL = ("success", "failure", "cancelled")
Finding = tuple[str, str]


@dataclass(frozen=True)
class Line:
    """A line of the journal that tells of a run: `take`, `call` or `told`."""

    kind: str
    pid: int
    name: str = ""
    token: int = 0
    status: str = ""


@dataclass(frozen=True)
class RunStory:
    """Everything that is known of a run."""

    run: str
    lines: Sequence[Line]
    """In the order in which they were written."""
    status: str | None
    """Of the record; `None` without one."""
    outputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    events: Sequence[tuple[str, str | None]] = ()
    """Phase and step, in order."""
    checkpoints: Sequence[tuple[str, str, str | None]] = ()
    """Namespace, id and parent."""

    error: str = ""

    @property
    def lives(self) -> int:
        """How often somebody was given it to advance."""
        return sum(line.kind == "take" for line in self.lines)

    @property
    def calls(self) -> Sequence[str]:
        return [line.name for line in self.lines if line.kind == "call"]

    @property
    def duplicates(self) -> int:
        """Calls that were made before."""
        return len(self.calls) - len(set(self.calls))


def check(
    story: RunStory,
    needs: Mapping[str, frozenset[str]],
    expected: Mapping[str, Any],
    ends: Collection[str] = ("succeeded",),
) -> Iterator[Finding]:
    """Find what is wrong with a run.

    Args:
        story: What is known of it.
        needs: By call: the calls that must have been acknowledged before it.
        expected: Its outputs, undisturbed.
        ends: With which it may have ended; one that was cancelled need not have called everything.
    """
    if story.status not in ends:
        yield ("wrong" if story.status in ENDS else "not ended"), f"it is {story.status}: {story.error}"
    elif story.status != "cancelled":
        if story.outputs != expected:
            yield "wrong", f"{story.outputs} is not {expected}"
        if missing := needs.keys() - set(story.calls):
            yield "wrong", f"it {story.status} and never called {sorted(missing)}"
    yield from _events(story)
    yield from _checkpoints(story)
    yield from _calls(story, needs)
    told = [line.status for line in story.lines if line.kind == "told"]
    if story.status is not None and (not told or set(told) != {story.status}):
        yield "callback", f"{told} was told of a run that {story.status}"


def _events(story: RunStory) -> Iterator[Finding]:
    ends = [phase for phase, step in story.events if phase in TERMINAL and step is None]
    if len(ends) > 1:
        yield "ended twice", f"it ended with {ends}"
    if story.status in ENDS and (not ends or story.events[-1][0] != ends[-1]):
        yield "wrong", f"its events end with {story.events[-3:]}"
    done: set[str | None] = set()
    for phase, step in story.events:
        if phase == "step_start" and step in done:
            yield "repeated", f"{step} starts after its success"
        if phase == "step_success":
            if step in done:
                yield "repeated", f"{step} succeeds again"
            done.add(step)


def _checkpoints(story: RunStory) -> Iterator[Finding]:
    children: defaultdict[tuple[str, str | None], list[str]] = defaultdict(list)
    for space, name, parent in story.checkpoints:
        children[space, parent].append(name)
    for (space, parent), names in children.items():
        if len(names) > 1:
            yield "forked", f"{parent} in {space!r} has the children {names}"


def _calls(story: RunStory, needs: Mapping[str, frozenset[str]]) -> Iterator[Finding]:
    """A call may be repeated only by a later life, and only before anything that needs it was called.

    A process that was stopped between its last look at the lease and the call makes that one call after the run was
    given to another; it is late. What it must not do is to go on from there.
    """
    finished: set[str] = set()
    late: defaultdict[int, set[str]] = defaultdict(set)
    holder, token, here = 0, 0, set[str]()
    for line in story.lines:
        if (
            line.kind == "take" and line.token >= token
        ):  # a process may be stopped before it writes that it was given it
            holder, token, here = line.pid, line.token, set()
            late.pop(holder, None)
        if line.kind != "call":
            continue
        if line.pid != holder:
            if needs[line.name] & late[line.pid]:
                yield "zombie", f"{line.pid} goes on with {line.name} after {holder} was given the run"
            late[line.pid].add(line.name)
            continue
        if line.name in finished:
            yield "repeated", f"{line.name} is called after what needs it"
        if line.name in here:
            yield "repeated", f"{line.name} is called twice by the same process"
        here.add(line.name)
        finished |= needs[line.name]
    for name, times in Counter(story.calls).items():
        if times > story.lives:
            yield "repeated", f"{name} was called {times} times in {story.lives} lives"


def late_calls(story: RunStory) -> int:
    """Count calls by a process to which the run did not belong any more."""
    holder, token, count = 0, 0, 0
    for line in story.lines:
        if line.kind == "take" and line.token >= token:
            holder, token = line.pid, line.token
        count += line.kind == "call" and line.pid != holder
    return count
