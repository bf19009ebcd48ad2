"""One Redis for one event loop: its scripts are called here, and repeated where that does no harm."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

import hiredis
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError

from storage.errors import StorageRefused, StorageUnavailable
from storage.packing import utf8
from storage.redis.driver import LOST, NOT_TAKEN, RAISED, connect, mapped, without_password
from storage.redis.keys import PARTITIONS, Keys

logger = logging.getLogger("goalgraph")

FORMAT = "1"
"""Of the keys and values; another one needs a migration."""
OLDEST = (6, 2)
MOST_CALLS = 128
"""In one exchange: enough to spare round trips, few enough that the first need not wait long for the last."""
MOST_BYTES = 1_000_000
ATTEMPTS = 4
ALONE = 2
"""Lost exchanges after which a call is sent alone: it may be what Redis closes the connection for."""
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


@dataclass(slots=True, eq=False)
class _Call:
    script: Script
    command: tuple[Argument, ...]
    """`keys count, keys…, arguments…`."""
    packed: bytes
    answer: asyncio.Future[Any]
    lost: int = 0
    """Exchanges that were cut off before its answer came."""


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
        self._closed = False
        self._another: Callable[[], Awaitable[RedisClient]] | None = None

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
        client = cls(connect(url, timeout), keys or Keys(), without_password(url))
        client._another = partial(cls.open, url, keys=client.keys, cold=cold, timeout=timeout)
        try:
            await client._check(cold=cold)
        except BaseException:  # whatever it is, it is raised again
            await client.aclose()
            raise
        return client

    async def another(self) -> "RedisClient":
        """Open a client of the same server, for the event loop that asks for it, also in another thread.

        Raises:
            RuntimeError: this one was not made by `open`. Others as `open`.
        """
        if self._another is None:
            raise RuntimeError("only a client that was opened knows where its server is")
        return await self._another()

    async def call(self, script: Script, keys: Sequence[bytes], args: Sequence[Argument]) -> Any:
        """Run `script` with keys of one partition.

        Raises:
            StorageUnavailable: no answer came, also after trying again; or `aclose` was called.
            StorageError: what the script, or Redis, says.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            raise RuntimeError("this storage was opened in another event loop; use it there, or open another")
        if self._closed:
            raise StorageUnavailable(f"the connection to {self.where} is closed")
        command = (len(keys), *keys, *map(_plain, args))
        if isinstance(self._server, RedisCluster):
            return await self._call_cluster(self._server, script, command)
        call = _Call(script, command, _pack(("EVALSHA", script.sha, *command)), loop.create_future())
        self._waiting.append(call)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._exchange_all(), name="goalgraph-redis")
            self._pump.add_done_callback(self._stopped)
        return await call.answer

    async def call_each(self, script: Script, calls: Sequence[tuple[Sequence[bytes], Sequence[Argument]]]) -> list[Any]:
        """Run `script` once for each pair of keys and arguments, together; raises the first error."""
        return await all_of(self.call(script, keys, args) for keys, args in calls)

    async def guard(self, work: Awaitable[Any]) -> Any:
        """Await a call of the driver and map what it raises."""
        try:
            return await work
        except RAISED as error:
            raise mapped(error, self.where) from error

    async def aclose(self) -> None:
        """Finish what is under way and disconnect; what is called from now on fails."""
        self._closed = True
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
        info = cast("dict[str, Any]", await self._repeat(lambda: cast("Any", server).info(**node)))
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

        async def once() -> Any:
            try:
                return await send("EVALSHA", script.sha, *command)
            except NoScriptError:
                return await send("EVAL", script.source, *command)

        return await self._repeat(once, lost=script.repeatable)

    async def _repeat(self, send: Callable[[], Awaitable[Any]], *, lost: bool = True) -> Any:
        """Send until there is an answer; after an answer was lost, only if `lost`."""
        attempt = 1
        while True:
            try:
                return await send()
            except RAISED as error:
                again = isinstance(error, NOT_TAKEN) or (lost and isinstance(error, LOST))
                if attempt == ATTEMPTS or not again:
                    raise mapped(error, self.where) from error
            await asyncio.sleep(_pause(attempt))
            attempt += 1

    async def _exchange_all(self) -> None:
        """Send what waits, again and again, until nothing waits."""
        attempt = 0
        while self._waiting:
            batch = self._next_batch()
            connected = False
            try:
                connection = await self._connected()
                connected = True
                await self._exchange(connection, batch)
                attempt = 0
            except BaseException as error:  # it is handed to each call that waits for it
                attempt += 1
                await self._drop_connection()
                again = isinstance(error, LOST) and attempt < ATTEMPTS
                retried: list[_Call] = []
                for call in batch:
                    call.lost += connected
                    if again and call.script.repeatable and call.lost < ATTEMPTS and not call.answer.done():
                        retried.append(call)
                    else:
                        _fail(call, mapped(error, self.where))
                self._waiting = retried + self._waiting
                if not isinstance(error, Exception):
                    raise
                if retried:
                    await asyncio.sleep(_pause(attempt))

    def _stopped(self, pump: asyncio.Task[None]) -> None:
        """Let nobody wait for a pump that was cancelled, perhaps before its first step."""
        if self._pump is pump:  # else another goes on with what waits
            waiting, self._waiting = self._waiting, []
            for call in waiting:
                _fail(call, mapped(asyncio.CancelledError(), self.where))

    def _next_batch(self) -> list[_Call]:
        """Take what waits, as much of it as one exchange should carry."""
        size, count = 0, 0
        for call in self._waiting[:MOST_CALLS]:
            size += len(call.packed)
            alone = call.lost >= ALONE
            if count and (alone or size > MOST_BYTES):
                break
            count += 1
            if alone:
                break
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _connected(self) -> AbstractConnection:
        connection = self._connection
        if connection is None:
            connection = self._connection = cast("Redis", self._server).connection_pool.make_connection()
        if not connection.is_connected:
            await connection.connect_check_health(retry_socket_connect=False)  # once: it is calls that are repeated
        return connection

    async def _exchange(self, connection: AbstractConnection, batch: Sequence[_Call]) -> None:
        """Send a batch on the one connection and hand out the answers."""
        await connection.send_packed_command(b"".join([call.packed for call in batch]), check_health=False)
        unknown: list[_Call] = []
        for call in batch:
            try:
                answer = await _response(connection)
            except NoScriptError:
                unknown.append(call)
            except ResponseError as error:
                _fail(call, mapped(error, self.where))
            else:
                if not call.answer.done():
                    call.answer.set_result(answer)
        for call in unknown:  # Redis was started anew; from now on it knows the script
            await connection.send_command("EVAL", call.script.source, *call.command)
            try:
                answer = await _response(connection)
            except ResponseError as error:
                _fail(call, mapped(error, self.where))
            else:
                if not call.answer.done():
                    call.answer.set_result(answer)

    async def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*LOST, RedisError):
                await connection.disconnect(nowait=True)


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


def _plain(argument: Argument) -> Argument:
    """Encode text as keys are: half of a surrogate pair is a character of Python, and the driver refuses it."""
    return utf8(argument) if isinstance(argument, str) else argument


def _pause(attempt: int) -> float:
    """Return the seconds to wait after the first, second, … attempt."""
    return 0.05 * 4 ** (attempt - 1)
