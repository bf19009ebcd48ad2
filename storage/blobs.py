"""Blobs in files: a folder, or whatever `fsspec` reaches by URL.

A blob lies at `ab/cdef…`, its SHA-256. Its file begins with a line that names how the rest is written (`bytes`, or
`bytes+aes`); the digest is that of the content, so it tells whoever reads the names which blobs are the same.
"""

import asyncio
import fcntl
import os
import re
import secrets
from collections.abc import AsyncIterable, AsyncIterator, Callable, Container, Generator, Iterable
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

from fsspec.core import url_to_fs  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]  # untyped
from fsspec.implementations.local import LocalFileSystem  # pyright: ignore[reportMissingTypeStubs]  # untyped

from storage.errors import BlobNotFound, CorruptRecord, StorageError, StorageRefused, StorageUnavailable
from storage.records import Value
from storage.serde import ValueCodec, encrypted, strict_serializer

T = TypeVar("T")

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[0-9a-f]{2}")
_UNFINISHED = re.compile(r"[0-9a-f]{62}\.[0-9a-f]{16}\.tmp")


class FsspecBlobStore:
    """A `BlobStore` in the files of a folder or of an object store.

    Args:
        url_or_path: `s3://bucket/blobs`, `memory://blobs`, or a folder, which is made when it is needed.
        key: 16, 24 or 32 bytes to encrypt with; what was written without it can still be read.
        storage_options: For the file system, such as `endpoint_url`.

    Raises:
        StorageRefused: there is no file system for this URL, or its driver is not installed.
    """

    def __init__(
        self, url_or_path: str | os.PathLike[str], *, key: bytes | None = None, **storage_options: Any
    ) -> None:
        self.where = os.fspath(url_or_path)
        serde = strict_serializer()
        self._codec = ValueCodec(serde if key is None else encrypted(serde, key))
        try:
            files, root = cast("tuple[Any, str]", url_to_fs(self.where, **storage_options))
        except (ImportError, ValueError, TypeError) as error:
            raise StorageRefused(f"{self.where!r} cannot hold blobs: {error}") from error
        self._files = files
        self._local = isinstance(files, LocalFileSystem)
        self._root = root.rstrip("/")

    async def put(self, content: bytes) -> str:
        """Store `content` and return its SHA-256.

        It is written again when it is there already: that repairs a damaged file, and makes it young for `collect`.
        """
        return await self._call(self._put, bytes(content))

    async def get(self, digest: str) -> bytes:
        """Return the content whose SHA-256 is `digest`.

        Raises:
            BlobNotFound: nothing is stored there.
            CorruptRecord: something else is, or the key is wrong.
        """
        if _DIGEST.fullmatch(digest) is None:  # it may come from outside, and would be a path
            raise BlobNotFound(digest)
        return await self._call(self._get, digest)

    async def digests(self) -> AsyncIterator[str]:
        """Give the digest of each blob, in no order; one that is stored or removed meanwhile may be left out."""
        for folder in await self._call(self._folders):
            for name in await self._call(self._names, folder):
                if _DIGEST.fullmatch(folder + name):
                    yield folder + name

    async def collect(
        self, referenced: AsyncIterable[str] | Iterable[str], *, older_than: timedelta, now: datetime
    ) -> int:
        """Remove the blobs that nothing refers to, and what crashed writers left; return how many files went.

        Args:
            referenced: The digests that are in use. If it raises, nothing is removed.
            older_than: Younger files stay: a blob is stored before the record that refers to it. Hours, not seconds.
            now: By the clock of the file system.
        """
        used = {one async for one in referenced} if isinstance(referenced, AsyncIterable) else set(referenced)
        removed = 0
        for folder in await self._call(self._folders):
            removed += await self._call(self._sweep, folder, used, now - older_than)
        return removed

    async def _call(self, work: Callable[..., T], *args: Any) -> T:
        """Run blocking `work` in a thread and map what file systems raise."""
        try:
            return await asyncio.to_thread(work, *args)
        except StorageError:
            raise
        except (PermissionError, NotImplementedError) as error:
            raise StorageRefused(f"{self.where} does not let blobs be used: {error!r}") from error
        except Exception as error:  # each file system raises errors of its own
            raise StorageUnavailable(f"{self.where} cannot be used for blobs now: {error!r}") from error

    def _put(self, content: bytes) -> str:
        digest = sha256(content).hexdigest()
        kind, body = self._codec.dump(content)
        path = self._path(digest)
        unfinished = f"{path}.{secrets.token_hex(8)}.tmp"
        write = self._write_local if self._local else self._write_remote
        data = b"%s\n%s" % (kind.encode(), body)
        try:
            try:
                write(data, unfinished, path)
            except FileNotFoundError:  # the first of its folder; object stores have no folders to make
                self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
                write(data, unfinished, path)
        except BaseException:  # whatever it is, it is raised again
            with suppress(Exception):  # what matters is why it failed; `collect` removes what is left
                self._files.rm_file(unfinished)
            raise
        return digest

    def _write_remote(self, data: bytes, unfinished: str, path: str) -> None:
        self._files.pipe_file(unfinished, data)
        self._files.mv(unfinished, path)

    def _write_local(self, data: bytes, unfinished: str, path: str) -> None:
        """Write it and wait for the disk: the record that refers to it may be there at once."""
        with Path(unfinished).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with _locked(Path(path).parent, fcntl.LOCK_SH) as folder:
            Path(unfinished).replace(path)
            os.fsync(folder)

    def _get(self, digest: str) -> bytes:
        key = f"blob {digest}"
        try:
            stored: bytes = self._files.cat_file(self._path(digest))
        except FileNotFoundError:
            raise BlobNotFound(digest) from None
        kind, _, body = stored.partition(b"\n")
        if kind.partition(b"+")[0] != b"bytes":
            raise CorruptRecord(key, "its file does not begin as that of a blob")
        content = self._codec.load(Value(kind.decode("ascii", "replace"), body), key)
        if sha256(content).hexdigest() != digest:
            raise CorruptRecord(key, "the content of its file has another digest; storing it again repairs it")
        return content

    def _sweep(self, folder: str, used: Container[str], before: datetime) -> int:
        """Remove what is unused and older than `before` in one folder."""
        if not self._local:
            return self._remove_unused(folder, used, before)
        with _locked(Path(self._root, folder), fcntl.LOCK_EX):
            return self._remove_unused(folder, used, before)

    def _remove_unused(self, folder: str, used: Container[str], before: datetime) -> int:
        removed = 0
        for name in self._names(folder):
            unused = _DIGEST.fullmatch(folder + name) is not None and folder + name not in used
            if not unused and _UNFINISHED.fullmatch(name) is None:  # what is not ours is not touched
                continue
            with suppress(FileNotFoundError):  # somebody else collects too
                path = f"{self._root}/{folder}/{name}"
                if self._changed_at(path) < before:
                    self._files.rm_file(path)
                    removed += 1
        return removed

    def _changed_at(self, path: str) -> datetime:
        changed: datetime = self._files.modified(path)
        return changed if changed.tzinfo else changed.replace(tzinfo=UTC)

    def _folders(self) -> list[str]:
        return [name for name in self._list(self._root) if _FOLDER.fullmatch(name)]

    def _names(self, folder: str) -> list[str]:
        return self._list(f"{self._root}/{folder}")

    def _list(self, path: str) -> list[str]:
        """Return the names in a folder as they are now: some file systems would answer from memory."""
        self._files.invalidate_cache()
        try:
            found: list[str] = self._files.ls(path, detail=False)
        except FileNotFoundError:
            return []
        finally:
            self._files.invalidate_cache()
        return [name.rstrip("/").rpartition("/")[2] for name in found]

    def _path(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest[2:]}"


@contextmanager
def _locked(folder: Path, how: int) -> Generator[int, None, None]:
    """Keep a blob that is stored again from being removed as its old self, by whatever process of this machine.

    Object stores have no such lock: there it can happen within the moment between looking at a file and removing it.
    """
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network folders cannot be locked, and are then like object stores
            fcntl.flock(opened, how)
        yield opened
    finally:
        os.close(opened)
