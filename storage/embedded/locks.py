"""A lock on a file, which the kernel frees when its holder dies."""

import fcntl
import os
import time
from functools import cache
from pathlib import Path
from weakref import WeakSet

from storage.embedded.directory import unusable

POLL_SECONDS = 0.005


class FileLock:
    """`flock` on a file that is created when it is missing; not held at first.

    Two of them on one file exclude each other also within a process. A forked child holds nothing: neither does its
    end free the lock of its parent, nor does its life keep it.

    Any method may raise `DataDirectoryError`: the file cannot be opened or locked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        _all_in_this_process().add(self)

    @property
    def held(self) -> bool:
        """Whether this process holds it by this object."""
        return self._file is not None

    def take(self, *, shared: bool = False) -> bool:
        """Take it now, or return `False`. Asking for the other mode changes the mode; refused, nothing is held."""
        try:
            if self._file is None:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            self.abandon()
            return False
        except OSError as error:
            self.abandon()
            raise unusable(error, self.path) from error
        return True

    def take_by(self, deadline: float, *, shared: bool = False) -> bool:
        """Try until `deadline`, by `time.monotonic`. It blocks its thread."""
        while not self.take(shared=shared):
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def release(self) -> None:
        """Free it; does nothing when it is not held."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)  # closing would not: a child that was forked in C may have it open
            self.abandon()

    def abandon(self) -> None:
        """Close our end of the lock: it stays held as long as a process has it open to which it was handed on."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def fileno(self) -> int:
        """Return the open file, to hand the lock on to a process; only while it is held."""
        if self._file is None:
            raise ValueError(f"{self.path} is not held")
        return self._file


@cache
def _all_in_this_process() -> "WeakSet[FileLock]":
    """Return the locks that a forked child has to let go of, and see to it that it does."""
    locks = WeakSet[FileLock]()

    def let_go() -> None:
        for lock in list(locks):
            lock.abandon()

    os.register_at_fork(after_in_child=let_go)
    return locks
