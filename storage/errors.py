"""What can go wrong in a store.

StorageError
├── BlobNotFound (KeyError)       nothing is stored under this content hash
├── StorageUnavailable            a server does not answer; the write may or may not have happened, so repeat it
│   ├── ArchiveUnavailable        what is asked for was evicted from the hot tier, and the archive cannot be read now
│   └── OutboxFull                the archive has been away for so long that the bound of the outbox is reached
├── StorageRefused                a server answers and says no: password, rights, version
├── CorruptRecord                 stored bytes cannot be read; never the same as absent
│   ├── ForbiddenType             they name a type that may not be loaded
│   └── NewerRecord               a newer version wrote them, and can read them
├── Fenced                        a newer writer owns the thread
├── ThreadDeleted                 what is to be stored is older than the deletion of its thread
├── DataDirectoryError            the data directory cannot be used: another version's, not writable, too long
└── RedisNotFound                 no redis-server to start
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


class StorageUnavailable(StorageError):
    """A server does not answer; whether the write happened is not known, and repeating it is safe."""


class ArchiveUnavailable(StorageUnavailable):
    """The archive cannot be read now.

    Attributes:
        owner: The process that holds an embedded archive, when that is the reason.
    """

    def __init__(self, reason: str, owner: int | None = None) -> None:
        super().__init__(reason if owner is None else f"{reason}; process {owner} holds it")
        self.owner = owner


class OutboxFull(StorageUnavailable):
    """So much waits for the archive that nothing more is taken."""

    def __init__(self, waiting: int, limit: int) -> None:
        super().__init__(
            f"{waiting} records of one partition wait for the archive, and the limit 'outbox_limit' is {limit}; "
            "bring the archive back, or raise the limit"
        )
        self.waiting = waiting
        self.limit = limit


class StorageRefused(StorageError):
    """A server answers and refuses: a wrong password, missing rights, a version that is too old."""


class CorruptRecord(StorageError):
    """Stored bytes cannot be read as what they should be."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"the record {key!r} cannot be read: {reason}")
        self.key = key
        self.reason = reason


class ForbiddenType(CorruptRecord):
    """Stored bytes name a type that may not be loaded."""

    def __init__(self, key: str, type_name: str) -> None:
        super().__init__(
            key,
            f"it holds {type_name}, which may not be loaded; if you trust that, name it in `allowed_types` (or the "
            "setting GOALGRAPH_STORAGE__ALLOWED_TYPES)",
        )
        self.type_name = type_name


class NewerRecord(CorruptRecord):
    """A newer version of this software wrote a record; leave it to a process that has that version."""

    def __init__(self, key: str, version: int) -> None:
        super().__init__(key, f"a newer version wrote it (its format is {version}); a process with that can read it")


class Fenced(StorageError):
    """A writer with a newer fencing token owns the thread, so this one has to stop."""

    def __init__(self, thread_id: str, token: int, newest: int) -> None:
        super().__init__(f"thread {thread_id!r} belongs to the writer with token {newest}; this one has {token}")
        self.thread_id = thread_id
        self.token = token
        self.newest = newest


class ThreadDeleted(StorageError):
    """A thread was deleted, so nothing that is older than that can be copied to it."""

    def __init__(self, thread_id: str) -> None:
        super().__init__(
            f"thread {thread_id!r} was deleted, and what is older than that is refused there; copy to another thread id"
        )
        self.thread_id = thread_id


class DataDirectoryError(StorageError):
    """The data directory cannot be used; the message says what to do."""


class RedisNotFound(StorageError):
    """The embedded pair needs a redis-server, and none was found."""
