"""Runs as one process at a time may change them: values, and the seams that stores implement.

A run is a document of the kind `run` and a log of the kind `event`, both owned by the run's id. While it is live (its
status is not an end) it also has a *control*: who advances it, until when, and what it was told meanwhile. All times
are those of the store's own clock, so no clock of a worker decides anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from storage.records import Change, Entry, Value

ENDS = frozenset({"succeeded", "failed", "cancelled"})
"""Values of the column `status` that a run ends with. A run with another one is live."""
FENCE = "__fencing_token"
"""Key in `configurable`: the token of the writer. Nested graphs get it too, and metadata do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who wants to advance a run, and for how long before it has to renew."""

    holder: str
    """Tells people which process it is."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The run is the caller's to advance, until its lease runs out."""

    token: int
    """Higher than every earlier one of the run, also after the store lost some: at least its time in ms. The fence of
    the run's thread is raised to it, so checkpoints and writes with an older one are refused from now on."""
    state: Entry
    """The run's document."""
    seq: int
    """Of the newest entry of its event log; 0 when there is none."""
    new: bool = False
    """Whether the call created it."""
    crashes: int = 0
    """Holders in a row that let their lease run out without having made progress; this one is not counted."""
    cancelled: bool = False
    """Somebody asked it to stop."""
    spent: bytes = b""
    """What the last holder kept with `keep`."""
    told: int = 0
    """How many answers it has been told so far, for `Released`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The run cannot be advanced by the caller now."""

    why: Literal["held", "ended", "missing", "other"]
    """`held`: somebody else advances it. `other`: the run of this id does not match `expect`."""
    state: Entry | None = None
    holder: str = ""
    seconds: float = 0.0
    """Until the other's lease runs out."""


class Kept(NamedTuple):
    """After an update the caller goes on."""


class Released(NamedTuple):
    """After an update nobody advances the run: it waits, or is handed back."""

    due_in: float | None
    """Seconds after which somebody should take it up; `None`: only when it is told something."""
    told: int = 0
    """How many answers the holder knew of; when there are more by now, the run is due at once."""


class Ended(NamedTuple):
    """After an update the run is not live any more: its control is gone, and its calls are due."""


