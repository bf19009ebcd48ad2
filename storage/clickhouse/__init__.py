"""The archive: every record, in ClickHouse on a server or in this process."""

from storage.clickhouse.archive import ClickHouseArchive
from storage.clickhouse.client import ClickHouseClient, Rows, open_chdb, open_server
from storage.clickhouse.permanent import ClickHousePermanentStorage
from storage.clickhouse.schema import Layout, migrate

__all__ = [
    "ClickHouseArchive",
    "ClickHouseClient",
    "ClickHousePermanentStorage",
    "Layout",
    "Rows",
    "migrate",
    "open_chdb",
    "open_server",
]
