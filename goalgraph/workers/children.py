"""Processes that are started again when they die."""

import asyncio
import logging
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress

logger = logging.getLogger("goalgraph")

PAUSES = (0.5, 30.0)
"""Seconds before one is started again: after its first death, doubled up to the last."""
STEADY = 60.0
"""Seconds after which a process has lived well, and its next death is a first one again."""
WRONG_USAGE = 2
"""Exit code of a command whose options or catalog are wrong: it would end so again."""
ENDED = (0, -signal.SIGTERM, 128 + signal.SIGTERM)
"""Exit codes of one that was asked to end, perhaps before it could do so by itself."""


class Children:
    """One process a command, each with a stdin that ends when this process does.

    They are in sessions of their own: Ctrl-C in a terminal reaches them through `stop` alone, and once.

    Args:
        commands: What to run.
    """

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self._commands = commands
        self._running: set[Process] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Keep them running until they are to stop; returns 0, or how one ended that did not end in good order."""
        async with asyncio.TaskGroup() as group:
            kept = [group.create_task(self._keep(command)) for command in self._commands]
        return max(task.result() for task in kept)

    def stop(self) -> None:
        """Ask all to end in good order, once; none is started any more."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._send(signal.SIGTERM)

    def kill(self, _number: int = 0) -> None:
        """End all at once."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for process in self._running:
            with suppress(ProcessLookupError):  # it has ended, which is about to be noticed
                process.send_signal(number)

    async def _keep(self, command: Sequence[str]) -> int:
        """Run one again and again."""
        clock, pause = asyncio.get_running_loop().time, PAUSES[0]
        while True:
            began = clock()
            code = await self._run(command)
            if code == WRONG_USAGE:
                self.stop()
            if self._stopping.is_set():
                return 0 if code in ENDED else abs(code)
            pause = PAUSES[0] if clock() - began > STEADY else pause
            logger.warning("a worker ended with %d; another is started in %g s", code, pause)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
                    return 0
            pause = min(2 * pause, PAUSES[1])

    async def _run(self, command: Sequence[str]) -> int:
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, start_new_session=True)
        self._running.add(process)
        if self._stopping.is_set():  # meanwhile
            process.terminate()
        try:
            return await process.wait()
        finally:
            self._running.discard(process)
