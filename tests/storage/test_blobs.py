"""Blob stores: one suite over all, then what only files can suffer."""

import asyncio
import errno
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from storage import BlobNotFound, BlobStore, MemoryBlobStore
from storage.blobs import FsspecBlobStore
from storage.errors import CorruptRecord, StorageRefused, StorageUnavailable

KEY = b"0123456789abcdef"
ABSENT = "0" * 64
DAY = timedelta(days=1)


def later() -> datetime:
    """A time at which everything that the test stored is older than a day."""
    return datetime.now(UTC) + 2 * DAY


@pytest.fixture
def memory_files() -> Iterator[str]:
    yield "memory://blobs-of-a-test"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=["memory", "folder", "encrypted folder", "memory files", "encrypted memory files"])
def store(request: pytest.FixtureRequest, tmp_path: Path, memory_files: str) -> MemoryBlobStore | FsspecBlobStore:
    match request.param:
        case "memory":
            return MemoryBlobStore()
        case "folder":
            return FsspecBlobStore(tmp_path / "blobs")
        case "encrypted folder":
            return FsspecBlobStore(str(tmp_path / "blobs"), key=KEY)
        case "memory files":
            return FsspecBlobStore(memory_files)
        case _:
            return FsspecBlobStore(memory_files, key=KEY)


async def stored(store: MemoryBlobStore | FsspecBlobStore) -> set[str]:
    return {digest async for digest in store.digests()}


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# --------------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize("content", [b"", b"hello", b"bytes\nhello", b"\n", bytes(range(256)) * 4000])
async def test_a_blob_comes_back_by_the_digest_of_its_content(
    store: MemoryBlobStore | FsspecBlobStore, content: bytes
) -> None:
    protocol: BlobStore = store
    digest = await protocol.put(content)

    assert sha256(content).hexdigest() == digest
    assert content == await protocol.get(digest)


async def test_the_same_content_is_stored_once(store: MemoryBlobStore | FsspecBlobStore) -> None:
    digests = await asyncio.gather(*(store.put(b"same") for _ in range(8)), store.put(b"other"))

    assert set(digests) == await stored(store)
    assert 2 == len(set(digests))
    assert b"same" == await store.get(digests[0])


async def test_what_is_changed_after_it_was_stored_is_stored_as_it_was(
    store: MemoryBlobStore | FsspecBlobStore,
) -> None:
    content = bytearray(b"first")
    storing = asyncio.ensure_future(store.put(content))  # pyright: ignore[reportArgumentType]  # a codec may return one
    await asyncio.wait([storing], return_when=asyncio.FIRST_COMPLETED)
    content[:] = b"later"

    assert b"first" == await store.get(await storing)


@pytest.mark.parametrize("digest", [ABSENT, "", "../../etc/passwd", "ab/" + "0" * 61, ABSENT.upper() + "F", "é" * 64])
async def test_a_digest_that_is_not_there_is_not_found(store: MemoryBlobStore | FsspecBlobStore, digest: str) -> None:
    with pytest.raises(BlobNotFound) as caught:
        await store.get(digest)
    assert digest == caught.value.digest


async def test_an_empty_store_has_nothing_to_collect(store: MemoryBlobStore | FsspecBlobStore) -> None:
    assert 0 == await store.collect([], older_than=DAY, now=later())
    assert set() == await stored(store)


async def test_what_nothing_refers_to_is_collected_when_it_is_old(store: MemoryBlobStore | FsspecBlobStore) -> None:
    used, unused = await store.put(b"used"), await store.put(b"unused")

    async def referenced() -> AsyncIterator[str]:
        yield used
        yield ABSENT  # of a blob that is not here

    assert 0 == await store.collect(referenced(), older_than=DAY, now=datetime.now(UTC))
    assert {used, unused} == await stored(store)
    assert 1 == await store.collect(referenced(), older_than=DAY, now=later())
    assert {used} == await stored(store)
    with pytest.raises(BlobNotFound):
        await store.get(unused)
    assert 1 == await store.collect((), older_than=DAY, now=later())


