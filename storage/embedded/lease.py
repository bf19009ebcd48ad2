"""Which process may open the chdb path of a data directory."""

import os

from storage.embedded.directory import DataDirectory, unusable
from storage.embedded.locks import FileLock


class ArchiveLease:
    """Chdb takes one process at a path; this tells who it is without loading chdb. Not held at first.

    The death of the holder, however it comes, frees it, and a forked child does not have it.

    Any method may raise `DataDirectoryError`: the lock file cannot be written or read.
    """

    def __init__(self, directory: DataDirectory) -> None:
        self._lock = FileLock(directory.path / "archive.lock")

    @property
    def held(self) -> bool:
        """Whether this object holds it, in this process."""
        return self._lock.held

    def acquire(self) -> bool:
        """Take it now, or return `False`: another holds it, or just asked for the owner, so ask again some time later.

        True when it was held already.
        """
        if self._lock.held:
            return True
        if not self._lock.take():
            return False
        try:
            os.ftruncate(self._lock.fileno(), 0)
            os.pwrite(self._lock.fileno(), str(os.getpid()).encode(), 0)
        except OSError as error:
            self._lock.release()
            raise unusable(error, self._lock.path) from error
        return True

    def owner(self) -> int | None:
        """Return the process that holds it, ours included, or `None` when nobody does or it has only just taken it."""
        if self._lock.held:
            return os.getpid()
        probe = FileLock(self._lock.path)
        if probe.take(shared=True):
            probe.release()
            return None
        try:
            said = self._lock.path.read_bytes()
        except OSError as error:
            raise unusable(error, self._lock.path) from error
        return int(said) if said.isdigit() else None

    def release(self) -> None:
        """Give it up; does nothing when it is not held."""
        self._lock.release()
