"""From the outboxes into the archive: fetch, insert, acknowledge, trim, for the partitions whose leases are held."""

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import suppress

from storage.errors import StorageError
from storage.protocols import Archive
from storage.records import CheckpointRecord, is_named
from storage.redis.archiving import ArchiverMetrics, ArchiverPolicy
from storage.redis.client import RedisClient, all_of
from storage.redis.collecting import Claim, Load
from storage.redis.draining import Outbox, Receipt, Seen
from storage.redis.inserting import insert_all
from storage.redis.keys import PARTITIONS
from storage.redis.trimming import MOST, trim_named, trim_records, trim_thread

logger = logging.getLogger("goalgraph")

SET = 16
"""Partitions that are taken together."""
AT_ONCE = 100
"""References taken from a partition in one call: several partitions make a batch, and memory stays bounded."""


class Mover:
    """What one archiver moves.

    Args:
        client: Of the server.
        name: Of the archiver, unique.
        policy: Size of a batch, what stays in the hot tier.
        metrics: Counted in.
    """

    def __init__(self, client: RedisClient, name: str, policy: ArchiverPolicy, metrics: ArchiverMetrics) -> None:
        self._client = client
        self._name = name
        self._policy = policy
        self._metrics = metrics
        self._outbox = Outbox(client, name, policy.lease)
        self._owned: set[int] = set()
        self._recovering: set[int] = set()
        """Owned partitions that may have references which were taken before, by whomever, and not acknowledged."""

    async def peek(self, numbers: Collection[int] = range(PARTITIONS)) -> dict[int, Seen]:
        """Return what is in partitions, while `look` and `move` may be under way."""
        return await self._outbox.look(numbers)

    async def look(self, numbers: Collection[int] = range(PARTITIONS)) -> dict[int, Seen]:
        """Return what is in partitions, renew the leases of those that are held, and forget those that are lost."""
        seen = await self.peek(numbers)
        self._keep({number for number, at in seen.items() if at.owner == self._name}, among=numbers)
        return seen

    def takeable(self, at: Seen) -> bool:
        """Tell whether nobody else archives a partition."""
        return at.owner in {"", self._name}

    async def take(self, seen: dict[int, Seen]) -> bool:
        """Take one set of partitions in which something waits, if one is free; returns whether one was."""
        free = [
            number
            for number, at in seen.items()
            if number not in self._owned and self.takeable(at) and number // SET in self._policy.sets
        ]
        first = next((number for number in free if seen[number].waiting), None)
        if first is None:
            return False
        found = await self._outbox.look([number for number in free if number // SET == first // SET], take=True)
        taken = {number for number, at in found.items() if at.owner == self._name}
        self._owned |= taken
        self._recovering |= taken
        self._metrics.owned = len(self._owned)
        seen.update(found)
        return True

    async def give_back(self) -> None:
        """Release all leases; who takes them next starts with what is not acknowledged."""
        owned = set(self._owned)
        self._keep(set())
        with suppress(StorageError):  # then they run out by themselves
            await self._outbox.release(owned)

    async def move(self, archive: Archive, seen: dict[int, Seen], *, calm: bool) -> bool:
        """Archive what waits in the partitions that are held, or a part of it; returns whether there was something.

        Args:
            archive: Where to.
            seen: What is there, from `look`.
            calm: One batch is enough; otherwise it goes on until it is time to look again, for the leases.
        """
        now = asyncio.get_running_loop().time
        until = now() + (0.0 if calm else self._policy.lease / 3)
        waiting = deque(sorted(number for number in self._owned if seen[number].waiting))
        self._recovering &= set(waiting)  # nothing waits elsewhere, so nothing can be pending there
        claims: dict[int, Claim] = {}
        worked = bool(waiting)
        while waiting:
            load, fetched, after = Load(), list[Claim](), set[int]()
            while waiting and load.rows < self._policy.rows and load.size < self._policy.size:
                group = [waiting.popleft()]
                while waiting and sum(min(seen[number].waiting, AT_ONCE) for number in group) < 2 * AT_ONCE:
                    group.append(waiting.popleft())
                for number in await self._collect(group, claims, load, fetched):
                    if number in self._recovering:
                        after.add(number)  # before it is acknowledged, the same would be taken again
                    else:
                        waiting.append(number)
            await self._store(archive, load, fetched)
            waiting.extend(after)
            if now() >= until:
                self._recovering |= claims.keys() & self._owned
                break
        return worked

    async def _collect(
        self, group: Sequence[int], claims: dict[int, Claim], load: Load, fetched: list[Claim]
    ) -> list[int]:
        """Take and fetch from partitions; returns those that have more."""
        fresh = [number for number in group if number not in claims and number in self._owned]
        try:
            taken = await all_of(
                self._outbox.claim(number, AT_ONCE, pending=number in self._recovering) for number in fresh
            )
        except StorageError:  # some may have been taken without our knowing
            self._recovering |= set(fresh)
            raise
        more: list[int] = []
        for number, claim in zip(fresh, taken, strict=True):
            if claim is None:
                self._keep(self._owned - {number})
            elif claim.references:
                claims[number] = claim
            elif number in self._recovering:
                self._recovering.discard(number)
                more.append(number)
        held = [claims[number] for number in group if number in claims and number in self._owned]
        most = self._policy.size // max(8, len(held))
        answers = await all_of(self._outbox.fetch(claim, most) for claim in held)
        for claim, answer in zip(held, answers, strict=True):
            claim.add(answer, load)
            fetched.append(claim)
            if claim.finished:
                del claims[claim.number]
            if not claim.finished or len(claim.references) == AT_ONCE or claim.number in self._recovering:
                more.append(claim.number)
        return more

    async def _store(self, archive: Archive, load: Load, fetched: Sequence[Claim]) -> None:
        if load.rows:
            await self._insert(archive, load)
            self._metrics.batches += 1
            self._metrics.rows += load.rows
            self._metrics.bytes += load.size
        receipts = [self._outbox.receipt(claim) for claim in dict.fromkeys(fetched)]
        done = await all_of(self._outbox.acknowledge(receipt) for receipt in receipts)
        acknowledged = [receipt for receipt, held in zip(receipts, done, strict=True) if held]
        self._keep(self._owned - {receipt.number for receipt, held in zip(receipts, done, strict=True) if not held})
        self._report(load, acknowledged)
        await self._trim(load, acknowledged)

    def _report(self, load: Load, receipts: Sequence[Receipt]) -> None:
        self._metrics.missing += len(load.missing)
        for name in load.missing:
            logger.error("%s waits for the archive and is not in Redis any more, so it is lost", name)
        for receipt in receipts:
            self._metrics.corrupt += len(receipt.corrupt)
            for error in receipt.errors:
                logger.error("%s; what refers to it is kept in the hash 'bad' of partition %d", error, receipt.number)

    async def _insert(self, archive: Archive, load: Load) -> None:
        """Insert, renewing the leases for as long as that takes."""
        work = asyncio.create_task(insert_all(archive.insert, load.batch()), name="goalgraph-archive-insert")
        try:
            while True:
                await asyncio.wait({work}, timeout=self._policy.lease / 3)
                if work.done():
                    for row, error in work.result():
                        load.blame(row, error)
                    return
                with suppress(StorageError):  # acknowledging will tell whether they still hold
                    await self.look(sorted(self._owned))
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
                if not work.cancelled():
                    work.exception()  # it is looked at, so that nobody warns of it

    async def _trim(self, load: Load, receipts: Sequence[Receipt]) -> None:
        newest: dict[tuple[str, str], CheckpointRecord] = {}
        for _, record in load.checkpoints:
            thread, space, _ = record.key
            place = (thread, "" if is_named(thread) else space)
            known = newest.get(place)
            if known is None or known.key < record.key:
                newest[place] = record
        threads = [self._trim_thread(record) for record in newest.values()]
        logs = [trim_records(self._client, one.number, one.logs, self._policy.keep_entries) for one in receipts]
        self._metrics.trimmed += sum(await all_of(threads + logs))

    async def _trim_thread(self, newest: CheckpointRecord) -> int:
        keep = max(1, self._policy.keep_checkpoints) + newest.reach
        thread = newest.key.thread_id
        dropped = 0
        while True:
            if is_named(thread):
                several = await trim_named(self._client, thread, self._policy.keep_named)
            else:
                several = await trim_thread(self._client, *newest.key, keep)
            dropped += several
            if several < MOST:
                return dropped

    def _keep(self, held: set[int], among: Collection[int] = range(PARTITIONS)) -> None:
        """Forget the partitions of `among` that are not in `held`; what was taken from them, others will take."""
        self._owned -= set(among) - held
        self._recovering &= self._owned
        self._metrics.owned = len(self._owned)
