"""Shares one redis-server among the processes of a data directory: the first starts it, the last one out stops it."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from storage.embedded.directory import DataDirectory
from storage.embedded.locks import FileLock
from storage.embedded.server import Fsync, RedisProcess
from storage.errors import StorageError, StorageUnavailable

logger = logging.getLogger("goalgraph")

STEADY_SECONDS = 1.0
LONGEST_PAUSE = 5.0


@asynccontextmanager
async def open_redis(
    directory: DataDirectory, *, binary: Path | None = None, fsync: Fsync = "everysec", timeout: float = 30.0
) -> AsyncGenerator[str]:
    """Start the redis-server of `directory`, or attach to it, and give its `unix://` URL.

    Starting takes about 30 ms, and longer the more there is to load. While it is open, a server that ends (a crash,
    `kill -9`) is started again at once, by whichever process sees it first; with a client that repeats its calls for a
    second, nothing is noticed. A process that is killed leaves the server running for the next one.

    It may be open several times in a process, and in several processes. After a fork it is the parent's alone.

    Args:
        directory: Whose data it serves.
        binary: The redis-server to start; see `find_redis_server`.
        fsync: When the AOF goes to the disk: what an acknowledged write outlives. The strictest of those who open wins.
        timeout: Seconds until it has to answer. One that is still loading then goes on, and the next opening finds it.

    Raises:
        StorageUnavailable: it does not start or answer; the message has the end of its log.
        RedisNotFound: none is there to start.
        DataDirectoryError: the folder or the path of the socket cannot be used.
    """
    process = os.getpid()
    share = _Share(directory, RedisProcess(directory, binary, fsync), timeout)
    try:
        await _finish(share.join)
        watcher = asyncio.create_task(share.watch())
        try:
            yield f"unix://{quote(os.fsencode(share.server.socket))}?db=0"
        finally:
            watcher.cancel()
            if os.getpid() == process:
                await asyncio.wait([watcher])
    finally:
        if os.getpid() == process:  # a forked child has no share, and none of the threads that waiting needs
            await _finish(share.leave)


class _Share:
    """One user's share in the server. `users.lock` counts them, `start.lock` lets one at a time come, mend or go."""

    def __init__(self, directory: DataDirectory, server: RedisProcess, timeout: float) -> None:
        self.server = server
        self._directory = directory
        self._timeout = timeout
        self._users = FileLock(directory.redis / "users.lock")

    def join(self) -> None:
        with self._alone() as deadline:
            if not self._users.take_by(deadline, shared=True):  # taken alone only by one that is going, under our lock
                raise StorageUnavailable(f"{self._users.path} is locked by a process that is no Goalgraph; end it")
            try:
                self.server.ensure(deadline)
            except BaseException:  # raised again; the share must not outlive it
                self._users.release()  # without stopping a server that may just need longer
                raise

    def leave(self) -> None:
        if not self._users.held:
            return
        try:
            with self._alone() as deadline:
                if self._users.take():
                    self.server.end(deadline)
        except StorageError as error:
            if self._directory.redis.exists():
                logger.warning("the redis-server is left running: %s", error)
            else:  # deleted under us, and nobody will ever look for its server
                self.server.end_leftover()
        finally:
            self._users.release()

    async def watch(self) -> None:
        """Start the server again whenever it ends, which shows at once on a connection that is kept for it."""
        clock = asyncio.get_running_loop().time
        pause = 0.0
        while True:
            since = clock()
            await _until_cut(self.server.socket)
            pause = 0.0 if clock() - since > STEADY_SECONDS else min(2 * pause + 0.05, LONGEST_PAUSE)
            try:
                await _finish(self._mend)
            except StorageError as error:
                logger.warning("the redis-server cannot be started again: %s", error)
            await asyncio.sleep(pause)

    def _mend(self) -> None:
        before = self.server.socket
        with self._alone() as deadline:
            self.server.ensure(deadline)
        if self.server.socket != before:
            logger.warning("the redis-server moved from %s to %s; open the storage again", before, self.server.socket)

    @contextmanager
    def _alone(self) -> Generator[float]:
        """Keep other processes from starting or stopping it; gives the deadline for what is done meanwhile."""
        deadline = time.monotonic() + self._timeout
        lock = FileLock(self._directory.redis / "start.lock")
        if not lock.take_by(deadline):
            raise StorageUnavailable(
                f"another process has been starting the redis-server of {self._directory.path} for "
                f"{self._timeout:.0f} s; try again, or end that process"
            )
        try:
            yield deadline
        finally:
            lock.release()


async def _until_cut(socket: Path) -> None:
    """Return when the server closes a connection, or does not take one."""
    with suppress(OSError):
        reader, writer = await asyncio.open_unix_connection(socket)
        try:
            await reader.read()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def _finish(call: Callable[[], None]) -> None:
    """Run `call` in a thread; when cancelled, still wait for its end: it has a deadline, and may have taken a lock."""
    work = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        with suppress(StorageError):
            work.result()
        raise
