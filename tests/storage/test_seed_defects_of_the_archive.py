"""B4 and B18 to B20 of reference/seeds.md: what went wrong between the seed and its archive."""

import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import pytest

from storage import ArchiveUnavailable, DualStorage, StorageOptions, StorageRefused
from storage.clickhouse import ClickHouseArchive
from storage.records import Batch, Entry
from tests.support.clickhouse_http import GUEST, GUEST_PASSWORD, ClickHouseHttp

DEADLINE = 60.0


def options(redis_url: str, archive_url: str) -> StorageOptions:
    return StorageOptions(redis_url=redis_url, archive_url=archive_url, key_prefix=uuid4().hex)


async def test_b4_an_archive_that_is_down_at_start_is_used_as_soon_as_it_is_up(tmp_path: Path, redis_url: str) -> None:
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # it logs every attempt
    server = ClickHouseHttp(tmp_path / "archive")
    with server:
        kept = options(redis_url, server.url())
        async with DualStorage.open(kept):
            pass  # Redis and the archive have met
        server.kill()

        async with asyncio.timeout(DEADLINE), DualStorage.open(kept) as storage:
            await storage.create_session("s", "user")
            assert "degraded" == (await storage.health_check())["status"]
            with pytest.raises(ArchiveUnavailable):
                await storage.flush(1.0)

            server.start()
            await storage.flush()
            assert "healthy" == (await storage.health_check())["status"]
            assert ["s"] == [owner async for owner in (await storage.archive()).owners("session")]


async def test_b18_records_travel_in_batches_once_each_and_a_failed_schema_is_an_error(
    tmp_path: Path, redis_url: str
) -> None:
    with ClickHouseHttp(tmp_path / "archive") as server:
        async with asyncio.timeout(DEADLINE), DualStorage.open(options(redis_url, server.url())) as storage:
            for number in range(500):
                await storage.add_conversation_message("s", "user", f"message {number}")
            await storage.flush()
            assert 50 > storage.archiver.metrics().batches
            found = await storage.query("SELECT count(), uniqExact(seq) FROM gg_records FINAL WHERE kind = 'message'")
            assert [(500, 500)] == [tuple(row) for row in found.rows]

        unable = ClickHouseArchive.on_server(server.url("nowhere", user=GUEST, password=GUEST_PASSWORD))
        with pytest.raises(StorageRefused):
            await unable.open()
        await unable.aclose()


async def test_b19_the_database_of_the_url_is_the_one_that_is_used(tmp_path: Path, redis_url: str) -> None:
    with ClickHouseHttp(tmp_path / "archive") as server:
        async with asyncio.timeout(DEADLINE), DualStorage.open(options(redis_url, server.url("mine"))) as storage:
            await storage.create_session("s", "user")
            found = await storage.query("SELECT database, total_rows FROM system.tables WHERE name = 'gg_records'")
            assert [("mine", 1)] == [tuple(row) for row in found.rows]


async def test_b20_a_time_comes_back_as_the_instant_it_was_whatever_the_zone(tmp_path: Path) -> None:
    eastern = timezone(timedelta(hours=-5))
    at = datetime(2026, 3, 1, 22, 30, 15, 123456, tzinfo=eastern)
    entry = Entry(kind="message", owner="s", seq=1, at=at, fields={}, columns={}, counters={})
    with ClickHouseHttp(tmp_path / "archive") as server:
        archive = ClickHouseArchive.on_server(server.url())
        await archive.insert(Batch(entries=[(1 << 20, entry)]))
        (found,) = await archive.read("message", "s")
        with pytest.raises(ValueError, match="zone"):
            await archive.insert(Batch(entries=[(2 << 20, replace(entry, at=at.replace(tzinfo=None)))]))
        await archive.aclose()

    assert at == found.at
    assert datetime(2026, 3, 2, 3, 30, 15, 123456, tzinfo=UTC) == found.at
