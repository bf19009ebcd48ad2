"""What can go wrong in a store.

StorageError
└── BlobNotFound (KeyError)    nothing is stored under this content hash
"""


class StorageError(Exception):
    """Root of everything a store raises."""


class BlobNotFound(StorageError, KeyError):
    """A reference points to a blob that the store does not hold."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"no blob is stored under {digest}; was the run resumed with another blob store?")
        self.digest = digest

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the repr of the sentence
