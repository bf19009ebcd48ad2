"""`DramatiqEngine`: wakes up workers on many machines through a queue of dramatiq in Redis."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import cast

from dramatiq import Actor, Worker
from redis.exceptions import RedisError

from goalgraph.workers.queue import ACTOR, QUEUE, RunQueue

logger = logging.getLogger("goalgraph")

JOINED = 2.0
"""Seconds that dramatiq's threads have to end."""


class DramatiqEngine:
    """Sends ids of runs through a queue, and takes them up from it.

    One thread a message, as dramatiq means it, is not needed: a thread only hands the id to the event loop, where the
    run is advanced as a task. It waits while all slots are taken, so that a full process leaves messages to others. The
    message is gone once the run was taken up: the lease, `due` and the sweeper bring it back when the process dies.

    Args:
        broker_url: `redis://`, `rediss://` or `unix://`; a database of its own, for dramatiq lists all keys at times.
        queue: Begins the names of its keys. Whoever submits and whoever takes up have to agree; see `open_engine`.
        threads: Messages that are handed over at the same time; each waits no longer than for a slot.
        slots: Runs that are taken up at the same time.
    """

    local = False

    def __init__(self, broker_url: str, *, queue: str = "gg", threads: int = 8, slots: int = 100) -> None:
        self.queue = queue
        self._queue = RunQueue.at(broker_url, namespace=queue)
        Actor(self._hand_over, broker=self._queue, actor_name=ACTOR, queue_name=QUEUE, priority=0, options={})
        self._threads = threads
        self._slots = asyncio.Semaphore(slots)
        self._senders = ThreadPoolExecutor(2, thread_name_prefix="goalgraph-submit")
        """Of its own: actions that block have filled the event loop's at times, and a submit must not wait for them."""
        self._advance: Callable[[str], Awaitable[None]] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Worker | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        """Runs that somebody was woken up for again while they are advanced here."""
        self._waiting: set[asyncio.Task[None]] = set()
        """Hand-overs that wait for a slot."""
        self._left: set[str] = set()
        """Runs that were not taken up because the engine stops."""

    async def start(self, advance: Callable[[str], Awaitable[None]]) -> None:
        """Begin to take runs up; a queue that cannot be reached is tried again until it can."""
        self._advance, self._loop = advance, asyncio.get_running_loop()
        self._worker = Worker(self._queue, worker_timeout=50, worker_threads=self._threads)
        await asyncio.to_thread(self._worker.start)

    async def submit(self, run_id: str, delay: float = 0.0) -> None:
        """Put a run into the queue; when that fails in a process that advances runs, it takes the run up itself.

        Raises:
            RedisError: the queue cannot be reached from a process that only submits.
        """
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._senders, self._queue.send, run_id, delay)
        except RedisError as error:
            if self._advance is None or delay > 0:
                raise
            logger.info("run %s is taken up without the queue, which cannot be reached: %s", run_id, error)
            self._begin_later(run_id)

    async def stop(self) -> None:
        """Take up nothing more, send on what waits for a slot, and wait until what was taken up has been let go."""
        self._advance = None
        for task in self._waiting:
            task.cancel()
        worker, self._worker = self._worker, None
        if worker is not None:
            await asyncio.to_thread(_end, worker)
        while self._left:
            with suppress(RedisError):  # then the sweeper of another process finds it
                await self.submit(self._left.pop())
        while tasks := {*self._tasks.values(), *self._waiting}:
            await asyncio.wait(tasks)
        await asyncio.to_thread(self._senders.shutdown)
        self._queue.close()

    def _hand_over(self, run_id: str) -> None:
        """Pass a run to the event loop and return when it has a slot; called in a thread of dramatiq."""
        handed: Future[None] = Future()

        def begin() -> None:
            self._begin_later(run_id).add_done_callback(lambda _: handed.set_result(None))

        with suppress(RuntimeError):  # the loop is closed; the sweeper of another process finds the run
            cast("asyncio.AbstractEventLoop", self._loop).call_soon_threadsafe(begin)
            handed.result()

    def _begin_later(self, run_id: str) -> asyncio.Task[None]:
        task = asyncio.ensure_future(self._begin(run_id))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        return task

    async def _begin(self, run_id: str) -> None:
        """Begin to advance a run once there is a slot for it."""
        self._left.add(run_id)  # unless it comes to its turn
        if self._advance is None:
            return
        if run_id not in self._tasks:
            await self._slots.acquire()
            if run_id not in self._tasks:
                self._tasks[run_id] = asyncio.create_task(self._work(run_id), name=f"goalgraph-advance-{run_id}")
                return
            self._slots.release()
        self._again.add(run_id)

    async def _work(self, run_id: str) -> None:
        try:
            while self._advance is not None:
                self._again.discard(run_id)
                self._left.discard(run_id)
                await self._advance(run_id)
                if run_id not in self._again:
                    return
        except Exception:  # one run must not end the taking up of others
            logger.exception("run %s could not be advanced", run_id)
        finally:
            del self._tasks[run_id]
            self._again.discard(run_id)
            self._slots.release()


def _end(worker: Worker) -> None:
    try:
        worker.stop(round(1000 * JOINED))
    except Exception:  # its threads are daemons, and what they hold is found again
        logger.info("the reading of the queue did not end in good order", exc_info=True)
