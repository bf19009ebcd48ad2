"""One Redis for one event loop: connecting, calling scripts, and the only place that knows what the driver raises."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import hiredis
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from storage.errors import Fenced, OutboxFull, StorageError, StorageRefused, StorageUnavailable
from storage.redis.keys import PARTITIONS, Keys

logger = logging.getLogger("goalgraph")

FORMAT = "1"
"""Of the keys and values; another one needs a migration."""
OLDEST = (6, 2)
MOST_CALLS = 128
"""In one exchange: enough to spare round trips, few enough that the first need not wait long for the last."""
MOST_BYTES = 1_000_000
ATTEMPTS = 4
LOST = (RedisConnectionError, RedisTimeoutError, OSError, asyncio.IncompleteReadError)
AWAY = (BusyLoadingError, ClusterDownError, OutOfMemoryError, ReadOnlyError)
REFUSED = (AuthenticationError, AuthorizationError, NoPermissionError)

Argument = bytes | str | int | float
Result = TypeVar("Result")
_pack: Callable[[tuple[Argument, ...]], bytes] = cast("Any", hiredis).pack_command  # in C; the driver's is in Python


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script. `repeatable`: calling it twice is calling it once, so it is sent again when an answer was lost."""

    name: str
    source: str
    repeatable: bool = True
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", sha)


@dataclass(slots=True)
class _Call:
    script: Script
    command: tuple[Argument, ...]
    """`keys count, keys…, arguments…`."""
    packed: bytes
    answer: asyncio.Future[Any]


OPEN_PARTITION = Script(
    "open_partition",
    """
    redis.call('HSETNX', KEYS[1], 'format', ARGV[1])
    redis.call('HSETNX', KEYS[1], 'cold', ARGV[2])
    return redis.call('HGET', KEYS[1], 'format')
    """,
)


