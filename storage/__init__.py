"""Records, and where they live: in memory, in Redis, in ClickHouse, or in both as one.

Names are loaded when they are first used, so that importing a protocol loads no driver.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.archiver import Archiver, ArchiverMetrics, ArchiverPolicy
    from storage.backend_archive import PermanentBackendArchive
    from storage.blobs import FsspecBlobStore
    from storage.clickhouse import ClickHouseArchive, ClickHousePermanentStorage
    from storage.dual import DualStorage, StorageOptions
    from storage.errors import (
        ArchiveUnavailable,
        BlobNotFound,
        CorruptRecord,
        DataDirectoryError,
        Fenced,
        ForbiddenType,
        OutboxFull,
        RedisNotFound,
        StorageError,
        StorageRefused,
        StorageUnavailable,
    )
    from storage.memory import MemoryBlobStore, MemoryCheckpoints, MemoryRecords
    from storage.protocols import Archive, ArchiveReader, BlobStore, CheckpointStore, RecordStore, Table
    from storage.redis.storage import RedisStorage
    from storage.seed_protocols import (
        CheckpointerBackend,
        CheckpointStorage,
        ConversationStorage,
        PermanentStorageBackend,
        SessionStorage,
        StorageBackend,
        TaskContextStorage,
    )
    from storage.serde import ValueCodec, encrypted, strict_serializer
    from storage.sessions import MemoryStorage

__all__ = [
    "Archive",
    "ArchiveReader",
    "ArchiveUnavailable",
    "Archiver",
    "ArchiverMetrics",
    "ArchiverPolicy",
    "BlobNotFound",
    "BlobStore",
    "CheckpointStorage",
    "CheckpointStore",
    "CheckpointerBackend",
    "ClickHouseArchive",
    "ClickHousePermanentStorage",
    "ConversationStorage",
    "CorruptRecord",
    "DataDirectoryError",
    "DualStorage",
    "Fenced",
    "ForbiddenType",
    "FsspecBlobStore",
    "MemoryBlobStore",
    "MemoryCheckpoints",
    "MemoryRecords",
    "MemoryStorage",
    "OutboxFull",
    "PermanentBackendArchive",
    "PermanentStorageBackend",
    "RecordStore",
    "RedisNotFound",
    "RedisStorage",
    "SessionStorage",
    "StorageBackend",
    "StorageError",
    "StorageOptions",
    "StorageRefused",
    "StorageUnavailable",
    "Table",
    "TaskContextStorage",
    "ValueCodec",
    "encrypted",
    "strict_serializer",
]

_HOMES = {
    "storage.archiver": ["Archiver", "ArchiverMetrics", "ArchiverPolicy"],
    "storage.blobs": ["FsspecBlobStore"],
    "storage.clickhouse": ["ClickHouseArchive", "ClickHousePermanentStorage"],
    "storage.dual": ["DualStorage", "StorageOptions"],
    "storage.errors": [
        "ArchiveUnavailable",
        "BlobNotFound",
        "CorruptRecord",
        "DataDirectoryError",
        "Fenced",
        "ForbiddenType",
        "OutboxFull",
        "RedisNotFound",
        "StorageError",
        "StorageRefused",
        "StorageUnavailable",
    ],
    "storage.memory": ["MemoryBlobStore", "MemoryCheckpoints", "MemoryRecords"],
    "storage.backend_archive": ["PermanentBackendArchive"],
    "storage.protocols": ["Archive", "ArchiveReader", "BlobStore", "CheckpointStore", "RecordStore", "Table"],
    "storage.redis.storage": ["RedisStorage"],
    "storage.seed_protocols": [
        "CheckpointStorage",
        "CheckpointerBackend",
        "ConversationStorage",
        "PermanentStorageBackend",
        "SessionStorage",
        "StorageBackend",
        "TaskContextStorage",
    ],
    "storage.serde": ["ValueCodec", "encrypted", "strict_serializer"],
    "storage.sessions": ["MemoryStorage"],
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
