"""Moves what the outboxes refer to from Redis into the archive, then makes the hot tier smaller.

A round looks at all partitions, takes leases that are free, and moves references in batches: fetch what they refer to,
as it is now; insert; acknowledge; trim. Nothing is acknowledged before it is inserted, so a crash anywhere repeats an
insert and loses nothing. After a failure the leases are given back, and whoever takes them starts with what was not
acknowledged: failing, stopping and dying are one and the same way.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from storage.errors import ArchiveUnavailable, StorageError
from storage.protocols import Archive
from storage.redis.archiving import REST, ArchiverMetrics, ArchiverPolicy
from storage.redis.client import RedisClient
from storage.redis.eviction import evict_idle, evict_record, evict_thread
from storage.redis.keys import PARTITIONS
from storage.redis.moving import Mover
from storage.redis.outbox import order_of

logger = logging.getLogger("goalgraph")

OpenArchive = Callable[[], Awaitable[Archive]]
"""Opens the archive, once there is something for it; who gives this also closes what it opened."""
FLUSH_POLL = 0.05
"""Seconds between two looks at the outboxes that another archiver empties."""


class Archiver:
    """Archives for as long as it is open: `async with Archiver(client, open_archive) as archiver:`.

    Any number may run, in any number of processes. Closing makes a last try that is bounded by `policy.closing`, and
    gives the leases back.

    Args:
        client: Of the server. A connection of the archiver's own keeps payloads out of the way of other calls.
        open_archive: Called when there is something to archive. While it raises `ArchiveUnavailable` with an `owner`,
            this archiver leaves the work to that process.
        policy: Speed, and what stays in the hot tier.
    """

    def __init__(self, client: RedisClient, open_archive: OpenArchive, policy: ArchiverPolicy | None = None) -> None:
        self.policy = policy or ArchiverPolicy()
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        """Of this archiver, as consumer and as holder of leases."""
        self._client = client
        self._open_archive = open_archive
        self._archive: Archive | None = None
        self._held_elsewhere = False
        self._open_at: float | None = None
        """When to open the archive; nothing waits for it as long as this is `None`."""
        self._metrics = ArchiverMetrics()
        self._mover = Mover(client, self.name, self.policy, self._metrics)
        self._task: asyncio.Task[None] | None = None
        self._pid = os.getpid()
        self._wake = asyncio.Event()
        self._round_over = asyncio.Event()
        self._due = 0.0
        self._delay = 0.0
        self._calm = True
        self._rested_at = 0.0
        self._flushing = 0
        """Calls that wait for the outbox to be empty."""
        self._sweep_at = 0.0

    async def __aenter__(self) -> Self:
        self._sweep_at = self._now() + self.policy.sweep
        self._task = asyncio.create_task(self._run(), name="goalgraph-archiver")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if task is None or os.getpid() != self._pid:  # in a forked child neither the task nor the leases are ours
            return
        try:
            cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
            if not cancelled and (self._archive is not None or not self.policy.patience):
                async with asyncio.timeout(self.policy.closing):
                    await self._flush(task, self.policy.closing, closing=True)
        except (StorageError, TimeoutError) as left:
            logger.warning("the archiver closes, and leaves references in the outbox to the next one: %s", left)
        finally:
            task.cancel()
            await asyncio.wait({task})
            with suppress(TimeoutError):  # a Redis that does not answer; the leases run out by themselves
                async with asyncio.timeout(self.policy.closing):
                    await self._mover.give_back()

    def notify(self) -> None:
        """Say, on the archiver's own loop, that something was written: it looks soon. Costs next to nothing."""
        due = max(self._now() + self.policy.linger, self._rested_at)
        if self._due > due and self._metrics.error is None:
            self._due = due
            self._wake.set()

    def metrics(self) -> ArchiverMetrics:
        """Return the figures of now."""
        return replace(self._metrics)

    async def flush(self, timeout: float = 30.0) -> None:
        """Return when all that was in the outbox at the call is archived, by whichever archiver.

        What cannot be read (`metrics().corrupt`) is not waited for.

        Raises:
            ArchiveUnavailable: not within `timeout` seconds; the message says why.
        """
        if self._task is None:
            raise ArchiveUnavailable("the archiver is not running")
        await self._flush(self._task, timeout)

    async def evict(self, idle_for: float) -> int:
        """Remove what has idled for `idle_for` seconds, and is archived, from the hot tier; returns how many owners."""
        return await self._evict(range(PARTITIONS), idle_for)

    async def evict_thread(self, thread_id: str) -> bool:
        """Remove a thread from the hot tier now; false when it is not there, or not all of it is archived."""
        return await evict_thread(self._client, thread_id)

    async def evict_record(self, kind: str, owner: str) -> bool:
        """Remove a document or log from the hot tier now; false as for `evict_thread`."""
        return await evict_record(self._client, kind, owner)

    async def _run(self) -> None:
        while True:
            await self._pause()
            started = self._now()
            try:
                worked = await self._round()
            except StorageError as error:
                await self._note_failure(error)
            except Exception as error:  # a fault in one round must not end archiving for good
                logger.exception("archiving failed in a way that is not foreseen")
                await self._note_failure(error)
            else:
                self._note_success(worked=worked, took=self._now() - started)
            self._round_over.set()
            self._round_over = asyncio.Event()

    async def _round(self) -> bool:
        """Move what waits, as far as it is ours to move; returns whether there was something."""
        seen = await self._mover.look()
        self._metrics.waiting = sum(at.waiting for at in seen.values())
        self._metrics.lag = max(at.age for at in seen.values())
        if self.policy.evict_after is not None and self._now() >= self._sweep_at:
            self._sweep_at = self._now() + self.policy.sweep
            await self._evict((n for n, at in seen.items() if self._mover.takeable(at)), self.policy.evict_after)
        if not any(at.waiting and self._mover.takeable(at) for at in seen.values()):
            if not self._held_elsewhere:
                self._open_at = None
            return False
        archive = await self._opened()
        if archive is None:
            return False
        taken = await self._mover.take(seen)
        waiting, lag = self.policy.calm
        self._calm = not self._flushing and self._metrics.waiting <= waiting and self._metrics.lag <= lag
        return await self._mover.move(archive, seen, calm=self._calm) or taken

    async def _opened(self) -> Archive | None:
        """Return the archive, opening it when it is time to; `None` before, and while another process holds it."""
        if self._archive is None and self._open_at is None:
            self._open_at = self._now() + self.policy.patience
        if self._archive is None and self._now() >= (self._open_at or 0.0):
            try:
                self._archive = await self._open_archive()
                self._held_elsewhere = False
            except ArchiveUnavailable as error:
                if error.owner is None:
                    raise
                if not self._held_elsewhere:
                    logger.info("archiving is left to another process: %s", error)
                self._held_elsewhere = True
                self._metrics.error = str(error)
                self._open_at = self._now() + self.policy.reopen
        return self._archive

    async def _evict(self, numbers: Iterable[int], idle_for: float) -> int:
        evicted = sum([await evict_idle(self._client, number, idle_for) for number in numbers])
        self._metrics.evicted += evicted
        return evicted

    async def _pause(self) -> None:
        while (left := self._due - self._now()) > 0:
            self._wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()

    async def _note_failure(self, error: Exception) -> None:
        if self._metrics.error is None:
            logger.warning("archiving stopped; what is written waits in the outbox: %s", error)
            self._delay = 0.0
        self._metrics.error = str(error) or type(error).__name__
        self._metrics.failures += 1
        self._delay = min(max(self.policy.backoff, self._delay * 2), self.policy.most_backoff)
        self._due = self._now() + self._delay
        await self._mover.give_back()

    def _note_success(self, *, worked: bool, took: float) -> None:
        linger, poll = self.policy.linger, self.policy.poll
        self._delay = linger if worked else min(poll, max(linger, self._delay * 2))
        if worked and self._calm:
            self._delay = min(poll, max(linger, took * REST))
            self._rested_at = self._now() + self._delay
        if self._held_elsewhere:
            self._delay = poll
        elif self._metrics.error is not None:
            logger.warning("archiving goes on")
            self._metrics.error = None
        self._due = self._now() + self._delay

    async def _flush(self, task: asyncio.Task[None], timeout: float, *, closing: bool = False) -> None:
        seen = await self._mover.peek()
        targets = {
            number: order_of(at.last)
            for number, at in seen.items()
            if at.last and not (closing and not self._mover.takeable(at))
        }
        self._open_at = self._delay = 0.0
        self._flushing += 1
        try:
            await self._reach(targets, task, timeout, closing=closing)
        finally:
            self._flushing -= 1

    async def _reach(
        self, targets: dict[int, tuple[int, int]], task: asyncio.Task[None], timeout: float, *, closing: bool
    ) -> None:
        """Return when nothing up to `targets` (partition → outbox id) is left."""
        deadline, failures = self._now() + timeout, self._metrics.failures
        self._hurry()
        while targets:
            left = deadline - self._now()
            gives_up = closing and (self._held_elsewhere or self._metrics.failures > failures)
            if left <= 0 or gives_up or task.done():
                reason = self._metrics.error or f"{len(targets)} outboxes could not be emptied in {timeout:g} s"
                raise ArchiveUnavailable(reason)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, FLUSH_POLL)):
                    await self._round_over.wait()
            seen = await self._mover.peek(targets)
            targets = {n: to for n, to in targets.items() if seen[n].first and order_of(seen[n].first) <= to}
            if self._metrics.error is None and any(self._mover.takeable(seen[number]) for number in targets):
                self._hurry()

    def _hurry(self) -> None:
        self._due = self._now()
        self._wake.set()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