Then = Kept | Released | Ended
KEPT = Kept()


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What the holder of a run writes, all of it or nothing."""

    change: Change | None = None
    """To its document (`increments` are not allowed: a repeated call would add twice; counters are set)."""
    counters: Mapping[str, float] = field(default_factory=dict[str, float])
    """Counters of the document, as they are from now on; only with `change`."""
    events: Sequence[Change] = ()
    """Appended to its log."""
    after: int = 0
    """`seq` of the log before these events. When the log is further already, an answer was lost: those events
    that are in it are left out. If all are, the call is a repetition and changes nothing, unless it releases or ends
    the run, which nothing has done yet."""
    then: Then = KEPT
    progress: bool = False
    """Whether a step has been finished since the run was acquired: then earlier crashes count no more."""
    keep: bytes | None = None
    """Stored beside the run for the next holder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much is live."""

    tenant: int
    """Runs of the tenant that was asked for."""
    all: int
    due: int
    """Runs that somebody should take up by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A callback that is to be delivered after a run has ended."""

    id: str
    """The same over all attempts: `run id`, a colon, and the number of the callback."""
    run_id: str
    target: str
    """A registered name, or a URL."""
    attempts: int = 0
    """Deliveries that failed so far."""
    error: str = ""
    """Of the last one."""


LeaseState = Literal["held", "cancelled", "lost"]


class RunStore(Protocol):
    """Who may advance a run, and what only they write. Each call is one atomic step by the store's clock.

    Any method may raise `StorageUnavailable`; repeating the call is safe.
    """

    async def enter(
        self,
        run_id: str,
        claim: Claim | None,
        *,
        new: Change | None = None,
        expect: Mapping[str, str] | None = None,
        due_in: float = 0.0,
        calls: Sequence[str] = (),
        again: bool = False,
    ) -> Granted | Refused:
        """Create a run, or take up one that is there.

        Args:
            run_id: The run.
            claim: Who takes it up; without it a run is only created or looked at, and is due in `due_in` seconds. Then
                `Granted.token` is 0.
            new: The first state of its document (with the column `org_id`, its tenant), when it is not there yet. A run
                that is there is not changed by it, but for `again`.
            expect: Columns of a run which is there; when one has another value, the answer is `Refused("other")`. One
                that it has not at all is as good: an older version may have written it.
            due_in: When nobody holds it.
            calls: Targets of callbacks, added when the run is created or begun again.
            again: A run that has ended becomes live again, with `new` merged into its document.

        Raises:
            OutboxFull: the archive has been away for too long for new runs.
        """
        ...

    async def renew(self, held: Mapping[str, int], seconds: float) -> Mapping[str, LeaseState]:
        """Prolong leases: run id → token. `cancelled` is held as well, and asked to stop."""
        ...

    async def update(self, run_id: str, token: int, update: Update) -> int:
        """Write what the holder has to say and return the `seq` of its log.

        Raises:
            Fenced: somebody else holds the run by now, or it has ended. With `Released` or `Kept` and no change and no
                events it is forgiven: a late holder gives back what is not its any more, and no crash is counted.
        """
        ...

    async def cancel(
        self, run_id: str, *, change: Change, events: Sequence[Change]
    ) -> Literal["asked", "ended", "over"]:
        """Ask a run to stop.

        A run that nobody ever took up ends at once: `change` and `events` are applied and its calls are due (`ended`).
        Otherwise its holder hears of it with `renew`, and it is due at once (`asked`). `over`: it is not live.
        """
        ...

    async def tell(self, run_id: str, name: str, value: Value, *, at_most: frozenset[str]) -> bool:
        """Put a field into the document of a live run whose status is one of `at_most`, and make it due.

        The first value of a name counts. Returns whether this one was it; False also when the run is not live, or in
        another state.
        """
        ...

    async def load(self, tenant: str) -> Load:
        """Count what is live."""
        ...


class DueRuns(Protocol):
    """Runs that somebody should take up: handed back, answered, or their holder's lease ran out."""

    async def due(self, limit: int = 1000, skip: int = 0) -> Sequence[str]:
        """Name runs that are due, the longest first; nothing is changed.

        Args:
            limit: At most so many of each partition.
            skip: After so many of each partition.
        """
        ...

    async def defer(self, run_id: str, seconds: float) -> bool:
        """Put a run off that is due; False when somebody did before. Then its next look is theirs."""
        ...

    async def adopt(self, limit: int = 1000) -> int:
        """Make live runs due whose control the store lost, at most so many; return how many there were.

        Cheap when nothing was lost.

        Raises:
            ArchiveUnavailable: they may be in the archive, which cannot be read now.
        """
        ...


class CallOutbox(Protocol):
    """Callbacks of runs that have ended, delivered at least once by whichever process lives."""

    async def add(self, run_id: str, target: str) -> Literal["live", "due"]:
        """Add a callback to a run: it is due when the run ends, or now when it has."""
        ...

    async def claim(self, limit: int, seconds: float) -> Sequence[Call]:
        """Take callbacks that are due; for `seconds` nobody else is given them."""
        ...

    async def settle(self, call: Call, *, retry_in: float | None = None, error: str = "", dead: bool = False) -> None:
        """Say what became of a delivery: done, to be repeated, or given up (`dead`), where people can see it."""
        ...

    async def dead(self) -> Sequence[Call]:
        """Return what was given up."""
        ...

    async def replay(self, call_id: str) -> bool:
        """Make a callback that was given up due again, with no attempts; False when there is none."""
        ...


class LiveRuns(RunStore, DueRuns, CallOutbox, Protocol):
    """All of it, as one store has it."""
