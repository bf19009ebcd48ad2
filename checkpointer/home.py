"""The one event loop on which a saver talks to its stores, reached from anywhere else without a deadlock."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class SyncCallInLoop(RuntimeError):
    """A synchronous method was called on the loop that would have to do the work."""

    def __init__(self) -> None:
        super().__init__(
            "a synchronous call of the saver inside its own event loop would wait for itself; use the asynchronous one "
            "(`ainvoke`, `aget_state`, `aget_tuple` …), or call it from another thread (`asyncio.to_thread`)"
        )


class Home:
    """Runs coroutines on one loop: the given one, the one it was made in, or else one in a thread of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._loop = loop or _current()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` and wait for it, in a thread that is not the loop's.

        Raises:
            SyncCallInLoop: this is the loop's own thread.
        """
        try:
            loop = self._running()
            if _current() is loop:
                raise SyncCallInLoop
        except RuntimeError:
            work.close()  # or Python warns that nobody awaited it
            raise
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    async def go(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` on the loop and await it here."""
        if asyncio.get_running_loop() is self._loop and self._pid == os.getpid():
            return await work
        try:
            loop = self._running()
        except RuntimeError:
            work.close()  # or Python warns that nobody awaited it
            raise
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    def close(self) -> None:
        """End the thread, if there is one; everything has to be done by then."""
        thread, self._thread = self._thread, None
        if thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop = None

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._pid != os.getpid():
            raise RuntimeError("this saver was opened before the process was forked; open another in the child")
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name="goalgraph-saver", daemon=True)
                self._thread.start()
            loop = self._loop
        if loop.is_closed() or (self._thread is None and not loop.is_running()):
            raise RuntimeError("the event loop that this saver was opened in does not run; open the saver again")
        return loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _current() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
