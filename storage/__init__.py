"""Records, and where they live: today the blobs that are too large or too odd for a record."""

from storage.errors import BlobNotFound, StorageError
from storage.memory import MemoryBlobStore
from storage.protocols import BlobStore

__all__ = ["BlobNotFound", "BlobStore", "MemoryBlobStore", "StorageError"]
