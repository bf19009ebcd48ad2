"""Runs in this process: what every other store of runs is compared with, and what a planner without a server uses."""

import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from threading import Lock
from typing import Literal, Self, assert_never

from storage.errors import Fenced
from storage.memory import MemoryCheckpoints, MemoryRecords
from storage.records import Change, Entry, Value
from storage.runs import ENDS, Call, Claim, Ended, Granted, Kept, Load, Refused, Released, Update


def _ticking() -> Callable[[], float]:
    """Return a clock in ms that starts with the time of day and only goes forward."""
    start = time.time() - time.monotonic()
    return lambda: (start + time.monotonic()) * 1000


def _earliest(before: float | None, at: float) -> float:
    return at if before is None else min(before, at)


def _fresh(update: Update, seq: int) -> Sequence[Change]:
    """Return the events of an update that a log as far as `seq` lacks."""
    return update.events[max(0, seq - update.after) :]


@dataclass(slots=True)
class _Control:
    """What is known of a run while it is live. Times are in ms."""

    tenant: str
    token: int = 0
    until: float | None = None
    holder: str = ""
    begun: bool = False
    crashes: int = 0
    forgiven: int = 0
    """A late token whose crash is not counted."""
    cancelled: bool = False
    told: int = 0
    spent: bytes = b""
    due: float | None = None
    """While it is held, of no account."""
    wake: float | None = None
    """Somebody wished it to be due while it was held."""
    calls: dict[int, Call] = field(default_factory=dict[int, Call])


