"""The seams of storage: each Protocol says what absence, repetition and failure mean."""

from typing import Protocol


class BlobStore(Protocol):
    """Bytes by the SHA-256 of their content, so the same bytes are stored once."""

    async def put(self, content: bytes) -> str:
        """Store `content` and return its digest (64 hexadecimal digits); storing it again changes nothing."""
        ...

    async def get(self, digest: str) -> bytes:
        """Return the bytes stored under `digest`.

        Raises:
            BlobNotFound: nothing is stored there.
        """
        ...
