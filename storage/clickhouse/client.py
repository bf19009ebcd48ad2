"""One ClickHouse: a server over HTTP, or the engine in this process. The only place that knows what the driver raises.

The driver, the engine (555 MB) and what they import are loaded when the first connection is made, never before.
"""

# ruff: noqa: S608 - statements are put together from constants; values are always bound

import asyncio
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from storage.clickhouse.connecting import RIGHTS, UNKNOWN_DATABASE, Connect, Driver, to_path, to_server
from storage.clickhouse.urls import ServerAddress
from storage.errors import ArchiveUnavailable, StorageError, StorageRefused

if TYPE_CHECKING:
    from clickhouse_connect.driver.exceptions import ClickHouseError

THREADS = 4
CONNECT_SECONDS = 5
ANSWER_SECONDS = 30

Parameter = str | bytes | int | float | Sequence["Parameter"]
_T = TypeVar("_T")
_HAS_COLUMNS = re.compile(r"\s*\(?\s*(?:SELECT|WITH)\b", re.IGNORECASE)

_NO_CONNECTION = re.compile(r"(?:\[Errno -?\d+\] |NameResolutionError.*?: |(?=Connection to \S+ timed out))([\w ]+)")
"""In what the driver says of what urllib3 says of what the system said."""
_LOGIN = frozenset({192, 193, 194, 516})  # unknown user, wrong password, required password, authentication failed
_LATER = frozenset({  # the server cannot now, and may be able to when it is asked again
    3, 74, 75, 76, 159, 160, 202, 203, 209, 210, 236, 241, 242, 243, 252, 254, 279, 285, 286, 289, 290, 307, 319, 394,
    425, 439, 700, 999,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rows:
    """An answer; text is `str`, or `bytes` where it is not UTF-8."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


class ClickHouseClient:
    """Connects at the first call, and again at the next call when that failed; made by `server` or `in_process`.

    Blocking calls run in threads of its own, so that a slow archive does not use up those of `asyncio.to_thread`.

    Args:
        connect: Connects, blocking.
        where: The URL without its password, or the path; for messages.
        user: Who we are there, for messages.
        database: Which one is used there, for messages.
        serial: Whether a connection takes one call at a time, and none after one that failed.
    """

    def __init__(
        self, connect: Connect, where: str, *, user: str = "default", database: str = "default", serial: bool = False
    ) -> None:
        self.where = where
        self.user = user
        self.database = database
        self._connect = connect
        self._serial = serial
        self._drivers: dict[bool, Driver] = {}
        self._locks = {read_only: threading.Lock() for read_only in (False, True)}
        """Held while a connection is made, and in process while it is used."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="goalgraph-archive")
        self._pid = os.getpid()
        self._closed = False

    async def connect(self) -> None:
        """Connect now.

        Raises:
            ArchiveUnavailable: no answer, or another process holds the path.
            StorageRefused: the URL, the password, the database or the version is wrong; the message says which.
        """
        await self._call(lambda driver: driver.server_version)

    async def command(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> None:
        """Run a statement that changes something."""
        await self._call(lambda driver: driver.command(sql, _bound(parameters)))

    async def query(self, sql: str, parameters: Mapping[str, Parameter] | None = None) -> Sequence[Sequence[Any]]:
        """Return the rows of a query; every string of the answer is `bytes`, whatever its column."""

        def run(driver: Driver) -> Sequence[Sequence[Any]]:
            return self._whole(driver.query(sql, _bound(parameters), query_formats={"String": "bytes"})).result_rows

        return await self._call(run)

    async def read_only(self, sql: str, parameters: Mapping[str, object] | None = None) -> Rows:
        """Run a query of a user on a connection on which the engine itself refuses to write."""
        bound = _bound(cast("Mapping[str, Parameter] | None", parameters))

        def run(driver: Driver) -> Rows:
            answer = self._whole(driver.query(sql, bound, query_formats={"String": "bytes"}))
            if not answer.column_names and _HAS_COLUMNS.match(sql):  # the engine in process says nothing about no rows
                answer = driver.query(f"SELECT * FROM (\n{sql.strip().rstrip(';')}\n) LIMIT 0", bound)
            rows = [tuple(_readable(value) for value in row) for row in answer.result_rows]
            return Rows(tuple(answer.column_names), rows)

        return await self._call(run, read_only=True)

    async def insert(self, table: str, columns: Sequence[str], rows: bytes) -> None:
        """Insert rows in the format RowBinary."""
        await self._call(lambda driver: driver.raw_insert(table, columns, rows, fmt="RowBinary"))

    async def aclose(self) -> None:
        """Finish what is under way and disconnect; closing twice changes nothing."""
        self._closed = True

        if self._pid == os.getpid():  # after a fork, the engine and its threads are the parent's
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._threads.shutdown()
        while self._drivers:
            self._drivers.popitem()[1].close()

    async def _call(self, work: Callable[[Driver], _T], *, read_only: bool = False) -> _T:
        if self._closed:
            raise ArchiveUnavailable(f"the archive {self.where} is closed")
        if self._pid != os.getpid():
            raise ArchiveUnavailable(
                f"the archive {self.where} was opened before this process was forked; open it after"
            )
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._guarded, work, read_only)

    def _guarded(self, work: Callable[[Driver], _T], read_only: bool) -> _T:  # noqa: FBT001 - for the executor
        from clickhouse_connect.driver.exceptions import ClickHouseError  # noqa: PLC0415 - loaded when first used

        lock = self._locks[read_only]
        try:
            with lock:
                driver = self._drivers.get(read_only)
                if driver is None:
                    driver = self._drivers[read_only] = self._connect(read_only)
                if self._serial:
                    try:
                        return work(driver)
                    except ClickHouseError:
                        self._replace(driver, read_only=read_only)
                        raise
            return work(driver)
        except ClickHouseError as error:
            raise self._mapped(error) from error
        except (LookupError, TypeError, ValueError) as error:  # parameters that do not fit, or an answer
            raise StorageRefused(f"{self.where} cannot be asked this: {error!r}") from error
        except OSError as error:  # rows for the engine in process go through a temporary file
            raise ArchiveUnavailable(f"the archive {self.where} cannot be used now: {error}") from error

    def _whole(self, answer: Any) -> Any:
        """Refuse an answer without columns: the driver takes one that is cut within its HTTP headers for no rows."""
        if not self._serial and not answer.column_names:
            raise ArchiveUnavailable(f"the archive {self.where} did not answer to the end")
        return answer

    def _replace(self, driver: Driver, *, read_only: bool) -> None:
        """Make another connection: in process, the next answer on this one would begin with what the failed one left.

        It is made before the old one is closed, because the last one that closes gives up the engine's path.
        """
        del self._drivers[read_only]
        try:
            self._drivers[read_only] = self._connect(read_only)
        finally:
            driver.close()

    def _mapped(self, error: "ClickHouseError") -> StorageError:
        """Return what a caller should see."""
        said = " ".join(str(error).split())[:600]
        code: int | None = getattr(error, "code", None)
        ours = type(error).__name__ in {"DataError", "NotSupportedError", "ProgrammingError"}  # it was never sent
        if code is None and (unreachable := _NO_CONNECTION.search(said)):
            return ArchiveUnavailable(
                f"the archive {self.where} does not answer ({unreachable[1]}); start it, or check its URL"
            )
        if code is None and "without response" in said:
            return ArchiveUnavailable(
                f"the archive {self.where} ends the connection without an answer; if that is no ClickHouse, "
                f"{ServerAddress.HINT}"
            )
        if code in _LATER or (code is None and not ours):
            return ArchiveUnavailable(f"the archive {self.where} does not answer as it should ({said})")
        if code in _LOGIN:
            return StorageRefused(f"{self.where} refuses user {self.user!r}; check user and password in its URL")
        if code == UNKNOWN_DATABASE:
            return StorageRefused(
                f"{self.where} has no database {self.database!r}; create it, or name another ({said})"
            )
        if code in RIGHTS:
            return StorageRefused(f"{self.where} does not let user {self.user!r} do this: {said}")
        return StorageRefused(f"{self.where} refuses: {said}")


def in_process(path: str | Path) -> ClickHouseClient:
    """Return a client of the engine in this process, with its data below `path`; nothing is opened yet.

    The engine takes one path in a process, and one process for a path. It does not survive a fork.
    """
    return ClickHouseClient(to_path(Path(path)), str(path), serial=True)


def server(url: str, *, connect_timeout: float = CONNECT_SECONDS, timeout: float = ANSWER_SECONDS) -> ClickHouseClient:
    """Return a client of a server; nothing is connected yet.

    Args:
        url: `clickhouse://user:password@host:8123/database`, `clickhouses://…` with TLS (8443), or `http(s)://`.
        connect_timeout: Seconds for connecting.
        timeout: Seconds for each answer.

    Raises:
        StorageRefused: that is no such URL.
    """
    address = ServerAddress.of(url)
    connect = to_server(address, connect_timeout, timeout)
    return ClickHouseClient(connect, address.where, user=address.user, database=address.database)


async def open_chdb(path: str | Path) -> ClickHouseClient:
    """Open the engine in this process. Raises: as `ClickHouseClient.connect`."""
    return await _opened(in_process(path))


async def open_server(
    url: str, *, connect_timeout: float = CONNECT_SECONDS, timeout: float = ANSWER_SECONDS
) -> ClickHouseClient:
    """Connect to a server; arguments as `server`. Raises: as `ClickHouseClient.connect`."""
    return await _opened(server(url, connect_timeout=connect_timeout, timeout=timeout))


async def _opened(client: ClickHouseClient) -> ClickHouseClient:
    try:
        await client.connect()
    except BaseException:  # whatever it is, it is raised again
        await client.aclose()
        raise
    return client


def _bound(parameters: Mapping[str, Parameter] | None) -> dict[str, Any] | None:
    """Parameters for the driver. Text goes as bytes, which it escapes one by one, so any character can be in it."""
    return {name: _encoded(value) for name, value in parameters.items()} if parameters else None


def _encoded(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "surrogatepass")
        case list():
            return [_encoded(each) for each in cast("list[Any]", value)]
        case tuple():
            return tuple(_encoded(each) for each in cast("tuple[Any, ...]", value))
        case _:
            return value


def _readable(value: Any) -> Any:
    match value:
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return value
        case list():
            return [_readable(each) for each in cast("list[Any]", value)]
        case tuple():
            return tuple(_readable(each) for each in cast("tuple[Any, ...]", value))
        case dict():
            return {_readable(key): _readable(each) for key, each in cast("dict[Any, Any]", value).items()}
        case _:
            return value
