"""SIGTERM, which stops a command in the same way as Ctrl-C, and the end of what cannot be stopped."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType

from goalgraph.cli.exits import Exit

PATIENCE = 0.7
"""Seconds that a thread has to end after Ctrl-C."""


class Terminated:
    """Whether SIGTERM came; it is passed on as if Ctrl-C had been pressed."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Handle the signal."""
        self.came = True
        signal.raise_signal(signal.SIGINT)

    @property
    def code(self) -> Exit:
        """How a command ends that was stopped."""
        return Exit.TERMINATED if self.came else Exit.INTERRUPTED


@contextmanager
def termination() -> Generator[Terminated]:
    """Let SIGTERM stop what runs inside as Ctrl-C does."""
    terminated = Terminated()
    if threading.current_thread() is not threading.main_thread():  # which alone can have handlers
        yield terminated
        return
    before = signal.signal(signal.SIGTERM, terminated)
    try:
        yield terminated
    finally:
        signal.signal(signal.SIGTERM, before)


def terminated() -> bool:
    """Tell whether SIGTERM came."""
    handler = signal.getsignal(signal.SIGTERM)
    return isinstance(handler, Terminated) and handler.came


@contextmanager
def abandoned_when_stopped() -> Generator[None]:
    """End the process soon after what runs inside is cancelled: a thread that asks the archive cannot be stopped."""
    try:
        yield
    except asyncio.CancelledError:
        asyncio.get_running_loop().call_later(PATIENCE, _abandon)
        raise


def _abandon() -> None:
    from goalgraph.cli.console import complain

    complain("stopped")
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    handler = signal.getsignal(signal.SIGTERM)
    os._exit(handler.code if isinstance(handler, Terminated) else Exit.INTERRUPTED)
