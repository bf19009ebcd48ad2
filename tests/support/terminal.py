"""A command at a terminal of its own: what it shows, and what is typed into it."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.support.eventually import eventually

SECONDS = 30.0
"""More than anything takes that a test waits for."""
AGAIN = 1.0
MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]|\r")
"""What moves the cursor or changes colours."""
CTRL_C, CTRL_D = "\x03", "\x04"


class Terminal:
    """A process on a pseudo-terminal."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self.shown = ""
        """All that was written to the terminal, without what moves the cursor."""
        self._master = master
        self._seen = 0
        self._changed = asyncio.Event()
        self._raw = b""
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            found = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            found = b""
        if not found:
            asyncio.get_running_loop().remove_reader(self._master)
        self._raw += found
        self.shown = MOVES.sub("", self._raw.decode(errors="ignore"))
        self._changed.set()

    async def until(self, text: str) -> str:
        """Wait until `text` is shown, after what was waited for before; return what is shown up to it.

        Raises:
            AssertionError: it was not shown in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SECONDS
        while (at := self.shown.find(text, self._seen)) < 0:
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                raise AssertionError(f"{text!r} is not shown; this is:\n{self.shown[self._seen :]}") from None
        found, self._seen = self.shown[self._seen : at + len(text)], at + len(text)
        return found

    async def until_hidden(self) -> None:
        """Wait until what is typed is not shown.

        Raises:
            AssertionError: it was shown all the time.
        """

        async def hidden() -> bool:
            return not termios.tcgetattr(self._master)[3] & termios.ECHO

        await eventually(hidden, "the terminal does not show what is typed", seconds=SECONDS)

    def type(self, text: str, end: str = "\r") -> None:
        """Type `text`, and Enter."""
        os.write(self._master, f"{text}{end}".encode())

    async def ended(self, press: Callable[[], None] = lambda: None) -> int:
        """Wait for the end of the process, and return its exit code; `press` what ends it, and once more a second.

        A key that comes just before Python reads the next one interrupts nothing, so people press it again.
        """
        async with asyncio.timeout(SECONDS):
            while True:
                press()
                with suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN):
                        return await self.process.wait()

    def close(self) -> None:
        """Let go of the terminal."""
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)


@asynccontextmanager
async def at_terminal(
    arguments: Sequence[str | Path], *, environment: Mapping[str, str], folder: Path
) -> AsyncIterator[Terminal]:
    """Start a command at a terminal of 40 lines; what is left of it in the end is killed."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**environment, "TERM": "xterm-256color"},
        cwd=folder,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        start_new_session=True,
    )
    os.close(slave)
    terminal = Terminal(process, master)
    try:
        yield terminal
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        terminal.close()