class MemoryRuns:
    """A `RunStore`, `DueRuns` and `CallOutbox` in dictionaries; its methods may be called from any thread.

    Args:
        records: Where documents and logs are.
        checkpoints: Whose fences are raised.
        clock: Gives milliseconds; by default from the time of day on.
        keep: How many runs that have ended stay, with documents and logs; `None` for all.
    """

    def __init__(
        self,
        records: MemoryRecords,
        checkpoints: MemoryCheckpoints | None = None,
        *,
        clock: Callable[[], float] | None = None,
        keep: int | None = None,
    ) -> None:
        self._records = records
        self._checkpoints = checkpoints
        self._clock = clock or _ticking()
        self._keep = keep
        self._lock = Lock()
        self._controls: dict[str, _Control] = {}
        self._tokens: dict[str, int] = {}
        """The newest of each run that is known."""
        self._ended: deque[str] = deque()
        self._calls: dict[str, tuple[float, Call]] = {}
        self._dead: dict[str, Call] = {}
        self._numbers = count(1_000_000)

    @asynccontextmanager
    async def renewer(self) -> AsyncGenerator[Self]:
        """Give itself, for another thread."""
        yield self

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
        """Create a run, or take up one that is there; see `RunStore`."""
        with self._lock:
            now = self._clock()
            state = self._records.newest("run", run_id)
            if state and any(state.columns.get(name, fact) != fact for name, fact in (expect or {}).items()):
                return Refused(why="other", state=state)
            control = self._control(run_id)
            if control is None:
                if new is None or (state and not again):
                    return Refused(why="ended" if state else "missing", state=state)
                control = self._begin(run_id, new, calls)
            if control.until is not None and control.until > now:
                if claim is None:
                    control.wake = _earliest(control.wake, now + due_in * 1000)
                left = (control.until - now) / 1000
                return Refused(why="held", state=state, holder=control.holder, seconds=left)
            if claim is None:
                control.due = _earliest(control.due, now + due_in * 1000)
            else:
                self._take(run_id, control, claim, now)
            return self._granted(run_id, control, token=control.token if claim else 0, new=state is None)

    async def renew(
        self, held: Mapping[str, int], seconds: float
    ) -> Mapping[str, Literal["held", "cancelled", "lost"]]:
        """Prolong leases, also those that ran out and that nobody else took; see `RunStore`."""
        answers: dict[str, Literal["held", "cancelled", "lost"]] = {}
        with self._lock:
            for run_id, token in held.items():
                control = self._control(run_id)
                if control is None or control.token != token or control.until is None:
                    answers[run_id] = "lost"
                    continue
                control.until = control.due = self._clock() + seconds * 1000
                answers[run_id] = "cancelled" if control.cancelled else "held"
        return answers

    async def update(self, run_id: str, token: int, update: Update) -> int:
        """Write what the holder has to say; see `RunStore`."""
        with self._lock:
            control, seq = self._control(run_id), self._seq(run_id)
            if control is None or control.token != token or control.until is None:
                return self._late(run_id, control, token, update)
            fresh = _fresh(update, seq)
            if isinstance(update.then, Kept) and update.events and not fresh:
                return seq
            if update.change is not None:
                self._records.add(update.change, update.counters)
            for event in fresh:
                self._records.add(event)
            if update.progress:
                control.crashes = 0
            if update.keep is not None:
                control.spent = update.keep
            match update.then:
                case Kept():
                    pass
                case Released() as then:
                    self._release(control, then)
                case Ended():
                    self._finish(run_id, control)
                case _:
                    assert_never(update.then)
            return seq + len(fresh)

    async def cancel(
        self, run_id: str, *, change: Change, events: Sequence[Change]
    ) -> Literal["asked", "ended", "over"]:
        """Ask a run to stop; see `RunStore`."""
        with self._lock:
            control = self._control(run_id)
            if control is None:
                return "over"
            if control.begun:
                control.cancelled = True
                self._wake(control)
                return "asked"
            for one in (change, *events):
                self._records.add(one)
            self._finish(run_id, control)
            return "ended"

    async def tell(self, run_id: str, name: str, value: Value, *, at_most: frozenset[str]) -> bool:
        """Put a field into the document of a live run; see `RunStore`."""
        with self._lock:
            control, state = self._control(run_id), self._records.newest("run", run_id)
            if control is None or state is None or name in state.fields or state.columns.get("status") not in at_most:
                return False
            at = datetime.fromtimestamp(self._clock() / 1000, UTC)
            self._records.add(Change(kind="run", owner=run_id, at=at, fields={name: value}))
            control.told += 1
            self._wake(control)
            return True

    async def load(self, tenant: str) -> Load:
        """Count what is live; see `RunStore`."""
        with self._lock:
            controls = self._live()
            tenants = [control.tenant for control in controls.values()]
            return Load(tenant=tenants.count(tenant), all=len(tenants), due=len(self._due(controls)))

    async def due(self, limit: int = 1000, skip: int = 0) -> Sequence[str]:
        """Name runs that are due; see `DueRuns`."""
        with self._lock:
            return [run_id for _, run_id in self._due(self._live())[skip : skip + limit]]

    async def defer(self, run_id: str, seconds: float) -> bool:
        """Put a run off that is due; see `DueRuns`."""
        with self._lock:
            control = self._control(run_id)
            if control is None or control.due is None or control.due > self._clock():
                return False
            control.due = self._clock() + seconds * 1000
            return True

    async def make_due(self, run_id: str) -> bool:
        """Take in a live run that has no control, and make it due; False when it has one, or is not live."""
        with self._lock:
            if run_id in self._controls or (control := self._control(run_id)) is None:
                return False
            control.due = self._clock()
            return True

    async def adopt(self, limit: int = 1000) -> int:
        """Make runs due that are live and have no control, at most `limit`; returns how many."""
        taken = 0
        async for run_id in self._records.owners("run"):
            if taken < limit:
                taken += await self.make_due(run_id)
        return taken

    async def add(self, run_id: str, target: str) -> Literal["live", "due"]:
        """Add a callback to a run; to one that is not there, it is due. See `CallOutbox`."""
        with self._lock:
            control, number = self._control(run_id), next(self._numbers)
            call = Call(id=f"{run_id}:{number}", run_id=run_id, target=target)
            if control is not None:
                control.calls[number] = call
                return "live"
            self._calls[call.id] = self._clock(), call
            return "due"

    async def claim(self, limit: int, seconds: float) -> Sequence[Call]:
        """Take callbacks that are due; see `CallOutbox`."""
        with self._lock:
            now = self._clock()
            taken = [call for at, call in self._calls.values() if at <= now][:limit]
            for call in taken:
                self._calls[call.id] = now + seconds * 1000, call
            return taken

    async def settle(self, call: Call, *, retry_in: float | None = None, error: str = "", dead: bool = False) -> None:
        """Say what became of a delivery; of a callback that somebody else has settled, nothing. See `CallOutbox`."""
        with self._lock:
            if self._calls.pop(call.id, None) is None:
                return
            failed = replace(call, attempts=call.attempts + 1, error=error)
            if dead:
                self._dead[call.id] = failed
            elif retry_in is not None:
                self._calls[call.id] = self._clock() + retry_in * 1000, failed

    async def dead(self) -> Sequence[Call]:
        """Return what was given up; see `CallOutbox`."""
        return list(self._dead.values())

    async def replay(self, call_id: str) -> bool:
        """Make a callback that was given up due again; see `CallOutbox`."""
        with self._lock:
            call = self._dead.pop(call_id, None)
            if call is not None:
                self._calls[call_id] = self._clock(), replace(call, attempts=0, error="")
            return call is not None

    def _control(self, run_id: str) -> _Control | None:
        """Return the control of a live run, also of one that was written without any."""
        state = self._records.newest("run", run_id)
        if state is None:
            self._controls.pop(run_id, None)  # the run was deleted
            return None
        if run_id not in self._controls and state.columns.get("status") not in ENDS:
            self._controls[run_id] = _Control(state.columns.get("org_id", ""), begun=True)
        return self._controls.get(run_id)

    def _begin(self, run_id: str, new: Change, calls: Sequence[str]) -> _Control:
        """Write the first state of a run, or of its next life."""
        numbers = count(1) if self._records.newest("run", run_id) is None else self._numbers
        state = self._records.add(replace(new, must=None, increments={}), new.increments)
        control = _Control("" if state is None else state.columns.get("org_id", ""))
        for target, number in zip(calls, numbers, strict=False):
            control.calls[number] = Call(id=f"{run_id}:{number}", run_id=run_id, target=target)
        self._controls[run_id] = control
        return control

    def _take(self, run_id: str, control: _Control, claim: Claim, now: float) -> None:
        if control.until is not None:
            control.crashes += 1
        control.token = max(int(now), control.token + 1, self._tokens.get(run_id, 0) + 1)
        self._tokens[run_id] = control.token
        control.until = control.due = now + claim.seconds * 1000
        control.holder, control.begun, control.wake = claim.holder, True, None
        if self._checkpoints is not None:
            self._checkpoints.raise_fence(run_id, control.token)

    def _granted(self, run_id: str, control: _Control, *, token: int, new: bool) -> Granted:
        state = self._records.newest("run", run_id)
        if state is None:
            raise LookupError(run_id)
        return Granted(
            token=token,
            state=state,
            seq=self._seq(run_id),
            new=new,
            crashes=control.crashes,
            cancelled=control.cancelled,
            spent=control.spent,
            told=control.told,
        )

    def _late(self, run_id: str, control: _Control | None, token: int, update: Update) -> int:
        """Answer somebody who does not hold the run."""
        newest = control.token if control and control.token else self._tokens.get(run_id, 0)
        seq, ending = self._seq(run_id), isinstance(update.then, Ended)
        if ending and control is None and token == newest and not _fresh(update, seq):
            return seq  # it has ended, and the answer was lost
        if control and control.token == token and isinstance(update.then, Released):
            return seq  # it was given back, and the answer was lost
        if ending or update.events or update.change is not None:
            raise Fenced(run_id, token, newest)
        late = isinstance(update.then, Released) and token < newest
        if control is not None and late and control.crashes and control.forgiven != token:
            control.forgiven = token
            control.crashes -= 1
        return seq

    def _release(self, control: _Control, then: Released) -> None:
        due_in = 0.0 if control.cancelled or control.told > then.told else then.due_in
        control.due = control.wake
        if due_in is not None:
            control.due = _earliest(control.wake, self._clock() + due_in * 1000)
        control.until = control.wake = None
        control.holder = ""

    def _finish(self, run_id: str, control: _Control) -> None:
        del self._controls[run_id]
        for call in control.calls.values():
            self._calls[call.id] = self._clock(), call
        self._ended.append(run_id)
        while self._keep is not None and len(self._ended) > self._keep:
            oldest = self._ended.popleft()
            if oldest not in self._controls and oldest not in self._ended:  # it may have begun again since
                self._records.forget("run", oldest)
                self._records.forget("event", oldest)
                self._tokens.pop(oldest, None)

    def _wake(self, control: _Control) -> None:
        """Make a run due at once, unless somebody holds it."""
        now = self._clock()
        if control.until is None or control.until <= now:
            control.due = _earliest(control.due, now)

    def _live(self) -> dict[str, _Control]:
        found = {run_id: self._control(run_id) for run_id in tuple(self._controls)}
        return {run_id: control for run_id, control in found.items() if control is not None}

    def _due(self, controls: Mapping[str, _Control]) -> list[tuple[float, str]]:
        now = self._clock()
        return sorted((one.due, run_id) for run_id, one in controls.items() if one.due is not None and one.due <= now)

    def _seq(self, run_id: str) -> int:
        newest: Entry | None = self._records.newest("event", run_id)
        return 0 if newest is None else newest.seq
