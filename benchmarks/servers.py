"""Servers that peers need, started for a run and ended with it: a PostgreSQL, and a Redis with JSON and Search."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.rows import Unmeasured

Places = Mapping[str, str]
"""Peer → its URL, or why there is none; JSON, so that it can be told to a worker."""
NO_POSTGRES = "not installed: apt install postgresql"
NO_STACK = "no redis-stack-server"
PATIENCE = 20.0
"""Seconds for a server to start."""


@contextmanager
def peers() -> Generator[dict[str, str]]:
    """Start what can be found here; a server that is not there, or does not start, is a reason instead of a URL."""
    with ExitStack() as exits:
        places: dict[str, str] = {}
        for name, start in (("postgres", postgres), ("redis", redis_stack)):
            try:
                places[name] = exits.enter_context(start())
            except Unmeasured as reason:
                places[name] = str(reason)
        yield places


def url(places: Places, name: str) -> str:
    """Return where a server is.

    Raises:
        Unmeasured: there is none.
    """
    place = places.get(name, "not started")
    if "://" not in place:
        raise Unmeasured(place)
    return place


@contextmanager
def postgres() -> Generator[str]:
    """Run a PostgreSQL with its own defaults, on a socket in a folder of its own."""
    binaries = _postgres_binaries()
    with tempfile.TemporaryDirectory(prefix="gg-bench-pg-", ignore_cleanup_errors=True) as folder:
        user = _unprivileged(Path(folder))
        data = Path(folder, "data")
        initdb = [binaries / "initdb", "-D", data, "-U", "bench", "--auth=trust", "-E", "UTF8", "--no-sync"]
        try:
            subprocess.run(initdb, user=user, cwd=folder, check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            raise Unmeasured("initdb failed") from error
        command = [binaries / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="]
        with _running(command, Path(folder), user) as process:
            ready = [binaries / "pg_isready", "-q", "-h", folder]
            _await_(process, lambda: subprocess.run(ready, check=False, timeout=5).returncode == 0)
            yield f"postgresql://bench@/postgres?host={folder}"


@contextmanager
def redis_stack() -> Generator[str]:
    """Run the `redis-stack-server` of the path, with an AOF as ours has."""
    binary = shutil.which("redis-stack-server")
    if binary is None:
        raise Unmeasured(NO_STACK)
    with tempfile.TemporaryDirectory(prefix="gg-bench-redis-", ignore_cleanup_errors=True) as folder:
        socket = Path(folder, "redis.sock")
        options = {"port": "0", "unixsocket": socket, "dir": folder, "daemonize": "no"}
        options |= {"save": "", "appendonly": "yes", "appendfsync": "everysec"}
        command = [binary, *(part for name, value in options.items() for part in (f"--{name}", value))]
        with _running(command, Path(folder), None) as process:
            _await_(process, socket.exists)
            yield f"unix://{socket}"


def _postgres_binaries() -> Path:
    """Return the folder of the newest version that is installed."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    for folder in folders:
        if all((folder / name).exists() for name in ("initdb", "postgres", "pg_isready")):
            return folder
    raise Unmeasured(NO_POSTGRES)


def _unprivileged(folder: Path) -> int | None:
    """Give `folder` to a user that PostgreSQL runs as, which root is not."""
    if os.getuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(folder, found.pw_uid, found.pw_gid)
        folder.chmod(0o700)
        return found.pw_uid
    raise Unmeasured("no user to run it as")


@contextmanager
def _running(command: Sequence[str | Path], folder: Path, user: int | None) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command, user=user, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(2)  # to PostgreSQL it means: end now, and do not wait for clients
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()


def _await_(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unmeasured("did not start")
        time.sleep(0.02)
