"""The archive's tables, as numbered steps that are applied once each, in order.

A step is never changed after a release: what is new is a new step. Each is safe to repeat, so several processes may
migrate at once and one that died may start again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from storage.clickhouse.client import ClickHouseClient
from storage.clickhouse.views import ANALYTICS
from storage.errors import StorageRefused

VERSION = 2
ENGINE = "ReplacingMergeTree"

_DURABLE = "fsync_after_insert = 1, fsync_part_directory = 1"
"""What is inserted leaves the outbox, and then Redis, so it has to be on the disk; costs 6 ms an insert."""

_VERSIONS = (
    "CREATE TABLE IF NOT EXISTS gg_schema{cluster} ("
    " version UInt32, applied_at DateTime64(6, 'UTC') DEFAULT now64(6)"
    ") ENGINE = {engine[applied_at]} ORDER BY version"
)
_RECORDS = (
    """
CREATE TABLE IF NOT EXISTS gg_checkpoints{cluster} (
  thread_id String {text}, checkpoint_ns String {text}, checkpoint_id String {text}, parent_id String {text},
  body_type LowCardinality(String), body String {text},
  metadata_type LowCardinality(String), metadata String {text},
  refs Array(Tuple(channel String, version String)) {text},
  labels Map(String, String) {text}, run_id String {text}, reach UInt32,
  ts DateTime64(6, 'UTC') {rising}, ver UInt64 {rising}, is_deleted UInt8 DEFAULT 0,
  INDEX ix_run run_id TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = {engine[ver, is_deleted]}
ORDER BY (thread_id, checkpoint_ns, checkpoint_id)
SETTINGS index_granularity = 1024, {durable}
""",
    # Blocks of 8 MB: versions of a growing list stand beside each other, and are compressed to what is new in each.
    """
CREATE TABLE IF NOT EXISTS gg_blobs{cluster} (
  thread_id String {text}, checkpoint_ns String {text}, channel LowCardinality(String), version String {text},
  type LowCardinality(String), blob String {text},
  ts DateTime64(6, 'UTC') {rising}, ver UInt64 {rising}, is_deleted UInt8 DEFAULT 0
) ENGINE = {engine[ver, is_deleted]}
ORDER BY (thread_id, checkpoint_ns, channel, version)
SETTINGS index_granularity = 128, index_granularity_bytes = 1048576,
         min_compress_block_size = 8388608, max_compress_block_size = 8388608, {durable}
""",
    # Copies of a write stand beside each other: which one counts depends on what was deleted between them. A row with
    # `is_deleted` says that all writes of its checkpoint up to `ver` are.
    """
CREATE TABLE IF NOT EXISTS gg_writes{cluster} (
  thread_id String {text}, checkpoint_ns String {text}, checkpoint_id String {text},
  task_path String {text}, task_id String {text}, idx Int32 {text},
  channel LowCardinality(String), type LowCardinality(String), blob String {text},
  ts DateTime64(6, 'UTC') {rising}, ver UInt64 {rising}, is_deleted UInt8 DEFAULT 0
) ENGINE = {engine[ver]}
ORDER BY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, ver)
SETTINGS index_granularity = 1024, {durable}
""",
    """
CREATE TABLE IF NOT EXISTS gg_records{cluster} (
  kind LowCardinality(String), owner String {text}, seq UInt64 {rising}, at DateTime64(6, 'UTC') {rising},
  fields String {text}, columns Map(String, String) {text},
  counters Map(String, Float64) {text},
  ts DateTime64(6, 'UTC') {rising}, ver UInt64 {rising}, is_deleted UInt8 DEFAULT 0
) ENGINE = {engine[ver, is_deleted]}
ORDER BY (kind, owner, seq)
SETTINGS index_granularity = 1024, {durable}
""",
    """
CREATE TABLE IF NOT EXISTS gg_tombstones{cluster} (
  kind LowCardinality(String), owner String, upto_ver UInt64, ts DateTime64(6, 'UTC')
) ENGINE = {engine[upto_ver]} ORDER BY (kind, owner)
SETTINGS {durable}
""",
)
STEPS: dict[int, Sequence[str]] = {1: _RECORDS, 2: ANALYTICS}


@dataclass(frozen=True, slots=True)
class Layout:
    """How the tables are made.

    Attributes:
        engine: The engine of every table, a kind of `ReplacingMergeTree`, with its own arguments if it takes any. For
            a cluster: `ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')`;
            the server fills in the braces.
        on_cluster: The cluster to make them on; without one, only where we are connected.
    """

    engine: str = ENGINE
    on_cluster: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w*ReplacingMergeTree(\([^;]*\))?", self.engine.strip()):
            raise ValueError(f"the engine of the archive has to be a ReplacingMergeTree: {self.engine!r}")
        if self.on_cluster is not None and not re.fullmatch(r"[\w.{}-]+", self.on_cluster):
            raise ValueError(f"that is no name of a cluster: {self.on_cluster!r}")

    def statement(self, template: str) -> str:
        """Fill in `{cluster}`, `{durable}`, `{text}`, `{rising}` and `{engine[…]}`."""
        cluster = f" ON CLUSTER '{self.on_cluster}'" if self.on_cluster else ""
        engine = self.engine.strip()

        def with_columns(found: re.Match[str]) -> str:
            return f"{engine[:-1]}, {found[1]})" if engine.endswith(")") else f"{engine}({found[1]})"

        filled = template.replace("{cluster}", cluster).replace("{durable}", _DURABLE)
        filled = filled.replace("{text}", "CODEC(ZSTD(3))").replace("{rising}", "CODEC(Delta, ZSTD(3))")
        return re.sub(r"\{engine\[(.*?)\]\}", with_columns, filled).strip()


async def migrate(client: ClickHouseClient, layout: Layout | None = None, *, upto: int = VERSION) -> None:
    """Bring the database to version `upto`, from nothing or from any earlier version.

    Raises:
        StorageRefused: a newer goalgraph wrote it, or we may not create tables.
        ArchiveUnavailable: no answer; what was done stays, and the next call goes on.
    """
    layout = layout or Layout()
    present = await schema_version(client)
    if present > upto:
        raise StorageRefused(
            f"the archive {client.where} has schema {present}, and this goalgraph knows {upto}: a newer one wrote it; "
            "upgrade, or use another database"
        )
    try:
        if present == 0:
            await client.command(layout.statement(_VERSIONS))
        for version in range(present + 1, upto + 1):
            for template in STEPS[version]:
                await client.command(layout.statement(template))
            await client.command("INSERT INTO gg_schema (version) VALUES ({version:UInt32})", {"version": version})
    except StorageRefused as error:
        raise StorageRefused(
            f"the tables of the archive cannot be made in {client.where}: user {client.user!r} has to be allowed to "
            f"create tables and views in the database {client.database!r}, at least once ({error})"
        ) from error


async def schema_version(client: ClickHouseClient) -> int:
    """Return the newest step that was applied; 0 when there is none."""
    found = await client.query(
        "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'gg_schema'"
    )
    if not found[0][0]:
        return 0
    return int((await client.query("SELECT max(version) FROM gg_schema"))[0][0])
