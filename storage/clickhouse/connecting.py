"""Connections of the driver, and what is said when there can be none."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from storage.clickhouse.urls import ServerAddress
from storage.errors import ArchiveUnavailable, StorageRefused

OLDEST = (24, 3)
"""`DELETE` that waits, and deleted rows that `FINAL` leaves out."""
RIGHTS = frozenset({164, 497})  # readonly, access denied
UNKNOWN_DATABASE = 81
_FOREIGN = re.compile(r"HTTP status 40[0-57]|Unexpected response to server version query: '[^']")
"""What the driver says when something else than a ClickHouse answers."""


class Driver(Protocol):
    """What is used of `clickhouse_connect.driver.client.Client`."""

    @property
    def server_version(self) -> str:
        """`26.9.2.1`."""
        ...

    def command(self, cmd: str, parameters: dict[str, Any] | None = None) -> object:
        """Run a statement."""
        ...

    def query(
        self, query: str, parameters: dict[str, Any] | None = None, *, query_formats: dict[str, str] | None = None
    ) -> Any:
        """Run a query."""
        ...

    def raw_insert(self, table: str, column_names: Sequence[str], insert_block: bytes, *, fmt: str) -> object:
        """Insert rows that are encoded already: unlike `insert` it does not import pandas (1 to 2 s under the GIL)."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


Connect = Callable[[bool], Driver]
"""Makes a driver's client, blocking; the argument says whether it may only read."""


def to_path(path: Path) -> Connect:
    """Connect to the engine in this process.

    Raises, when it is called:
        ArchiveUnavailable: another process holds `path`.
        StorageRefused: it cannot be used.
    """

    def connect(read_only: bool) -> Driver:  # noqa: FBT001 - as `Connect` says
        from clickhouse_connect.driver.exceptions import ProgrammingError  # noqa: PLC0415 - 0.2 s, and the engine 0.4 s

        settings = {"readonly": 1} if read_only else {}
        try:
            return _get_client(interface="chdb", path=str(path), settings=settings, tz_mode="aware")
        except ProgrammingError as error:
            said = str(error)
            if "Code: 36" in said or "lock" in said:
                raise ArchiveUnavailable(f"the archive in {path} cannot be opened", _holder(path)) from error
            raise StorageRefused(f"the archive in {path} cannot be opened: {said}") from error

    return connect


def to_server(address: ServerAddress, connect_timeout: float, timeout: float) -> Connect:
    """Connect to a server, and make the database when it is not there.

    Raises, when it is called:
        StorageRefused: what answers is no ClickHouse, is too old, or does not let us make the database.
        ClickHouseError: anything else.
    """

    def open_database(database: str, *, read_only: bool) -> Driver:
        # Without `async_insert=0` newer servers collect inserts for up to 200 ms; ours are collected already.
        settings = {"readonly": 1} if read_only else {"async_insert": 0}
        try:
            return _get_client(
                interface=address.interface,
                host=address.host,
                port=address.port,
                username=address.user,
                password=address.password,
                database=database,
                settings=settings,
                tz_mode="aware",
                connect_timeout=connect_timeout,
                send_receive_timeout=timeout,
                query_retries=0,  # the caller knows what is worth repeating
                autogenerate_session_id=False,  # one session takes one query at a time
                dedicated_pool=True,
            )
        except (ValueError, TypeError, LookupError) as error:  # what answers there speaks another language
            raise _no_clickhouse(address) from error

    def connect(read_only: bool) -> Driver:  # noqa: FBT001 - as `Connect` says
        from clickhouse_connect.driver.exceptions import DatabaseError  # noqa: PLC0415 - 0.2 s

        try:
            driver = open_database(address.database, read_only=read_only)
        except DatabaseError as error:
            if getattr(error, "code", None) != UNKNOWN_DATABASE:
                if getattr(error, "code", None) is None and _FOREIGN.search(str(error)):
                    raise _no_clickhouse(address) from error
                raise
            _create_database(address, open_database("default", read_only=False))
            driver = open_database(address.database, read_only=read_only)
        version = tuple(int(part) for part in driver.server_version.split(".")[:2] if part.isdigit())
        if version < OLDEST:
            driver.close()
            raise StorageRefused(
                f"{address.where} runs ClickHouse {driver.server_version}; "
                f"goalgraph needs {OLDEST[0]}.{OLDEST[1]} or newer"
            )
        return driver

    return connect


def _get_client(**arguments: Any) -> Driver:
    return cast("Callable[..., Driver]", import_module("clickhouse_connect").get_client)(**arguments)


def _create_database(address: ServerAddress, driver: Driver) -> None:
    from clickhouse_connect.driver.exceptions import DatabaseError  # noqa: PLC0415 - loaded when first used

    try:
        driver.command(f"CREATE DATABASE IF NOT EXISTS {address.quoted_database}")
    except DatabaseError as error:
        if getattr(error, "code", None) not in RIGHTS:
            raise
        raise StorageRefused(
            f"{address.where} has no database {address.database!r}, and user {address.user!r} may not create it; "
            "create it, grant CREATE DATABASE, or name another database in the URL"
        ) from error
    finally:
        driver.close()


def _no_clickhouse(address: ServerAddress) -> StorageRefused:
    return StorageRefused(f"{address.where} answers, but not as a ClickHouse; {address.HINT}")


def _holder(path: Path) -> int | None:
    """Which process holds the engine's path, as the engine wrote it there."""
    with suppress(OSError, ValueError):
        for line in (path / "status").read_text(encoding="utf-8").splitlines():
            if line.startswith("PID:"):
                return int(line.removeprefix("PID:"))
    return None
