"""Leases are renewed from a thread of their own, so that an action that blocks the event loop does not lose them."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import replace
from time import monotonic
from typing import Literal

from planner.errors import LeaseLost, RunNotRecorded
from storage.errors import StorageError, StorageUnavailable
from storage.runs import RunStore, Update

logger = logging.getLogger("goalgraph")

LEASE = 30.0
"""Seconds that a lease runs without being renewed."""
OWN = 0.9
"""Share of a lease after which its holder stops by itself when it could not renew it."""
BEAT = 0.5
"""Seconds between two renewals, at most: a renewal also tells which runs somebody asked to stop."""
LAST = 2.0
"""Seconds in which the thread finishes what it does when it is closed."""

News = Literal["lost", "cancelled"]
OpenStore = Callable[[], AbstractAsyncContextManager[RunStore]]


class Hold:
    """The lease of this process on one run."""

    def __init__(self, run_id: str, token: int, seconds: float, taken: float, tell: Callable[[News], None]) -> None:
        self.run_id = run_id
        self.token = token
        self.lost = False
        self.renewed = taken
        """On the clock of `monotonic`: before the call that was answered, so never too late."""
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._tell = tell
        self._told: set[News] = set()

    @property
    def alive(self) -> bool:
        """Whether the run is still ours to advance; also right after the whole process was stopped for a while."""
        return not self.lost and monotonic() < self.renewed + OWN * self._seconds

    @property
    def over(self) -> bool:
        """Whether nothing of the run can go on here: the lease is lost, or the loop of the run is closed."""
        return self.lost or self._loop.is_closed()

    def check(self) -> None:
        """Make sure that the run is still ours.

        Raises:
            LeaseLost: it is not.
        """
        if not self.alive:
            self.lost = True
            raise LeaseLost(self.run_id)

    def hear(self, news: News) -> None:
        """Pass news on to the loop of the run, once; from any thread."""
        if news == "lost":
            self.lost = True
        if news not in self._told:
            self._told.add(news)
            try:
                self._loop.call_soon_threadsafe(self._tell, news)
            except RuntimeError:  # the loop is closed, and with it the run
                self.lost = True


class LeaseKeeper:
    """Renews the leases of all runs that this process advances.

    Args:
        open_store: Opens a store with connections of its own, in the loop of the thread. Without it leases are not
            renewed: for a store that lives and ends with this process.
        seconds: How long a lease runs.
    """

    def __init__(self, open_store: OpenStore | None, seconds: float = LEASE) -> None:
        self.seconds = seconds if open_store is not None else float("inf")
        self._open = open_store
        self._beat = min(BEAT, seconds / 3)
        self._holds: dict[str, Hold] = {}
        self._owed: dict[tuple[str, int], Update] = {}
        """By run and token: what is still to be given back."""
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()

    async def prepare(self, run_id: str, store: RunStore) -> None:
        """Before the lease of a run is taken: it can be renewed, and what is owed of an earlier one is given back.

        Raises:
            RunNotRecorded: the process has no thread, or no socket, left to renew it.
            StorageUnavailable: the store does not answer.
        """
        try:
            self._start()
        except (OSError, RuntimeError) as error:
            raise RunNotRecorded(run_id, error) from error
        await self._settle(store, run_id)

    def hold(self, run_id: str, token: int, taken: float, tell: Callable[[News], None]) -> Hold:
        """Keep a lease that was `taken` at this moment of `monotonic`; `tell` hears in this loop what becomes of it."""
        hold = self._holds[run_id] = Hold(run_id, token, self.seconds, taken, tell)
        return hold

    def drop(self, hold: Hold) -> None:
        """Renew no longer."""
        if self._holds.get(hold.run_id) is hold:
            del self._holds[hold.run_id]

    def owe(self, run_id: str, token: int, update: Update) -> None:
        """Give a run back that could not be, as soon as the store answers: nobody died with it."""
        if self._open is not None:
            self._owed[run_id, token] = replace(update, events=())

    @property
    def held(self) -> int:
        """How many runs this process advances."""
        return len(self._holds)

    def close(self) -> None:
        """End the thread; leases that are still held run out."""
        thread, self._thread = self._thread, None
        if thread is not None and self._loop is not None:
            with suppress(RuntimeError):  # its loop is closed: it has ended by itself
                self._loop.call_soon_threadsafe(self._closing.set)
            thread.join(LAST)  # it waits for a store that hangs, and keeps no process from ending

    def _start(self) -> None:
        if self._open is None or (self._thread is not None and self._thread.is_alive()):
            return
        started = Future[asyncio.AbstractEventLoop]()
        thread = threading.Thread(target=self._run, args=(started,), name="goalgraph-leases", daemon=True)
        thread.start()
        self._loop, self._thread = started.result(), thread

    def _run(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        try:
            runner = asyncio.Runner()
            loop = runner.get_loop()
        except BaseException as error:  # noqa: BLE001 - whoever starts the thread waits, and is told of anything
            started.set_exception(error)
            return
        with runner:
            self._closing = asyncio.Event()
            started.set_result(loop)
            runner.run(self._keep())

    async def _keep(self) -> None:
        """Renew until closed; a store that does not answer is opened anew."""
        while not self._closing.is_set():
            try:
                async with AsyncExitStack() as exits:
                    async with asyncio.timeout(self.seconds / 3):
                        store = await exits.enter_async_context(self._open_store())
                    while not self._closing.is_set():
                        await self._renew(store)
                        with suppress(StorageUnavailable, TimeoutError):  # then it is tried again
                            async with asyncio.timeout(self.seconds / 3):
                                await self._settle(store)
                        await self._pause()
            except (StorageError, OSError, TimeoutError) as error:
                logger.warning("leases cannot be renewed now: %s", error or "no answer in time")
                self._stop_late()
                await self._pause()
            except Exception:  # without the thread every lease of this process would be lost
                logger.exception("leases could not be renewed")
                self._stop_late()
                await self._pause()

    def _open_store(self) -> AbstractAsyncContextManager[RunStore]:
        if self._open is None:
            raise AssertionError("the thread is started only where there is something to renew")
        return self._open()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._beat):
                await self._closing.wait()

    async def _renew(self, store: RunStore) -> None:
        """Prolong what is held, and pass on what was heard."""
        holds = {run_id: hold for run_id, hold in dict(self._holds).items() if not hold.over}
        if not holds:
            return
        asked = monotonic()
        try:
            async with asyncio.timeout(self.seconds / 3):
                states = await store.renew({run_id: hold.token for run_id, hold in holds.items()}, self.seconds)
        except (StorageError, TimeoutError) as error:
            logger.info("leases could not be renewed: %s", error or "no answer in time")
            self._stop_late()
            return
        for run_id, state in states.items():
            hold = holds[run_id]
            if state == "lost":
                hold.hear("lost")
                continue
            hold.renewed = asked
            if state == "cancelled":
                hold.hear("cancelled")
        self._stop_late()

    async def _settle(self, store: RunStore, run_id: str | None = None) -> None:
        """Give back what is owed, of one run or of all."""
        for (owed, token), update in list(self._owed.items()):
            if run_id not in (None, owed):
                continue
            try:
                await store.update(owed, token, update)
            except StorageUnavailable:
                raise
            except StorageError as error:
                logger.info("run %s could not be given back: %s", owed, error)
            self._owed.pop((owed, token), None)

    def _stop_late(self) -> None:
        """Stop the runs whose lease may run out before it can be renewed."""
        for hold in list(self._holds.values()):
            if not hold.alive:
                hold.hear("lost")
