"""What is wrong with a server, a URL or a folder is said in one sentence that tells what to do, and nothing hangs."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from storage import DualStorage, StorageOptions
from storage.errors import (
    ArchiveUnavailable,
    DataDirectoryError,
    OutboxFull,
    RedisNotFound,
    StorageError,
    StorageRefused,
    StorageUnavailable,
)
from storage.records import Change, CheckpointKey, CheckpointRecord, Value
from tests.support.clickhouse_http import GUEST, GUEST_PASSWORD, ClickHouseHttp
from tests.support.redis_server import RedisServer

DEADLINE = 30.0
NULL = Value("null", b"")


@pytest.fixture
def redis_tcp(tmp_path: Path) -> Iterator[str]:
    with RedisServer(tmp_path / "server", tcp=True) as server:
        yield f"redis://127.0.0.1:{server.port}"


async def opening(options: StorageOptions) -> StorageError:
    """What opening these raises."""
    with pytest.raises(StorageError) as raised:
        async with asyncio.timeout(DEADLINE), DualStorage.open(options):
            pass
    assert "\n" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize("url", ["nonsense", "http://host", "redis://host:port", ""])
async def test_a_url_that_is_none_of_a_redis(tmp_path: Path, url: str) -> None:
    error = await opening(StorageOptions(data_dir=tmp_path, redis_url=url))

    assert isinstance(error, StorageRefused)
    assert "write redis://host:6379/0" in str(error)


async def test_a_redis_that_is_not_there(tmp_path: Path) -> None:
    error = await opening(StorageOptions(data_dir=tmp_path, redis_url="redis://:secret@127.0.0.1:1/0"))

    assert isinstance(error, StorageUnavailable)
    assert "redis://127.0.0.1:1/0 does not answer" in str(error)


async def test_a_redis_that_is_no_cluster(tmp_path: Path, redis_tcp: str) -> None:
    error = await opening(
        StorageOptions(data_dir=tmp_path / "data", redis_url=redis_tcp.replace("redis", "redis+cluster", 1))
    )

    assert isinstance(error, StorageRefused)
    assert f"is no cluster; write {redis_tcp}" in str(error)


async def test_a_cluster_that_is_not_there(tmp_path: Path) -> None:
    error = await opening(StorageOptions(data_dir=tmp_path / "data", redis_url="redis+cluster://127.0.0.1:1"))

    assert isinstance(error, StorageUnavailable)
    assert "redis+cluster://127.0.0.1:1 does not answer" in str(error)


async def test_a_redis_in_the_place_of_a_clickhouse(tmp_path: Path, redis_tcp: str) -> None:
    """It hangs up, as a ClickHouse that is being stopped may do; so it is waited for, and the way out is said."""
    url = redis_tcp.replace("redis://", "http://").removesuffix("/0")
    async with (
        asyncio.timeout(DEADLINE),
        DualStorage.open(StorageOptions(data_dir=tmp_path / "data", archive_url=url)) as both,
    ):
        with pytest.raises(ArchiveUnavailable, match="write clickhouse://user:password@host:8123/database"):
            await both.archive()


async def test_a_wrong_password_of_redis(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "server", tcp=True, options={"requirepass": "right"}) as server:
        for login in ("", ":hunter2@", "nobody:right@"):
            url = f"redis://{login}127.0.0.1:{server.port}/0"
            error = await opening(StorageOptions(data_dir=tmp_path / "data", redis_url=url))
            assert isinstance(error, StorageRefused)
            assert "check user and password in its URL" in str(error)
            assert "hunter2" not in str(error)


@asynccontextmanager
async def a_server_that_says(info: str) -> AsyncIterator[str]:
    """An old Redis cannot be had: this one answers as it would, to whatever it is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                await reader.readline()
                words.append((await reader.readline()).strip().upper())
            body = info.encode()
            writer.write(b"$%d\r\n%s\r\n" % (len(body), body) if words[0] == b"INFO" else b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0?protocol=2"


async def test_a_redis_that_is_too_old(tmp_path: Path) -> None:
    async with a_server_that_says("redis_version:5.0.14\r\nmaxmemory_policy:noeviction\r\n") as url:
        error = await opening(StorageOptions(data_dir=tmp_path, redis_url=url))

    assert isinstance(error, StorageRefused)
    assert "runs Redis 5.0.14; goalgraph needs 6.2 or newer" in str(error)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-ttl", "noeviction"])
async def test_a_redis_that_may_drop_keys_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, policy: str
) -> None:
    with RedisServer(tmp_path / "server", tcp=True, options={"maxmemory-policy": policy}) as server:
        async with DualStorage.open(StorageOptions(data_dir=tmp_path / "data", redis_url=server.url)):
            pass
    assert policy.startswith("allkeys") == (
        "Redis may drop runs that are not archived yet; set it to noeviction" in caplog.text
    )


