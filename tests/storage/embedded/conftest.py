"""A data directory whose servers and users are all gone after the test."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Self

import psutil
import pytest

from storage.embedded import DataDirectory, open_redis
from storage.embedded.locks import FileLock
from storage.embedded.server import ask

ROOT = Path(__file__).parents[3]
SECONDS = 20.0


@dataclass
class User:
    """A process that has the pair open; see `tests.support.redis_user`."""

    process: asyncio.subprocess.Process

    async def ask(self, command: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        return await self.answer()

    async def answer(self) -> str:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), SECONDS)
        assert line, "the process ended"
        return line.decode().strip()

    async def leave(self) -> None:
        """Close the pair and end."""
        await asyncio.wait_for(self.process.communicate(b""), SECONDS)
        assert self.process.returncode == 0

    async def kill(self) -> None:
        self.process.kill()
        await asyncio.wait_for(self.process.communicate(), SECONDS)


@dataclass
class Place:
    """Where a data directory and its socket are."""

    root: Path

    @property
    def path(self) -> Path:
        return self.root / "data"

    def directory(self) -> DataDirectory:
        return DataDirectory(self.path, runtime_dir=self.root / "run")

    @asynccontextmanager
    async def user(self) -> AsyncIterator[User]:
        """Start a process that opens the pair; it is killed if it is still there at the end."""
        arguments = ["-m", "tests.support.redis_user", self.path, self.root / "run"]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=ROOT, stdin=pipe, stdout=pipe, limit=2**20
        )
        user = User(process)
        try:
            await user.answer()
            yield user
        finally:
            if process.returncode is None:
                await user.kill()

    def server(self) -> psutil.Process:
        """Return the server, which has to answer."""
        info = ask(self.directory().socket(), "INFO server")
        assert isinstance(info, str)
        return psutil.Process(int(info.partition("process_id:")[2].split()[0]))

    @property
    def served(self) -> bool:
        """Whether any process serves the directory, answering or not."""
        lock = FileLock(self.path / "redis" / "server.lock")
        free = lock.take()
        lock.release()
        return not free

    async def clear(self) -> None:
        """Be the last one out, after tests that leave a server behind on purpose."""
        async with open_redis(self.directory()):
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        left = (self.path / "redis").exists() and self.served
        if left:
            self.server().kill()
        shutil.rmtree(self.root)
        assert not left, "a redis-server was left"


@pytest.fixture
def place() -> Iterator[Place]:
    with Place(Path(tempfile.mkdtemp(prefix="gg-"))) as place:  # short, because a socket's path has to be
        yield place


def kill(process: psutil.Process) -> None:
    """`kill -9`, and wait until it has ended."""
    with ending(process):
        process.kill()


@contextmanager
def ending(process: psutil.Process) -> Iterator[None]:
    """Wait at the end for the end of a process that is nobody's child; whether init has noticed yet does not matter."""
    handle = os.pidfd_open(process.pid)
    try:
        yield
        assert wait([handle], SECONDS), f"{process} goes on"
    finally:
        os.close(handle)
