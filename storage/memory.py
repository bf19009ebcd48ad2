"""Stores that live as long as the process."""

from hashlib import sha256

from storage.errors import BlobNotFound


class MemoryBlobStore:
    """A `BlobStore` in a dictionary, for runs that need not outlive the process."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    async def put(self, content: bytes) -> str:
        """Store `content` under its SHA-256."""
        digest = sha256(content).hexdigest()
        self._blobs[digest] = content
        return digest

    async def get(self, digest: str) -> bytes:
        """Return what was stored under `digest`, or raise `BlobNotFound`."""
        try:
            return self._blobs[digest]
        except KeyError:
            raise BlobNotFound(digest) from None
