"""One redis-server process on one data directory: start it, ask it, end it. Everything here blocks, with a deadline."""

import logging
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import BinaryIO, Literal

from storage.embedded.binary import find_redis_server, server_version
from storage.embedded.directory import DataDirectory, unusable
from storage.embedded.locks import POLL_SECONDS, FileLock
from storage.errors import DataDirectoryError, StorageUnavailable

logger = logging.getLogger("goalgraph")

Fsync = Literal["everysec", "always"]
ANSWER_SECONDS = 2.0
LOG_LINES = 5
MOST_STARTS = 2
"""In a row: the first may have been killed by what killed the server before it."""
Answer = str | list["Answer"] | None


class RedisProcess:
    """The server of a data directory, whichever process started it.

    The server itself holds `server.lock`, which it inherits when it is started. So the kernel says whether one lives,
    and no process id, which may be stale or be another's by now, is trusted for it.

    All methods but `socket` want their caller to hold the lock that lets one process at a time start or stop it.

    Args:
        directory: Of which it keeps the data.
        binary: See `find_redis_server`; it is looked for only when a server has to be started.
        fsync: `always` outlives the loss of power, `everysec` may then lose the last second; both outlive `kill -9`.
    """

    def __init__(self, directory: DataDirectory, binary: Path | None, fsync: Fsync) -> None:
        self._directory = directory
        self._binary = binary
        self._fsync: Fsync = fsync
        self._alive = FileLock(directory.redis / "server.lock")
        self._log = directory.redis / "redis.log"
        self._where = directory.redis / "socket"
        """Names the socket of the server that runs: another process may have another folder for temporary files."""
        self.socket = directory.socket()

    def ensure(self, deadline: float) -> None:
        """Return when a server answers; start one when none lives.

        Raises:
            StorageUnavailable: it ends whenever it is started, or does not answer before `deadline`.
            RedisNotFound: none is there to start.
            DataDirectoryError: the folder cannot be written, or only a newer server can read it.
        """
        started = 0
        while True:
            if self._alive.take():
                if started == MOST_STARTS:
                    self._alive.release()
                    raise StorageUnavailable(f"redis-server ended when it was started; {self._last_words()}")
                self._start(deadline)
                started += 1
            elif not started:
                self.socket = self._socket_in_use()
            answer = ask(self.socket, "PING", min(ANSWER_SECONDS, max(0.1, deadline - time.monotonic())))
            if answer == "PONG":
                break
            if time.monotonic() >= deadline:
                raise StorageUnavailable(
                    f"the redis-server of {self._directory.path}, process {self._pid()}, does not answer on "
                    f"{self.socket} ({answer or 'no connection'}); wait, or end it with `kill` and open again"
                )
            time.sleep(POLL_SECONDS)
        if self._fsync == "always" and not started:  # whoever started it may have asked for less
            ask(self.socket, "CONFIG SET appendfsync always")

    def end(self, deadline: float) -> None:
        """Stop it with all its data on disk, and return when it is gone."""
        ask(self.socket, "SHUTDOWN", max(ANSWER_SECONDS, deadline - time.monotonic()))
        if self._alive.take_by(deadline):
            self._alive.release()
        else:
            logger.warning("the redis-server of %s does not end; process %s", self._directory.path, self._pid())

    def end_leftover(self) -> None:
        """End a server on our socket that has lost its data directory: it was deleted, and perhaps made anew."""
        answer = ask(self.socket, "CONFIG GET dir")
        if answer is None:
            return
        served = answer[1] if isinstance(answer, list) else answer
        if served not in {"", str(self._directory.redis)}:
            raise StorageUnavailable(
                f"{self.socket} belongs to a redis-server on {served}; end that one, and open again"
            )
        logger.warning("ending a redis-server whose data directory %s was deleted", self._directory.path)
        ask(self.socket, "SHUTDOWN", ANSWER_SECONDS)

    def _start(self, deadline: float) -> None:
        """Start a server that inherits `server.lock`, which we hold."""
        try:
            binary = find_redis_server(self._binary)
            if (self._directory.redis / "appendonlydir").exists() and server_version(binary) < (7, 0):
                # 6.2 would not look there, and start empty
                raise DataDirectoryError(
                    f"{self._directory.path} was written by a redis-server 7 or newer, which {binary} cannot read; "
                    "give the path of a newer one"
                )
            self.socket = self._directory.socket()
            self.end_leftover()
            self._where.write_bytes(os.fsencode(self.socket))
            if self._log.exists():
                self._log.replace(self._log.with_suffix(".log.old"))
            self._launch(binary, deadline)
        except OSError as error:
            raise unusable(error, self._directory.path) from error
        finally:
            self._alive.abandon()  # without freeing it: from here on it is the server's

    def _launch(self, binary: Path, deadline: float) -> None:
        try:
            # It forks and sets its own session before it says anything, so neither Ctrl-C nor our end reaches it.
            launched = subprocess.run(  # noqa: S603 - found by `find_redis_server`
                [binary, "-"],
                input=self._config().encode(errors="surrogateescape"),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[self._alive.fileno()],
                start_new_session=True,
                umask=0o077,
                timeout=max(0.1, deadline - time.monotonic()),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StorageUnavailable(f"{binary} did not start in time") from error
        if launched.returncode:
            said = launched.stdout.decode(errors="replace").strip().splitlines()[-LOG_LINES:]
            raise StorageUnavailable(f"{binary} did not start: {' / '.join(said) or self._last_words()}")

    def _config(self) -> str:
        redis = self._directory.redis
        settings = {
            "daemonize": "yes",
            "port": "0",
            "unixsocket": _quoted(self.socket),
            "unixsocketperm": "700",
            "dir": _quoted(redis),
            "pidfile": _quoted(redis / "redis.pid"),
            "logfile": _quoted(self._log),
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        return "".join(f"{name} {value}\n" for name, value in settings.items())

    def _socket_in_use(self) -> Path:
        try:
            return Path(os.fsdecode(self._where.read_bytes()))
        except FileNotFoundError:
            return self._directory.socket()

    def _pid(self) -> str:
        try:
            return (self._directory.redis / "redis.pid").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return "unknown"

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except FileNotFoundError:
            return "it left no log"
        return f"the end of {self._log}: {' / '.join(lines[-LOG_LINES:])}"


def ask(path: Path, command: str, timeout: float = ANSWER_SECONDS) -> Answer:
    """Return what the server on the socket at `path` answers, an error as text; `None` when it does not."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(f"{command}\r\n".encode())
            with connection.makefile("rb") as stream:
                return _read(stream)
    except (OSError, ValueError):  # nobody there, too slow, or cut in the middle
        return None


def _read(stream: BinaryIO) -> Answer:
    """Read one value of RESP 2."""
    line = stream.readline()
    kind, rest = line[:1], line[1:].rstrip(b"\r\n")
    match kind:
        case b"":
            return None
        case b"$":
            return stream.read(int(rest) + 2)[:-2].decode(errors="surrogateescape")
        case b"*":
            return [_read(stream) for _ in range(int(rest))]
        case _:
            return rest.decode(errors="replace")


def _quoted(path: Path) -> str:
    r"""Write a path for redis.conf, which reads `\"`, `\\` and `\xHH` between double quotes."""
    plain = "".join(
        f"\\x{ord(char):02x}" if ord(char) < 32 else f"\\{char}" if char in {'"', "\\"} else char for char in str(path)
    )
    return f'"{plain}"'
