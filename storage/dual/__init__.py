"""Redis and ClickHouse as one storage."""

from storage.dual.options import StorageOptions
from storage.dual.storage import DualStorage

__all__ = ["DualStorage", "StorageOptions"]