async def test_data_of_another_version_in_redis(tmp_path: Path, redis_url: str) -> None:
    options = StorageOptions(data_dir=tmp_path, redis_url=redis_url, key_prefix=uuid4().hex)
    async with DualStorage.open(options) as storage:
        await storage.client.guard(storage.client.server.hset(storage.client.keys.partition(5, "meta"), "format", "9"))

    error = await opening(options)

    assert isinstance(error, StorageRefused)
    assert "have format 9, and this version of goalgraph reads 1" in str(error)


async def test_a_data_directory_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "format").write_text(json.dumps({"format": "goalgraph data directory", "version": 9}))

    error = await opening(StorageOptions(data_dir=tmp_path))

    assert isinstance(error, DataDirectoryError)
    assert "run the Goalgraph that wrote it, or give another data directory" in str(error)


async def test_a_redis_server_that_is_none(tmp_path: Path) -> None:
    for binary in (Path("/nowhere/redis-server"), Path("/bin/true")):
        error = await opening(StorageOptions(data_dir=tmp_path / "data", redis_server=binary))
        assert isinstance(error, RedisNotFound)
        assert "apt install redis-server" in str(error)


async def test_a_url_that_is_none_of_a_clickhouse(tmp_path: Path, redis_url: str) -> None:
    error = await opening(StorageOptions(data_dir=tmp_path, redis_url=redis_url, archive_url="redis://host"))

    assert isinstance(error, StorageRefused)
    assert "write clickhouse://user:password@host:8123/database" in str(error)


async def test_a_clickhouse_that_refuses(tmp_path: Path, redis_url: str) -> None:
    with ClickHouseHttp(tmp_path / "archive") as server:
        wrong = server.url(password="wrong")
        error = await opening(StorageOptions(redis_url=redis_url, key_prefix=uuid4().hex, archive_url=wrong))
        assert isinstance(error, StorageRefused)
        assert "check user and password in its URL" in str(error)

        limited = server.url(user=GUEST, password=GUEST_PASSWORD)
        error = await opening(StorageOptions(redis_url=redis_url, key_prefix=uuid4().hex, archive_url=limited))
        assert isinstance(error, StorageRefused)
        assert f"does not let user '{GUEST}' do this" in str(error)


async def test_a_clickhouse_that_is_not_there_stops_nobody_from_writing(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = StorageOptions(
        redis_url=redis_url, key_prefix=uuid4().hex, archive_url="clickhouse://u:secret@127.0.0.1:1/db"
    )
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # each attempt is logged by the driver too
    async with asyncio.timeout(DEADLINE), DualStorage.open(options) as storage:
        record = CheckpointRecord(key=CheckpointKey("t", "", "1"), parent_id=None, body=NULL, metadata=NULL)
        await storage.checkpoints.put(record, [])
        assert await storage.checkpoints.get("t", "") is not None
        with pytest.raises(ArchiveUnavailable, match=r"clickhouse://127\.0\.0\.1:1/db does not answer .*check its URL"):
            await storage.checkpoints.get("it may be in the archive", "")
        with pytest.raises(ArchiveUnavailable, match="does not answer"):
            await storage.flush(1.0)
    assert "what is written waits in Redis until then" in caplog.text
    assert "secret" not in caplog.text


async def test_a_full_outbox_says_so_and_what_to_do(tmp_path: Path, redis_url: str) -> None:
    with ClickHouseHttp(tmp_path / "archive") as server:
        options = StorageOptions(redis_url=redis_url, key_prefix=uuid4().hex, archive_url=server.url(), outbox_limit=20)
        async with asyncio.timeout(DEADLINE), DualStorage.open(options) as storage:
            server.pause()
            for _ in range(20):
                await storage.records.append(_change("mine"))
            with pytest.raises(OutboxFull, match="bring the archive back, or raise the limit") as raised:
                await storage.records.append(_change("mine"))
            assert 20 == raised.value.waiting
            server.resume()
            await storage.flush()
            assert await storage.records.append(_change("mine")) is not None
            assert 21 == len(await storage.records.read("message", "mine"))


def _change(owner: str) -> Change:
    return Change(kind="message", owner=owner, at=datetime.now(UTC))
