"""Runs in Redis: one call for each operation, by the clock of Redis."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

from storage.errors import Fenced
from storage.packing import text, utf8
from storage.records import Change, Entry, Value
from storage.redis.calls import RedisCalls, pack_call
from storage.redis.client import Argument, RedisClient
from storage.redis.due import RedisDue
from storage.redis.entries import counters_of, pack_change, pairs_of, unpack_entry
from storage.redis.eviction import GUARD_SECONDS
from storage.redis.run_places import nonce
from storage.redis.run_scripts import ADOPT, CANCEL, ENTER, RENEW, TELL, UPDATE
from storage.runs import Claim, Ended, Granted, Refused, Released, Update

_STATES: Mapping[int, Literal["held", "cancelled", "lost"]] = {0: "lost", 1: "cancelled", 2: "held"}
_ANSWERS: Mapping[int, Literal["asked", "ended", "over"]] = {0: "over", 1: "asked", 2: "ended"}


class RedisRuns(RedisDue, RedisCalls):
    """A `RunStore`, with `DueRuns` and `CallOutbox`, that sees the hot tier only; see `RunScripts` for arguments.

    While somebody holds a run, it is due when their lease runs out, and nothing makes it due earlier.
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
        """Create a run, or take up one that is there; see `RunStore`.

        The counters of `new` are what its increments say. Without a claim, a run that somebody holds is
        `Refused("held")`, and will be due in `due_in` seconds if it is given back.
        """
        pairs = [] if new is None else _pairs(new, new.increments)
        expected = [part for name, fact in (expect or {}).items() for part in (utf8(f"c:{name}"), utf8(fact))]
        packed = [pack_call(run_id, target) for target in calls]
        holder, lease = ("", "") if claim is None else (claim.holder, claim.seconds * 1000)
        counts = (len(expected) // 2, len(packed), len(pairs))
        answer = await self.run_script(
            ENTER,
            run_id,
            [
                nonce(), holder, lease, self.soft, int(again), due_in * 1000, GUARD_SECONDS, *counts,
                *expected, *packed, *pairs,
            ],
            asked=4,
        )  # fmt: skip
        return _entered(run_id, answer)

    async def renew(
        self, held: Mapping[str, int], seconds: float
    ) -> Mapping[str, Literal["held", "cancelled", "lost"]]:
        """Prolong leases, also those that ran out and that nobody else took; see `RunStore`."""
        keys = self.client.keys
        places: defaultdict[int, list[str]] = defaultdict(list)
        for run_id in held:
            places[keys.partition_of(run_id)].append(run_id)
        calls = [
            (
                [keys.partition(number, "due"), *(keys.thread("q:run", run_id) for run_id in runs)],
                [seconds * 1000, *(part for run_id in runs for part in (utf8(run_id), held[run_id]))],
            )
            for number, runs in places.items()
        ]
        answers = await self.client.call_each(RENEW, calls)
        return {
            run_id: _STATES[answer]
            for runs, several in zip(places.values(), answers, strict=True)
            for run_id, answer in zip(runs, several, strict=True)
        }

    async def update(self, run_id: str, token: int, update: Update) -> int:
        """Write what the holder has to say; see `RunStore`.

        To keep or release a run, with nothing to write, needs no archive; then the answer is 0 if the log was evicted.
        """
        change, then = update.change, update.then
        pairs = [] if change is None else _pairs(change, update.counters)
        following: list[Argument] = ["k", "", 0]
        if isinstance(then, Released):
            following = ["r", "" if then.due_in is None else then.due_in * 1000, then.told]
        elif isinstance(then, Ended):
            following = ["e", "", 0]
        answer = await self.run_script(
            UPDATE,
            run_id,
            [
                token, self.hard, update.after, len(update.events), len(pairs), *following, int(update.progress),
                int(update.keep is not None), update.keep or b"", *pairs, *map(pack_change, update.events),
            ],
            asked=2,
        )  # fmt: skip
        if answer[0] == -1:
            raise Fenced(run_id, token, int(answer[1]))
        return answer[1]

    async def cancel(
        self, run_id: str, *, change: Change, events: Sequence[Change]
    ) -> Literal["asked", "ended", "over"]:
        """Ask a run to stop; see `RunStore`."""
        pairs = _pairs(change, {})
        answer = await self.run_script(
            CANCEL, run_id, [nonce(), self.hard, len(pairs), *pairs, *map(pack_change, events)], asked=2
        )
        return _ANSWERS[int(answer[1])]

    async def tell(self, run_id: str, name: str, value: Value, *, at_most: frozenset[str]) -> bool:
        """Put a field into the document of a live run; see `RunStore`."""
        field, stored = utf8(f"f:{name}"), utf8(value.type) + b"\0" + value.body
        answer = await self.run_script(
            TELL, run_id, [nonce(), self.hard, field, stored, *map(utf8, sorted(at_most))], asked=2
        )
        return bool(answer[1])

    async def make_due(self, run_id: str) -> bool:
        """Take in a live run that has no control, and make it due; False when it has one, or is not live."""
        return bool((await self.run_script(ADOPT, run_id, [], asked=0))[1])


@asynccontextmanager
async def open_renewer(client: RedisClient) -> AsyncGenerator[RedisRuns]:
    """Open runs on the server of `client`, for the event loop of another thread, to `renew` and to give back there."""
    own = await client.another()
    try:
        yield RedisRuns(own)
    finally:
        await own.aclose()


def _pairs(change: Change, counters: Mapping[str, float]) -> list[bytes]:
    return pairs_of(change.at, change.fields, change.columns) + counters_of(counters)


def _entered(run_id: str, answer: list[Any]) -> Granted | Refused:
    if answer[0] == 0:
        _, why, seq, state, holder, left = answer
        return Refused(
            why=why.decode(), state=_state(run_id, seq, state), holder=text(holder, run_id), seconds=left / 1000
        )
    _, token, seq, state, events, new, crashes, cancelled, told, spent = answer
    return Granted(
        token=token,
        state=unpack_entry("run", run_id, seq, state),
        seq=events,
        new=bool(new),
        crashes=crashes,
        cancelled=bool(cancelled),
        spent=spent,
        told=told,
    )


def _state(run_id: str, seq: int, packed: bytes) -> Entry | None:
    return unpack_entry("run", run_id, seq, packed) if seq else None
