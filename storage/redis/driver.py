"""The driver of Redis: how it is opened, what it raises, and what that is called here."""

import asyncio
import re
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    SlotNotCoveredError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from storage.errors import Fenced, OutboxFull, StorageError, StorageRefused, StorageUnavailable

LOST = (RedisConnectionError, RedisTimeoutError, OSError, asyncio.IncompleteReadError)
"""No answer came, so the command may have been run."""
NOT_TAKEN = (ClusterError, SlotNotCoveredError)
"""No node of the cluster ran the command: it is down, or a slot is on its way from one to another."""
RAISED = (RedisError, RedisClusterException, *LOST)
"""All that the driver raises."""
_AWAY = (BusyLoadingError, OutOfMemoryError, ReadOnlyError, *NOT_TAKEN)
_REFUSED = (AuthenticationError, AuthorizationError, NoPermissionError)


def connect(url: str, timeout: float) -> "Redis | RedisCluster":
    """Return the driver's client, which never repeats a command: it does not know which may be repeated.

    Args:
        url: `redis://`, `rediss://`, `unix://`, `redis+cluster://` or `rediss+cluster://`.
        timeout: Seconds for connecting and for each answer.

    Raises:
        StorageRefused: the URL is none.
    """
    retry = Retry(NoBackoff(), 0)
    options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": retry}
    try:
        if url.startswith(("redis+cluster://", "rediss+cluster://")):
            return RedisCluster.from_url(url.replace("+cluster", "", 1), **options)
        return cast("Any", Redis).from_url(url, max_connections=64, **options)
    except (RedisError, ValueError) as error:
        raise StorageRefused(
            f"{without_password(url)!r} is no URL of a Redis ({error}); write redis://host:6379/0"
        ) from error


def without_password(url: str) -> str:
    """Return `url` as messages show it: without a login, and without passwords among its options."""
    scheme, separator, rest = url.partition("://")
    masked = re.sub(r"(?i)([?&]\w*password=)[^&#]*", r"\1***", rest)
    return f"{scheme}{separator}{masked.rpartition('@')[2]}"


def mapped(error: BaseException, where: str) -> BaseException:
    """Return what a caller should see of `error`.

    Args:
        error: What the driver raised, or what ended the exchange.
        where: The URL without its password.
    """
    said = str(error)
    name, _, rest = said.partition(" ")
    match error:
        case StorageError():
            return error
        case asyncio.CancelledError():
            return StorageUnavailable(f"the exchange with {where} was cancelled before it answered")
        case ResponseError() if name == "FENCED":
            token, newest, thread = rest.split(" ", 2)
            return Fenced(thread, int(token), int(newest))
        case ResponseError() if name == "OUTBOXFULL":
            waiting, limit = rest.split(" ")
            return OutboxFull(int(waiting), int(limit))
        case _ if isinstance(error, _REFUSED) or name in {"NOAUTH", "WRONGPASS", "NOPERM"}:
            return StorageRefused(f"{where} refuses the connection ({said}); check user and password in its URL")
        case ResponseError() if name == "MISCONF" or "MISCONF" in said:
            return StorageUnavailable(f"{where} cannot write to its disk: {said}")
        case _ if isinstance(error, _AWAY) or "-OOM " in said or "-READONLY " in said:  # inside a script, on 6.2
            return StorageUnavailable(f"{where} cannot take writes now: {said}")
        case _ if isinstance(error, LOST):
            return StorageUnavailable(f"{where} does not answer ({said or type(error).__name__})")
        case RedisClusterException() if isinstance(error.__cause__, LOST):
            return StorageUnavailable(f"{where} does not answer ({error.__cause__})")
        case RedisClusterException() if "mode is not enabled" in said:
            return StorageRefused(f"{where} is no cluster; write {where.replace('+cluster', '', 1)}")
        case RedisError() | RedisClusterException():
            return StorageRefused(f"{where} refuses: {said}")
        case _:
            return error
