"""The tables come into being from nothing, and from what an earlier version made."""

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from storage.clickhouse import ClickHouseArchive, ClickHouseClient, Layout, migrate, open_server
from storage.clickhouse.schema import STEPS, VERSION, schema_version
from storage.errors import StorageRefused
from storage.records import Batch
from tests.support.archived import checkpoint, entry, version
from tests.support.clickhouse_http import GUEST, GUEST_PASSWORD, ClickHouseHttp

TABLES = {"gg_blobs", "gg_checkpoints", "gg_records", "gg_schema", "gg_tombstones", "gg_writes"}
VIEWS = {
    "gg_action_failures",
    "gg_cost_per_day",
    "gg_entries",
    "gg_history",
    "gg_runs",
    "gg_runs_per_day",
    "gg_step_latency",
}


def new_database(clickhouse: ClickHouseHttp) -> str:
    return clickhouse.url(f"d{uuid4().hex}")


async def names(client: ClickHouseClient) -> set[str]:
    rows = await client.query("SELECT name FROM system.tables WHERE database = currentDatabase()")
    return {row[0].decode() for row in rows}


async def test_from_nothing_everything_is_made_once(clickhouse: ClickHouseHttp) -> None:
    client = await open_server(new_database(clickhouse))
    assert 0 == await schema_version(client)
    for _ in range(2):
        await migrate(client)

    assert TABLES | VIEWS == await names(client)
    steps = await client.query("SELECT version, applied_at > now() - 60 FROM gg_schema ORDER BY version")
    assert [(step, 1) for step in STEPS] == [tuple(row) for row in steps]
    await client.aclose()


async def test_from_version_1_the_views_come_and_the_records_stay(clickhouse: ClickHouseHttp) -> None:
    url = new_database(clickhouse)
    client = await open_server(url)
    await migrate(client, upto=1)
    assert TABLES == await names(client)
    columns = "(kind, owner, seq, at, columns, ver)"
    await client.command(
        f"INSERT INTO gg_records {columns} VALUES ('run', 'r', 1, now(), map('status', 'completed'), 1)"
    )
    await client.aclose()

    async with ClickHouseArchive.on_server(url) as archive:
        assert VERSION == await schema_version(archive.client)
        assert TABLES | VIEWS == await names(archive.client)
        assert [("completed", 1)] == (await archive.query("SELECT status, runs FROM gg_runs_per_day")).rows


async def test_what_a_newer_version_wrote_is_refused(clickhouse: ClickHouseHttp) -> None:
    url = new_database(clickhouse)
    async with ClickHouseArchive.on_server(url) as archive:
        await archive.client.command(f"INSERT INTO gg_schema (version) VALUES ({VERSION + 1})")

    with pytest.raises(StorageRefused, match=f"has schema {VERSION + 1}, and this goalgraph knows {VERSION}"):
        async with ClickHouseArchive.on_server(url):
            pass


async def test_several_may_migrate_at_once(clickhouse: ClickHouseHttp) -> None:
    url = new_database(clickhouse)
    archives = [ClickHouseArchive.on_server(url) for _ in range(4)]
    await asyncio.gather(*(archive.open() for archive in archives))

    assert TABLES | VIEWS == await names(archives[0].client)
    for archive in archives:
        await archive.aclose()


async def test_a_user_without_rights_is_told_so_and_may_use_tables_that_are_there(clickhouse: ClickHouseHttp) -> None:
    name = f"d{uuid4().hex}"
    as_guest = clickhouse.url(name, user=GUEST, password=GUEST_PASSWORD)
    with pytest.raises(StorageRefused, match=f"no database '{name}', and user 'guest' may not create it"):
        await open_server(as_guest)
    owner = await open_server(clickhouse.url(name))
    with pytest.raises(StorageRefused, match="user 'guest' has to be allowed to create tables and views") as caught:
        async with ClickHouseArchive.on_server(as_guest):
            pass
    assert GUEST_PASSWORD + "@" not in str(caught.value)

    await migrate(owner)
    await owner.aclose()
    async with ClickHouseArchive.on_server(as_guest) as archive:
        await archive.insert(Batch(checkpoints=[(version(), checkpoint("t", "c"))]))
        assert await archive.checkpoint("t", "c") is None
        assert await archive.checkpoint("t", "") is not None


async def test_the_engine_is_a_setting(clickhouse: ClickHouseHttp) -> None:
    async with ClickHouseArchive.on_server(new_database(clickhouse), Layout(engine="ReplacingMergeTree")) as archive:
        await archive.insert(Batch(entries=[(version(), entry("run", "r"))]))

    cluster = Layout(
        engine="ReplicatedReplacingMergeTree('/clickhouse/{shard}/{table}', '{replica}')", on_cluster="c-1"
    )
    made = [cluster.statement(template) for step in STEPS.values() for template in step]
    assert all(" ON CLUSTER 'c-1'" in statement for statement in made)
    assert all(
        "ENGINE = ReplicatedReplacingMergeTree('/clickhouse/{shard}/{table}', '{replica}', " in statement
        for statement in made
        if "CREATE TABLE" in statement
    )
    assert "'{replica}', ver)" in next(statement for statement in made if "gg_writes" in statement)


@pytest.mark.parametrize("layout", [{"engine": "Log"}, {"engine": "ReplacingMergeTree; DROP"}, {"on_cluster": "a' b"}])
def test_a_layout_that_would_lose_replacement_is_refused(layout: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"ReplacingMergeTree|cluster"):
        Layout(**layout)


def test_a_released_step_is_never_changed() -> None:
    """What it made is in archives; change the schema by adding a step."""
    import hashlib

    steps = Path(__file__).with_name("steps.txt").read_text().split()
    assert steps == [hashlib.sha256("\n".join(STEPS[step]).encode()).hexdigest()[:16] for step in STEPS]
