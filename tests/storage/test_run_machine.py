"""Runs in Redis do what runs in memory do, whatever is asked in whatever order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from storage.errors import Fenced
from storage.memory import MemoryCheckpoints, MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.records import Value
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.keys import Keys
from storage.redis.records import RedisRecords
from storage.redis.runs import RedisRuns
from storage.runs import Call, Claim, Ended, Granted, Kept, Refused, Released, Update
from tests.support.run_stores import AT, RunPlace, events, new_run, told

RUNS = st.sampled_from(["a", "b"])
STATUSES = st.sampled_from(["pending", "running", "waiting"])
THENS = st.sampled_from([Kept(), Ended(), Released(None), Released(0.0), Released(1000, 1)])
START = AT.timestamp() * 1000


class Machine(RuleBasedStateMachine):
    """Each step is taken in both stores; tokens and the ids of callbacks are each store's own."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.client = self.loop.run(RedisClient.open(self.url, keys=Keys(uuid4().hex), cold=False))
        records, checkpoints = MemoryRecords(), MemoryCheckpoints()
        memory = MemoryRuns(records, checkpoints, clock=lambda: START)
        self.places = (
            RunPlace(memory, records, checkpoints),
            RunPlace(RedisRuns(self.client), RedisRecords(self.client), RedisCheckpoints(self.client)),
        )
        self.tokens: list[tuple[str, tuple[int, int]]] = []
        self.claimed: list[tuple[Call, Call]] = []

    def teardown(self) -> None:
        self.loop.run(self.client.aclose())
        self.loop.close()

    def both(self, call: Callable[[RunPlace, int], Awaitable[Any]]) -> tuple[Any, Any]:
        async def all_of() -> list[Any]:
            return [await call(place, n) for n, place in enumerate(self.places)]

        one, other = self.loop.run(all_of())
        return one, other

    def same(self, call: Callable[[RunPlace, int], Awaitable[Any]]) -> None:
        one, other = self.both(call)
        assert one == other

    @rule(
        run=RUNS,
        claimed=st.booleans(),
        new=st.booleans(),
        again=st.booleans(),
        status=st.none() | STATUSES,
        due_in=st.sampled_from([0.0, 1000.0]),
    )
    def enter(self, *, run: str, claimed: bool, new: bool, again: bool, status: str | None, due_in: float) -> None:
        async def enter(place: RunPlace, _: int) -> Any:
            return await place.runs.enter(
                run,
                Claim(holder="h", seconds=1000) if claimed else None,
                new=new_run(run, tenant=run, increments={"n": 1}) if new else None,
                expect=None if status is None else {"status": status},
                due_in=due_in,
                calls=["x", "y"],
                again=again,
            )

        one, other = self.both(enter)
        assert entered(one) == entered(other)
        if claimed and isinstance(one, Granted):
            assert all(pair < new for owner, pair in self.tokens for new in [(one.token, other.token)] if owner == run)
            self.tokens.append((run, (one.token, other.token)))

    @precondition(lambda self: self.tokens)
    @rule(
        choice=st.integers(min_value=0, max_value=3),
        status=st.none() | STATUSES,
        several=st.integers(min_value=0, max_value=2),
        known=st.integers(min_value=0, max_value=2),
        then=THENS,
        progress=st.booleans(),
        keep=st.none() | st.just(b"\0kept"),
    )
    def update(
        self,
        *,
        choice: int,
        status: str | None,
        several: int,
        known: int,
        then: Any,
        progress: bool,
        keep: bytes | None,
    ) -> None:
        """So many of its events have been stored before, by a call whose answer was lost."""
        run, tokens = self.tokens[-1 - choice % len(self.tokens)]
        written = "succeeded" if then == Ended() else status

        async def update(place: RunPlace, n: int) -> Any:
            newest = await place.records.latest("event", run)
            asked = Update(
                change=None if written is None else new_run(run, status=written, tenant=run),
                counters={"n": float(several)},
                events=events(run, *["e", "f"][:several]),
                after=0 if newest is None else newest.seq,
                then=then,
                progress=progress,
                keep=keep,
            )
            try:
                if stored := asked.events[:known]:
                    await place.runs.update(run, tokens[n], Update(events=stored, after=asked.after))
                return await place.runs.update(run, tokens[n], asked)
            except Fenced:
                return "fenced"

        self.same(update)

    @precondition(lambda self: self.tokens)
    @rule(choice=st.integers(min_value=0, max_value=3))
    def renew(self, choice: int) -> None:
        run, tokens = self.tokens[-1 - choice % len(self.tokens)]
        self.same(lambda place, n: place.runs.renew({run: tokens[n], "none": 1}, 1000))

    @rule(run=RUNS)
    def cancel(self, run: str) -> None:
        change = new_run(run, status="cancelled", tenant=run)
        self.same(lambda place, _: place.runs.cancel(run, change=change, events=events(run, "c")))

    @rule(run=RUNS, name=st.sampled_from("pq"), status=STATUSES)
    def tell(self, run: str, name: str, status: str) -> None:
        value, at_most = Value("t", b"\0"), frozenset({status, "running"})
        self.same(lambda place, _: place.runs.tell(run, name, value, at_most=at_most))

    @rule(run=RUNS)
    def defer(self, run: str) -> None:
        self.same(lambda place, _: place.runs.defer(run, 1000))

    @rule(run=RUNS)
    def make_due(self, run: str) -> None:
        self.same(lambda place, _: place.runs.make_due(run))

    @rule(run=RUNS)
    def delete(self, run: str) -> None:
        self.same(lambda place, _: place.records.delete("run", run))

    @precondition(lambda self: self.tokens)
    @rule()
    def run_out(self) -> None:
        """The lease of the run that was claimed last."""
        run = self.tokens[-1][0]
        memory = self.places[0].runs
        assert isinstance(memory, MemoryRuns)
        control = memory._controls.get(run)
        if control is not None and control.until is not None:
            self.both(lambda place, _: place.run_out(run))

    @rule(run=RUNS)
    def add_call(self, run: str) -> None:
        self.same(lambda place, _: place.runs.add(run, "z"))

    @rule(seconds=st.sampled_from([0.0, 1000.0]))
    def claim_calls(self, seconds: float) -> None:
        one, other = (sorted(calls, key=shown) for calls in self.both(lambda place, _: place.runs.claim(99, seconds)))
        assert list(map(shown, one)) == list(map(shown, other))
        self.claimed = list(zip(one, other, strict=True))

    @precondition(lambda self: self.claimed)
    @rule(retry_in=st.sampled_from([None, 0.0, 1000.0]), dead=st.booleans())
    def settle(self, *, retry_in: float | None, dead: bool) -> None:
        calls = self.claimed.pop()
        self.both(lambda place, n: place.runs.settle(calls[n], retry_in=retry_in, error="e", dead=dead))

    @invariant()
    def they_agree(self) -> None:
        async def seen(place: RunPlace, _: int) -> Any:
            return (
                sorted(await place.runs.due()),
                await place.runs.load("a"),
                sorted(map(shown, await place.runs.dead())),
                [told(await place.records.latest("run", run)) for run in ("a", "b")],
                [[told(entry) for entry in await place.records.read("event", run)] for run in ("a", "b")],
            )

        self.same(seen)


def entered(answer: Granted | Refused) -> Any:
    if isinstance(answer, Refused):
        return answer.why, told(answer.state), answer.holder, answer.seconds > 0
    return (
        *(told(answer.state), answer.seq, answer.new, answer.crashes, answer.cancelled, answer.spent, answer.told),
        answer.token > 0,
    )


def shown(call: Call) -> tuple[Any, ...]:
    return call.run_id, call.target, call.attempts, call.error


def test_redis_and_memory_agree_on_runs(redis_url: str) -> None:
    machine = type("Machine", (Machine,), {"url": redis_url})
    run_state_machine_as_test(machine, settings=settings(max_examples=30, stateful_step_count=30))
