"""The savers that are compared, each opened empty and closed again, for async and for synchronous use."""

import importlib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from pathlib import Path
from typing import Any
from uuid import uuid4

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from benchmarks.rows import Unmeasured
from benchmarks.servers import Places, url
from checkpointer import DualWriteSaver
from checkpointer.opening import Opening
from storage.embedded import DataDirectory, open_redis
from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient

Saver = BaseCheckpointSaver[Any]
POOL = (4, 20)
"""Connections to PostgreSQL: fewest, most."""
CONNECTIONS = 256
"""Most to the peer's Redis, which raises when they do not suffice; with 64, 32 tasks were too many."""


def load(module: str) -> Any:
    """Import what a peer needs.

    Raises:
        Unmeasured: it is not installed; `pip install goalgraph[bench]` brings it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise Unmeasured("not installed") from error


def folder() -> Path:
    """Return a new place in the worker's folder, which goes with the worker."""
    return Path.cwd() / uuid4().hex


def goalgraph(_: Places) -> Opening[DualWriteSaver]:
    """Open ours as users do: the embedded pair, with its archiver."""
    return DualWriteSaver.from_conn_string(data_dir=folder())


def redis_alone(_: Places) -> Opening[DualWriteSaver]:
    """Open ours over the embedded Redis, without an archive and an archiver."""
    return Opening(_redis_alone(folder()))


@asynccontextmanager
async def _redis_alone(data: Path) -> AsyncGenerator[DualWriteSaver]:
    async with open_redis(DataDirectory(data)) as address:
        client = await RedisClient.open(address, cold=False)
        saver = DualWriteSaver(RedisCheckpoints(client))
        try:
            yield saver
        finally:
            saver.close()
            await client.aclose()


async def settle(saver: Saver) -> None:
    """Wait until our archiver is at work: in a process that ends within two seconds it would not even begin."""
    if isinstance(saver, DualWriteSaver):
        with suppress(RuntimeError):  # over Redis alone there is none
            await saver.aflush()


@asynccontextmanager
async def memory(_: Places) -> AsyncGenerator[Saver]:
    """Open LangGraph's own."""
    yield InMemorySaver()


@contextmanager
def memory_sync(_: Places) -> Generator[Saver]:
    """Open LangGraph's own."""
    yield InMemorySaver()


@asynccontextmanager
async def sqlite(_: Places) -> AsyncGenerator[Saver]:
    """Open a file."""
    async with load("langgraph.checkpoint.sqlite.aio").AsyncSqliteSaver.from_conn_string(str(folder())) as saver:
        await saver.setup()
        yield saver


@contextmanager
def sqlite_sync(_: Places) -> Generator[Saver]:
    """Open a file."""
    with load("langgraph.checkpoint.sqlite").SqliteSaver.from_conn_string(str(folder())) as saver:
        saver.setup()
        yield saver


@asynccontextmanager
async def postgres(places: Places) -> AsyncGenerator[Saver]:
    """Open a new database of the server."""
    pools, savers = load("psycopg_pool"), load("langgraph.checkpoint.postgres.aio")
    with _database(places) as (address, options):
        async with pools.AsyncConnectionPool(address, min_size=POOL[0], max_size=POOL[1], kwargs=options) as pool:
            saver = savers.AsyncPostgresSaver(pool)
            await saver.setup()
            yield saver


@contextmanager
def postgres_sync(places: Places) -> Generator[Saver]:
    """Open a new database of the server."""
    pools, savers = load("psycopg_pool"), load("langgraph.checkpoint.postgres")
    with (
        _database(places) as (address, options),
        pools.ConnectionPool(address, min_size=POOL[0], max_size=POOL[1], kwargs=options) as pool,
    ):
        saver = savers.PostgresSaver(pool)
        saver.setup()
        yield saver


@contextmanager
def _database(places: Places) -> Generator[tuple[str, dict[str, Any]]]:
    place, psycopg = url(places, "postgres"), load("psycopg")
    name = f"b{uuid4().hex}"
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            options = {"autocommit": True, "prepare_threshold": 0, "row_factory": psycopg.rows.dict_row}
            yield place.replace("/postgres?", f"/{name}?"), options
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def redis(places: Places) -> AsyncGenerator[Saver]:
    """Open the server after emptying it."""
    place, savers = url(places, "redis"), load("langgraph.checkpoint.redis.aio")
    _empty(place)
    async with load("redis.asyncio").Redis.from_url(place, max_connections=CONNECTIONS) as client:
        saver = savers.AsyncRedisSaver(redis_client=client)
        await saver.asetup()
        yield saver


@contextmanager
def redis_sync(places: Places) -> Generator[Saver]:
    """Open the server after emptying it."""
    place, savers = url(places, "redis"), load("langgraph.checkpoint.redis")
    _empty(place)
    with load("redis").Redis.from_url(place, max_connections=CONNECTIONS) as client:
        saver = savers.RedisSaver(redis_client=client)
        saver.setup()
        yield saver


def _empty(place: str) -> None:
    with load("redis").Redis.from_url(place) as client:
        client.flushall()


OURS, ALONE, MEMORY = "goalgraph", "ours, Redis alone", "InMemorySaver"
SAVERS: dict[str, Callable[[Places], AbstractAsyncContextManager[Saver]]] = {
    OURS: goalgraph,
    ALONE: redis_alone,
    MEMORY: memory,
    "sqlite": sqlite,
    "postgres": postgres,
    "redis": redis,
}
SYNC: dict[str, Callable[[Places], AbstractContextManager[Saver]]] = {
    OURS: goalgraph,
    ALONE: redis_alone,
    MEMORY: memory_sync,
    "sqlite": sqlite_sync,
    "postgres": postgres_sync,
    "redis": redis_sync,
}
PEERS: Sequence[str] = tuple(name for name in SAVERS if name != OURS)
