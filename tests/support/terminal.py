"""A command at a terminal of its own: what it shows, and what is typed into it."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.eventually import eventually

SECONDS = 30.0
"""More than anything takes that a test waits for."""
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
        await self._until_off(termios.ECHO, "the terminal does not show what is typed")

    async def until_edited(self) -> None:
        """Wait until each key is read as it is pressed, and not the line.

        Raises:
            AssertionError: lines were read all the time.
        """
        await self._until_off(termios.ICANON, "the terminal gives each key")

    async def _until_off(self, flag: int, what: str) -> None:
        async def off() -> bool:
            return not termios.tcgetattr(self._master)[3] & flag

        await eventually(off, what, seconds=SECONDS)

    def type(self, text: str, end: str = "\r") -> None:
        """Type `text`, and Enter."""
        os.write(self._master, f"{text}{end}".encode())

    async def ended(self) -> int:
        """Wait for the end of the process, and return its exit code."""
        async with asyncio.timeout(SECONDS):
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