class RedisClient:
    """Calls scripts. Calls that are made while others are under way travel together on one connection.

    Args:
        server: The driver's client of one server or of a cluster.
        keys: Names of the keys.
        where: The URL without its password, for messages.
    """

    def __init__(self, server: "Redis | RedisCluster", keys: Keys, where: str) -> None:
        self.keys = keys
        self.where = where
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Call] = []
        self._pump: asyncio.Task[None] | None = None
        self._connection: AbstractConnection | None = None

    @property
    def server(self) -> "Redis | RedisCluster":
        """The driver's client, for what is not a script; wrap its use in `guard`."""
        return self._server

    @classmethod
    async def open(
        cls, url: str, *, keys: Keys | None = None, cold: bool = True, timeout: float = 5.0
    ) -> "RedisClient":
        """Connect to `redis://`, `rediss://`, `unix://` or `redis+cluster://`, and check what is there.

        Args:
            url: Of the server, or of one node of a cluster.
            keys: Names of the keys; below `gg` by default.
            cold: Whether the archive may hold what this Redis does not, if this Redis is empty.
            timeout: Seconds for connecting and for each answer.

        Raises:
            StorageUnavailable: nothing answers there.
            StorageRefused: the URL, the password or the version is wrong; the message says which.
        """
        client = cls(_connect(url, timeout), keys or Keys(), _without_password(url))
        try:
            await client._check(cold=cold)
        except BaseException:  # whatever it is, it is raised again
            await client.aclose()
            raise
        return client

    async def call(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument]) -> Any:
        """Run `script` with keys of one partition.

        Raises:
            StorageUnavailable: no answer came, also after trying again.
            StorageError: what the script, or Redis, says.
        """
        command = (len(keys), *keys, *args)
        if isinstance(self._server, RedisCluster):
            return await self._call_cluster(self._server, script, command)
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            raise RuntimeError("this storage was opened in another event loop; use it there, or open another")
        call = _Call(script, command, _pack(("EVALSHA", script.sha, *command)), loop.create_future())
        self._waiting.append(call)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._exchange_all(), name="goalgraph-redis")
        return await call.answer

    async def call_each(self, script: Script, calls: Sequence[tuple[Sequence[bytes], Sequence[Argument]]]) -> list[Any]:
        """Run `script` once for each pair of keys and arguments, together; raises the first error."""
        return await all_of(self.call(script, keys, args) for keys, args in calls)

    async def guard(self, work: Awaitable[Any]) -> Any:
        """Await a call of the driver and map what it raises."""
        try:
            return await work
        except (RedisError, RedisClusterException, *LOST) as error:
            raise self._mapped(error) from error

    async def aclose(self) -> None:
        """Finish what is under way and disconnect."""
        if self._pump is not None:
            with suppress(asyncio.CancelledError):
                await self._pump
        if self._connection is not None:
            await self._connection.disconnect()
            self._connection = None
        await self._server.aclose()

    async def _check(self, *, cold: bool) -> None:
        server = self._server
        node = {"target_nodes": RedisCluster.RANDOM} if isinstance(server, RedisCluster) else {}
        info = cast("dict[str, Any]", await self.guard(cast("Any", server).info(**node)))
        if isinstance(next(iter(info.values()), None), dict):  # a cluster answers for each node
            info = next(iter(info.values()))
        version = str(info.get("redis_version", "0"))
        if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
            raise StorageRefused(f"{self.where} runs Redis {version}; goalgraph needs 6.2 or newer (or Valkey)")
        policy = str(info.get("maxmemory_policy", "noeviction"))
        if policy.startswith("allkeys"):
            logger.warning(
                "%s has maxmemory-policy %s: Redis may drop runs that are not archived yet; set it to noeviction",
                self.where,
                policy,
            )

        metas = [self.keys.partition(number, "meta") for number in range(PARTITIONS)]
        formats = await self.call_each(OPEN_PARTITION, [([meta], [FORMAT, int(cold)]) for meta in metas])
        other = {form.decode(errors="replace") for form in formats} - {FORMAT}
        if other:
            raise StorageRefused(
                f"the data in {self.where} have format {', '.join(sorted(other))}, and this version of goalgraph reads "
                f"{FORMAT}; use the version that wrote them, or another key prefix"
            )

    async def _call_cluster(self, server: RedisCluster, script: Script, command: tuple[Argument, ...]) -> Any:
        send = cast("Callable[..., Awaitable[Any]]", server.execute_command)
        try:
            try:
                return await send("EVALSHA", script.sha, *command)
            except NoScriptError:
                return await send("EVAL", script.source, *command)
        except (RedisError, RedisClusterException, *LOST) as error:
            raise self._mapped(error) from error

    async def _exchange_all(self) -> None:
        """Send what waits, again and again, until nothing waits."""
        attempt = 0
        while self._waiting:
            batch = self._next_batch()
            try:
                await self._exchange(batch)
                attempt = 0
            except BaseException as error:  # it is handed to each call that waits for it
                attempt += 1
                await self._drop_connection()
                again = isinstance(error, LOST) and attempt < ATTEMPTS
                left = [call for call in batch if not call.answer.done()]
                retried = [call for call in left if again and call.script.repeatable]
                for call in left:
                    if call not in retried:
                        _fail(call, self._mapped(error))
                self._waiting = retried + self._waiting
                if not isinstance(error, Exception):
                    raise
                if retried:
                    await asyncio.sleep(0.05 * 4 ** (attempt - 1))

    def _next_batch(self) -> list[_Call]:
        """Take what waits, as much of it as one exchange should carry."""
        size, count = 0, 0
        while count < min(len(self._waiting), MOST_CALLS) and size < MOST_BYTES:
            size += len(self._waiting[count].packed)
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _exchange(self, batch: Sequence[_Call]) -> None:
        """Send a batch on the one connection and hand out the answers."""
        connection = self._connection
        if connection is None:
            connection = self._connection = cast("Redis", self._server).connection_pool.make_connection()
        if not connection.is_connected:
            await connection.connect_check_health(retry_socket_connect=False)  # once: it is calls that are repeated
        await connection.send_packed_command(b"".join([call.packed for call in batch]), check_health=False)
        unknown: list[_Call] = []
        for call in batch:
            try:
                answer = await _response(connection)
            except NoScriptError:
                unknown.append(call)
            except ResponseError as error:
                _fail(call, self._mapped(error))
            else:
                if not call.answer.done():
                    call.answer.set_result(answer)
        for call in unknown:  # Redis was started anew; from now on it knows the script
            await connection.send_command("EVAL", call.script.source, *call.command)
            try:
                answer = await _response(connection)
            except ResponseError as error:
                _fail(call, self._mapped(error))
            else:
                if not call.answer.done():
                    call.answer.set_result(answer)

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*LOST, RedisError):
                await connection.disconnect(nowait=True)

    def _mapped(self, error: BaseException) -> BaseException:
        """Return what a caller should see."""
        said = str(error)
        name, _, rest = said.partition(" ")
        match error:
            case StorageError():
                return error
            case ResponseError() if name == "FENCED":
                token, newest, thread = rest.split(" ", 2)
                return Fenced(thread, int(token), int(newest))
            case ResponseError() if name == "OUTBOXFULL":
                waiting, limit = rest.split(" ")
                return OutboxFull(int(waiting), int(limit))
            case _ if isinstance(error, REFUSED) or name in {"NOAUTH", "WRONGPASS", "NOPERM"}:
                return StorageRefused(
                    f"{self.where} refuses the connection ({said}); check user and password in its URL"
                )
            case ResponseError() if name == "MISCONF" or "MISCONF" in said:
                return StorageUnavailable(f"{self.where} cannot write to its disk: {said}")
            case _ if isinstance(error, AWAY) or "-OOM " in said or "-READONLY " in said:  # inside a script, on 6.2
                return StorageUnavailable(f"{self.where} cannot take writes now: {said}")
            case _ if isinstance(error, LOST):
                return StorageUnavailable(f"{self.where} does not answer ({said or type(error).__name__})")
            case RedisClusterException() if isinstance(error.__cause__, LOST):
                return StorageUnavailable(f"{self.where} does not answer ({error.__cause__})")
            case RedisClusterException() if "mode is not enabled" in said:
                return StorageRefused(f"{self.where} is no cluster; write {self.where.replace('+cluster', '', 1)}")
            case RedisError() | RedisClusterException():
                return StorageRefused(f"{self.where} refuses: {said}")
            case _:
                return error


async def all_of(calls: Iterable[Awaitable[Result]]) -> list[Result]:
    """Await `calls` together; the first error, or a cancellation, is raised when none of them is under way any more."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def _response(connection: AbstractConnection) -> object:
    return await cast("Any", connection).read_response(disable_decoding=True)


def _fail(call: _Call, error: BaseException) -> None:
    if not call.answer.done():
        call.answer.set_exception(error)


def _connect(url: str, timeout: float) -> "Redis | RedisCluster":
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.05), 3)
    options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": retry}
    try:
        if url.startswith(("redis+cluster://", "rediss+cluster://")):
            return RedisCluster.from_url(url.replace("+cluster", "", 1), **options)
        return cast("Any", Redis).from_url(url, max_connections=64, **options)
    except (RedisError, ValueError) as error:
        raise StorageRefused(
            f"{_without_password(url)!r} is no URL of a Redis ({error}); write redis://host:6379/0"
        ) from error


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