async def test_nothing_is_collected_when_the_references_cannot_be_read(
    store: MemoryBlobStore | FsspecBlobStore,
) -> None:
    await store.put(b"unused")

    async def referenced() -> AsyncIterator[str]:
        yield ABSENT
        raise StorageUnavailable("the archive is away")

    with pytest.raises(StorageUnavailable):
        await store.collect(referenced(), older_than=DAY, now=later())
    assert 1 == len(await stored(store))


# ------------------------------------------------------------------------------------------------------------- files


async def test_storing_a_blob_again_makes_it_young(tmp_path: Path) -> None:
    """Whoever stores it refers to it next, and a collection may be under way."""
    store, now = FsspecBlobStore(tmp_path), datetime.now(UTC)
    digest = await store.put(b"again")
    (file,) = files_in(tmp_path)
    os.utime(file, (0, 0))
    await store.put(b"again")

    assert 0 == await store.collect([], older_than=DAY, now=now)
    assert b"again" == await store.get(digest)
    clock = iter([now - 2 * DAY, now])
    memory = MemoryBlobStore(lambda: next(clock))
    await memory.put(b"again")
    await memory.put(b"again")
    assert 0 == await memory.collect([], older_than=DAY, now=now)


async def test_blobs_are_spread_over_folders_by_their_first_two_digits(tmp_path: Path) -> None:
    digest = await FsspecBlobStore(tmp_path / "deep" / "er").put(b"hello")

    (file,) = files_in(tmp_path)
    assert tmp_path / "deep" / "er" / digest[:2] / digest[2:] == file
    assert b"bytes\nhello" == file.read_bytes()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other header", "no header", "pickle"])
@pytest.mark.parametrize("key", [None, KEY])
async def test_a_damaged_blob_is_corrupt_until_it_is_stored_again(
    tmp_path: Path, damage: str, key: bytes | None
) -> None:
    store = FsspecBlobStore(tmp_path, key=key)
    digest = await store.put(b"content of the blob")
    (file,) = files_in(tmp_path)
    whole = file.read_bytes()
    changed = {
        "flip": whole[:-1] + bytes([whole[-1] ^ 1]),
        "cut": whole[:-3],
        "empty": b"",
        "other header": whole.replace(b"bytes", b"bytearray", 1),
        "no header": whole.replace(b"\n", b"", 1),
        "pickle": b"pickle\ncos\nsystem\n(S'false'\ntR.",
    }
    file.write_bytes(changed[damage])

    with pytest.raises(CorruptRecord, match=digest):
        await store.get(digest)
    assert digest == await store.put(b"content of the blob")
    assert b"content of the blob" == await store.get(digest)


async def test_what_was_written_without_a_key_is_read_with_one_and_the_other_way_is_refused(tmp_path: Path) -> None:
    plain, secret = FsspecBlobStore(tmp_path), FsspecBlobStore(tmp_path, key=KEY)
    first, second = await plain.put(b"was plain"), await secret.put(b"hush hush")

    assert [b"was plain", b"hush hush"] == [await secret.get(first), await secret.get(second)]
    assert not any(b"hush" in file.read_bytes() for file in files_in(tmp_path))
    with pytest.raises(CorruptRecord, match=f"{second}.*no key is given"):
        await plain.get(second)
    with pytest.raises(CorruptRecord, match=f"{second}.*wrong key or changed bytes"):
        await FsspecBlobStore(tmp_path, key=KEY[::-1]).get(second)


async def test_a_writer_that_crashed_leaves_no_blob_and_is_cleaned_up_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    store, digest = FsspecBlobStore(tmp_path), sha256(b"half").hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        patch.setattr(LocalFileSystem, "rm_file", killed)  # a process that is dead removes nothing
        with pytest.raises(Killed):
            await store.put(b"half")
    (left,) = files_in(tmp_path)

    assert left.name.endswith(".tmp")
    with pytest.raises(BlobNotFound):
        await store.get(digest)
    assert set() == await stored(store)
    assert 0 == await store.collect([digest], older_than=DAY, now=datetime.now(UTC))
    assert 1 == await store.collect([digest], older_than=DAY, now=later())
    assert [] == files_in(tmp_path)


async def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    store = FsspecBlobStore(tmp_path)
    digest = await store.put(b"mine")
    others = [tmp_path / "README", tmp_path / "ab" / "notes", tmp_path / "xy" / ("0" * 62), tmp_path / "ab" / "c.tmp"]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_text("of somebody else")

    assert {digest} == await stored(store)
    assert 1 == await store.collect([], older_than=DAY, now=later())
    assert sorted(others) == files_in(tmp_path)


