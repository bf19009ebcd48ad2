"""Asking the archive in SQL."""

from datetime import UTC, datetime

import pytest

from storage.clickhouse import ClickHouseArchive
from storage.errors import StorageRefused
from storage.protocols import Table
from storage.records import Batch, Tombstone
from tests.support.archived import DAY, days, entry, version


async def test_a_query_has_columns_parameters_and_times_with_a_zone(archive: ClickHouseArchive) -> None:
    found: Table = await archive.query(
        "SELECT {text:String} AS text, unhex('ff00') AS bytes, toDateTime64('2026-03-01 12:00:00', 6, 'UTC') AS at,"
        " map('k', ['v']) AS nested, {n:UInt8} + 1 AS n, {many:Array(String)} AS many;",
        {"text": "'\0é", "n": 1, "many": ["'", "\0"]},
    )
    assert ("text", "bytes", "at", "nested", "n", "many") == tuple(found.columns)
    assert [("'\0é", b"\xff\0", datetime(2026, 3, 1, 12, tzinfo=UTC), {"k": ["v"]}, 2, ["'", "\0"])] == list(found.rows)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT kind AS a, seq FROM gg_records WHERE 0;",
        "WITH 1 AS x SELECT kind AS a, x AS seq FROM gg_records WHERE 0",
    ],
)
async def test_an_answer_without_rows_has_columns(archive: ClickHouseArchive, sql: str) -> None:
    found = await archive.query(sql)
    assert (("a", "seq"), []) == (found.columns, found.rows)


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE gg_records",
        "INSERT INTO gg_schema (version) VALUES (9)",
        "ALTER TABLE gg_records DELETE WHERE 1",
        "/* SELECT */ TRUNCATE TABLE gg_records",
        "SET readonly = 0",
        "SELECT 1; DROP TABLE gg_records",
        "SELECT '/*'; DROP TABLE gg_records -- */",
        "SELECT 1 INTO OUTFILE '/tmp/never'",
        "SELECT 1 /* */ INTO\nOUTFILE '/tmp/never'",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "WITH 1 AS x INSERT INTO gg_schema SELECT x, now64()",
        "EXPLAIN SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT nonsense",
        "",
    ],
)
async def test_what_is_no_query_is_refused_and_changes_nothing(archive: ClickHouseArchive, sql: str) -> None:
    before = await archive.query("SELECT count() FROM gg_schema")
    if not sql.startswith("EXPLAIN"):
        with pytest.raises(StorageRefused):
            await archive.query(sql)
    assert before == await archive.query("SELECT count() FROM gg_schema")


@pytest.mark.parametrize("sql", ["SHOW TABLES LIKE 'gg_schema'", "DESCRIBE gg_schema", "EXPLAIN SELECT 1",
                                 "EXISTS gg_schema", "(SELECT 1)", "  -- why\nSELECT ';', 'INTO OUTFILE'"])  # fmt: skip
async def test_every_kind_of_query_is_answered(archive: ClickHouseArchive, sql: str) -> None:
    assert (await archive.query(sql)).rows


@pytest.mark.parametrize("sql", ["SELECT {x:String}", "SELECT %(x)s", "SELECT {y:UInt8}"])
async def test_parameters_that_do_not_fit_are_refused(archive: ClickHouseArchive, sql: str) -> None:
    with pytest.raises(StorageRefused):
        await archive.query(sql, {"y": "text"})
    assert [(1,)] == (await archive.query("SELECT 1")).rows


async def test_a_query_that_fails_half_way_leaves_nothing_in_the_next_answer(archive: ClickHouseArchive) -> None:
    """In process, the engine would begin the next answer on the connection with the rows that were ready."""
    with pytest.raises(StorageRefused, match="non-zero"):
        await archive.query("SELECT number, throwIf(number = 1000000) FROM numbers(2000000)")
    assert [(1,)] == (await archive.query("SELECT 1")).rows


async def test_the_views_give_runs_latencies_failures_and_costs(empty: ClickHouseArchive) -> None:
    def run(owner: str, seq: int, status: str, *, day: float = 0, **counters: float):
        columns = {"status": status, "plan_id": "p", "user_id": "u", "org_id": "o", "origin": "api"}
        return version(seq), entry("run", owner, seq, at=DAY + days(day), columns=columns, counters=counters)

    def event(seq: int, action: str, took: int | None = None, error: str = ""):
        columns = {"phase": "step", "step_id": f"s{seq}", "action": action, "attempt": "1", "error_type": error}
        if took is not None:
            columns["duration_ms"] = str(took)
        return version(seq), entry("event", "r1", seq, columns=columns)

    await empty.insert(
        Batch(
            entries=[
                run("r1", 1, "running"),
                run("r1", 2, "completed", day=1, total_tokens=100, cost=0.5),
                run("r2", 1, "running"),
                run("r2", 2, "failed", total_tokens=20, cost=0.25),
                run("r3", 1, "completed", day=1, total_tokens=1, cost=1),
                run("gone", 1, "completed", total_tokens=1e9, cost=1e9),
                *(event(number, "find", number) for number in range(1, 101)),
                event(101, "book", 7, "Timeout"),
                event(102, "book", 8),
                event(103, "book"),
            ],
            tombstones=[Tombstone("run", "gone", version(1), DAY)],
        )
    )

    async def rows(sql: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in (await empty.query(sql)).rows]

    first, second = DAY.date(), (DAY + days(1)).date()
    assert [(first, "completed", 1), (first, "failed", 1), (second, "completed", 1)] == await rows(
        "SELECT * FROM gg_runs_per_day"
    )
    assert [(first, 2, 120, 0.75), (second, 1, 1, 1)] == await rows("SELECT * FROM gg_cost_per_day")
    assert [("book", 2, 8, 8, 8), ("find", 100, 51, 96, 100)] == await rows("SELECT * FROM gg_step_latency")
    assert [("book", "Timeout", 1, 0.5)] == await rows("SELECT * FROM gg_action_failures")
    assert [("r1", "completed", "p", "u", "o", "api", DAY, DAY + days(1))] == await rows(
        "SELECT run_id, status, plan_id, user_id, org_id, origin, began_at, changed_at FROM gg_runs WHERE run_id = 'r1'"
    )
    assert 108 == len(await rows("SELECT * FROM gg_entries"))
