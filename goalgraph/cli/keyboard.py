"""What somebody types, read in the main thread while an event loop runs in another: both may wait for hours."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from socket import socket, socketpair
from typing import Any, TypeVar

T = TypeVar("T")
PROMPTLY = 0.2
"""Seconds after which a signal has ended what is read."""


class Interrupted(Exception):
    """Ctrl-C was pressed while something was typed, or SIGTERM came."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is to be done in the main thread, and where its result goes."""

    read: Callable[[], Any]
    result: Future[Any] = field(default_factory=Future[Any])

    def do(self) -> None:
        if not self.result.set_running_or_notify_cancel():
            return
        try:
            self.result.set_result(self.read())
        except KeyboardInterrupt:
            self.result.set_exception(Interrupted())
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits for the line is told
            self.result.set_exception(error)


class Keyboard:
    """Lets a coroutine wait for what is typed. Only here does Ctrl-C reach `input()`, so nothing has to be undone."""

    def __init__(self) -> None:
        self._readings: SimpleQueue[_Reading | None] = SimpleQueue()
        self._stop: Callable[[], object] | None = None
        self._current: _Reading | None = None

    async def typed(self, read: Callable[[], T]) -> T:
        """Do `read` in the main thread, and return what it returns.

        Raises:
            Interrupted: Ctrl-C was pressed meanwhile.
            Exception: what `read` raised.
        """
        reading = _Reading(read)
        self._readings.put(reading)
        return await asyncio.wrap_future(reading.result)

    @contextmanager
    def interrupt_means(self, stop: Callable[[], object]) -> Generator[list[int]]:
        """Let the first Ctrl-C call `stop` in the event loop, while nothing is read; another one ends all.

        Yields:
            A list that is not empty once Ctrl-C was pressed.
        """
        loop, pressed = asyncio.get_running_loop(), list[int]()

        def press() -> None:
            pressed.append(1)
            self._stop = None
            loop.call_soon_threadsafe(stop)

        before, self._stop = self._stop, press
        try:
            yield pressed
        finally:
            self._stop = before

    def serve(self, talk: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in another thread and do here what it wants to be read; return its result.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed while nobody had said what it means, or once more.
            Exception: what `talk` raised.
        """
        ended, cancelled = Future[T](), list[int]()
        task: list[Callable[[], object]] = []

        async def main() -> T:
            current, loop = asyncio.current_task(), asyncio.get_running_loop()
            if current is not None:
                task.append(lambda: loop.call_soon_threadsafe(current.cancel))
            loop.add_reader(signals, self._insist_on, signals, loop)
            return await talk

        def run() -> None:
            try:
                with asyncio.Runner() as runner:
                    ended.set_result(runner.run(main()))
            except asyncio.CancelledError:
                ended.set_exception(KeyboardInterrupt())
            except BaseException as error:  # noqa: BLE001 - it is raised again by the main thread
                ended.set_exception(error)
            finally:
                self._readings.put(None)

        with _signals_told() as signals:
            thread = threading.Thread(target=run, name="chat", daemon=True)
            thread.start()
            while True:
                try:
                    self._current = None
                    self._current = self._readings.get()
                    if self._current is None:
                        break
                    self._current.do()
                except KeyboardInterrupt:
                    if (stop := self._stop) is not None:
                        stop()
                    elif task and not cancelled:
                        cancelled.append(1)
                        task[0]()
                    else:
                        raise
            thread.join()
        return ended.result()

    def _insist_on(self, signals: socket, loop: asyncio.AbstractEventLoop) -> None:
        """Send a signal again that did not end what is read: it came just before `input()` began to wait."""
        reading = self._current

        def insist(number: int) -> None:
            if reading is not None and self._current is reading:
                signal.pthread_kill(threading.main_thread().ident or 0, number)

        for number in signals.recv(64):
            loop.call_later(PROMPTLY, insist, number)


@contextmanager
def _signals_told() -> Generator[socket]:
    """Yield what the numbers of signals can be read from, as soon as they come."""
    told, tells = socketpair()
    with told, tells:
        told.settimeout(0)
        tells.settimeout(0)
        if threading.current_thread() is not threading.main_thread():  # which alone gets signals
            yield told
            return
        before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
        try:
            yield told
        finally:
            signal.set_wakeup_fd(before)