async def test_a_full_disk_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageUnavailable, match="No space left"):
            await FsspecBlobStore(tmp_path).put(b"too much")
    assert [] == files_in(tmp_path)


async def test_a_store_that_cannot_be_reached_is_not_an_empty_one(
    tmp_path: Path, memory_files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    below = FsspecBlobStore(tmp_path / "file")
    with pytest.raises(StorageUnavailable):
        await below.get(ABSENT)
    with pytest.raises(StorageUnavailable):
        await below.put(b"x")

    class Lost(Exception):
        """As the drivers of object stores raise: no OSError."""

    def lost(*_: object, **__: object) -> bytes:
        raise Lost("no route to the bucket")

    for method in ("cat_file", "pipe_file", "ls"):
        monkeypatch.setattr(MemoryFileSystem, method, lost)
    away = FsspecBlobStore(memory_files)
    for call in (away.get(ABSENT), away.put(b"x"), away.collect([], older_than=DAY, now=later()), stored(away)):
        with pytest.raises(StorageUnavailable, match=r"memory://blobs-of-a-test.*no route"):
            await call


async def test_a_folder_without_rights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")  # root, who may run the tests, is never denied

    monkeypatch.setattr(LocalFileSystem, "cat_file", denied)
    with pytest.raises(StorageRefused, match="Permission denied"):
        await FsspecBlobStore(tmp_path).get(ABSENT)


@pytest.mark.parametrize("url", ["nowhere://bucket", "s3://bucket/blobs"])
def test_a_url_that_nothing_can_open_is_refused_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(StorageRefused, match=url):
        FsspecBlobStore(url)


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 33])
def test_a_key_of_another_length_is_refused_at_once(tmp_path: Path, key: bytes) -> None:
    with pytest.raises(ValueError, match=f"16, 24 or 32 bytes, and this one has {len(key)}"):
        FsspecBlobStore(tmp_path, key=key)


async def test_files_are_never_touched_on_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()
    for method in ("cat_file", "makedirs", "modified", "rm_file", "ls"):
        original = getattr(LocalFileSystem, method)

        def noted(*args: Any, original: Any = original, **options: Any) -> Any:
            seen.add(threading.get_ident())
            return original(*args, **options)

        monkeypatch.setattr(LocalFileSystem, method, noted)
    store = FsspecBlobStore(tmp_path)
    digest = await store.put(b"x")
    await store.get(digest)
    await store.collect([], older_than=DAY, now=later())

    assert seen
    assert threading.get_ident() not in seen


async def test_storing_and_collecting_keep_out_of_each_others_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blob that is stored again while its old file is found unused would be lost."""

    def can_lock(path: object, how: int) -> bool:
        folder = os.open(Path(str(path)).parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            os.close(folder)

    storing: list[bool] = []
    collecting: list[bool] = []
    replace, modified = Path.replace, LocalFileSystem.modified

    def noted_replace(self: Path, target: Any) -> Path:
        storing.extend([can_lock(target, fcntl.LOCK_EX), can_lock(target, fcntl.LOCK_SH)])
        return replace(self, target)

    def noted_modified(self: LocalFileSystem, path: Any) -> Any:
        collecting.append(can_lock(path, fcntl.LOCK_SH))
        return modified(self, path)

    monkeypatch.setattr(Path, "replace", noted_replace)
    monkeypatch.setattr(LocalFileSystem, "modified", noted_modified)
    store = FsspecBlobStore(tmp_path)
    await store.put(b"x")
    assert 1 == await store.collect([], older_than=DAY, now=later())

    assert [False, True] == storing  # no collector, but another writer
    assert [False] == collecting


async def test_options_reach_the_file_system(tmp_path: Path) -> None:
    store = FsspecBlobStore("dir://blobs", path=str(tmp_path), target_protocol="file")
    digest = await store.put(b"inner")

    assert [tmp_path / "blobs" / digest[:2] / digest[2:]] == files_in(tmp_path)
    assert b"inner" == await store.get(digest)
    assert 1 == await store.collect([], older_than=DAY, now=later())
