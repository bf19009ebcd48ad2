"""What has to be read of a thread, by what was acknowledged. Plain values, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.steps import Step, step


class Wrong(AssertionError):
    """A read says something that cannot be."""

    kind = "wrong"


class Missing(Wrong):
    """What was acknowledged is not there."""

    kind = "lost"


class Doubled(Wrong):
    """It is there more than once."""

    kind = "duplicated"


@dataclass
class Known:
    """A step that was asked for."""

    root: int
    sure: bool = False
    """It was acknowledged, or read; otherwise it may be there or not."""
    write_asked: bool = False
    write_sure: bool = False


@dataclass
class ThreadModel:
    """One thread, whose steps are asked for one after the other."""

    name: str
    steps: dict[int, Known] = field(default_factory=dict[int, Known])
    deleted: set[int] = field(default_factory=set[int])
    """Numbers that must not come back."""
    next_number: int = 0

    def begin(self) -> tuple[int, int | None, int]:
        """Take the next step: its number, its parent, and the root of its chain."""
        number, self.next_number = self.next_number, self.next_number + 1
        parent = max((known for known, state in self.steps.items() if state.sure), default=None)
        root = number if parent is None else self.steps[parent].root
        self.steps[number] = Known(root)
        return number, parent, root

    @property
    def settled(self) -> bool:
        """Whether nothing is in doubt."""
        return all(state.sure and state.write_sure == state.write_asked for state in self.steps.values())

    @property
    def sure(self) -> list[int]:
        return [number for number, state in self.steps.items() if state.sure]

    def delete(self) -> None:
        """All of it was deleted."""
        self.deleted |= self.steps.keys()
        self.steps.clear()

    def check_list(self, found: Sequence[Step]) -> None:
        """Compare with all that is read of the thread, newest first.

        Raises:
            Wrong: it cannot be; the message says why.
        """
        numbers = [one.number for one in found]
        if len(set(numbers)) < len(numbers):
            raise Doubled(f"{self.name}: listed more than once, in {numbers}")
        if sorted(numbers, reverse=True) != numbers:
            raise Wrong(f"{self.name}: out of order: {numbers}")
        missing = sorted(set(self.sure) - set(numbers))
        if missing:
            raise Missing(f"{self.name}: {missing} were acknowledged, and only {numbers} are there")
        for one in found:
            self._check(one)

    def check_newest(self, found: Step | None) -> None:
        """Compare with the newest step that is read. Raises: as `check_list`."""
        newest = max(self.sure, default=None)
        if newest is not None and (found is None or found.number < newest):
            raise Missing(f"{self.name}: the newest is {newest}, not {found}")
        if found is not None:
            self._check(found)

    def check_one(self, number: int, found: Step | None) -> None:
        """Compare with one step that was asked for by its number. Raises: as `check_list`."""
        if found is not None:
            if found.number != number:
                raise Wrong(f"{self.name}: {number} was asked for, and {found} is the answer")
            self._check(found)
        elif number in self.steps and self.steps[number].sure:
            raise Missing(f"{self.name}: {number} was acknowledged, and is not there")

    def _check(self, found: Step) -> None:
        known = self.steps.get(found.number)
        if known is None:
            why = "was deleted" if found.number in self.deleted else "was never stored"
            raise Wrong(f"{self.name}: {found.number} {why}, and is there")
        written = step(self.name, found.number, root=known.root, written=True)
        bare = step(self.name, found.number, root=known.root)
        if found == bare and known.write_sure:
            raise Missing(f"{self.name}: the write of {found.number} was acknowledged, and is not there")
        if found != bare and not (found == written and known.write_asked):
            raise Wrong(f"{self.name}: {found} is not what was stored")
        known.sure = True
        known.write_sure = found == written
