"""The data directory: one folder that a Goalgraph version owns, and where its parts are."""

import errno
import hashlib
import json
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import cast

from storage.errors import DataDirectoryError

FORMAT = 1
"""Of the folder's layout; another one needs a migration."""
LONGEST_SOCKET = 107
"""Bytes: `sun_path` of Linux has 108, with the NUL at the end."""
FOREIGN_OK = {"lost+found"}
"""What may lie in a folder that is new to us: the root of a volume has it."""


class DataDirectory:
    """Creates the folder, for its owner only, or checks the one that is there.

    The folder holds `format` (JSON), `.gitignore` (of everything), `redis/`, `archive/`, `blobs/` and `archive.lock`.

    Args:
        path: Of the folder; its parents are created too.
        runtime_dir: Where the socket goes, because its path has to be short. `goalgraph-<uid>` in the folder for
            temporary files by default.

    Raises:
        DataDirectoryError: it cannot be used; the message says why and what to do.
    """

    def __init__(self, path: Path, *, runtime_dir: Path | None = None) -> None:
        self.path = path.expanduser().resolve()
        self._runtime_dir = runtime_dir or Path(tempfile.gettempdir(), f"goalgraph-{os.getuid()}")
        try:
            self._adopt()
            for folder in (self.redis, self.archive, self.blobs):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise unusable(error, self.path) from error

    @property
    def redis(self) -> Path:
        """The folder of the redis-server: its AOF, its log, and the locks that guard it."""
        return self.path / "redis"

    @property
    def archive(self) -> Path:
        """The path for chdb; see `ArchiveLease` for who may open it."""
        return self.path / "archive"

    @property
    def archive_exists(self) -> bool:
        """Whether an archive was ever opened here."""
        return any(self.archive.iterdir())

    @property
    def blobs(self) -> Path:
        """The folder of the blob store."""
        return self.path / "blobs"

    def socket(self) -> Path:
        """Return the path for the unix socket, the same for the same folder, in a folder that only we can enter.

        Raises:
            DataDirectoryError: that folder is somebody else's, or the path is too long.
        """
        try:
            self._runtime_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self._runtime_dir.lstat()
            if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
                raise DataDirectoryError(
                    f"{self._runtime_dir}, where the redis-server's socket goes, is not a folder of this user; remove "
                    "it, or give another run-time folder"
                )
            if found.st_mode & 0o077:
                self._runtime_dir.chmod(0o700)
        except OSError as error:
            raise unusable(error, self._runtime_dir) from error
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        socket = self._runtime_dir.resolve() / f"{name}.sock"
        if len(os.fsencode(socket)) > LONGEST_SOCKET:
            raise DataDirectoryError(
                f"{socket} is too long for a socket, whose path has at most {LONGEST_SOCKET} bytes; give a shorter "
                "run-time folder"
            )
        return socket

    def _adopt(self) -> None:
        """Make the folder ours if it is new, and check its format if it is not."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = self.path / "format"
        if not marker.exists():
            # Never in a folder with other things in it: a `.gitignore` of everything would hide the user's own files.
            foreign = {entry.name for entry in self.path.iterdir() if not entry.name.startswith(".format.")}
            if foreign - FOREIGN_OK and not marker.exists():  # another process may have been faster
                raise DataDirectoryError(f"{self.path} holds other files; give a folder that is new or empty")
            with suppress(PermissionError):  # a volume may be somebody else's, and ours to write
                self.path.chmod(0o700)
            _write_whole(marker, json.dumps({"format": "goalgraph data directory", "version": FORMAT}) + "\n")
        self._check_format(marker)
        ignore = self.path / ".gitignore"
        if not ignore.exists():
            _write_whole(ignore, "*\n")

    def _check_format(self, marker: Path) -> None:
        try:
            said = cast("object", json.loads(marker.read_bytes()))
        except ValueError:
            said = None
        version = cast("dict[str, object]", said).get("version") if isinstance(said, dict) else None
        if not isinstance(version, int):
            raise DataDirectoryError(f"{marker} cannot be read; put it back, or give another data directory")
        if version != FORMAT:
            raise DataDirectoryError(
                f"{self.path} has format {version}, and this Goalgraph reads format {FORMAT}; run the Goalgraph that "
                "wrote it, or give another data directory"
            )


def unusable(error: OSError, path: Path) -> DataDirectoryError:
    """Say in one sentence what `error`, met below `path`, asks the user to do."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return DataDirectoryError(f"the disk of {path} is full; make room, or give another data directory")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return DataDirectoryError(f"{error.filename or path} cannot be written; give another data directory")
        case errno.EEXIST | errno.ENOTDIR:
            return DataDirectoryError(
                f"{error.filename or path} is in the way of a folder; give another data directory"
            )
        case errno.ENOLCK | errno.EOPNOTSUPP:
            return DataDirectoryError(f"the file system of {path} has no locks; give a data directory on a local disk")
        case _:
            return DataDirectoryError(f"{path} cannot be used ({error}); give another data directory")


def _write_whole(path: Path, content: str) -> None:
    """Let others see all of the file or none of it."""
    draft = path.with_name(f".format.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        draft.write_text(content, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
