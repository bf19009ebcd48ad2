"""The data directory: made for its owner, hidden from git, and refused with a reason."""

import errno
import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from storage.embedded import DataDirectory
from storage.embedded.directory import unusable
from storage.errors import DataDirectoryError


def test_a_new_one_is_its_owners_and_hidden_from_git(tmp_path: Path) -> None:
    for path in (tmp_path / "new" / "data", tmp_path / "empty"):
        if path.name == "empty":
            path.mkdir(mode=0o755)
        directory = DataDirectory(path)

        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert json.loads((path / "format").read_bytes())["version"] == 1
        assert {entry.name for entry in path.iterdir()} == {".gitignore", "archive", "blobs", "format", "redis"}
        assert (directory.redis, directory.archive, directory.blobs) == tuple(
            path / name for name in ("redis", "archive", "blobs")
        )

    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    said = subprocess.run(["git", "-C", tmp_path, "status", "--short", "-uall"], capture_output=True, check=True)
    assert said.stdout == b""


def test_opening_it_again_changes_nothing(tmp_path: Path) -> None:
    first = DataDirectory(tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    second = DataDirectory(tmp_path / "data")

    assert before == {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    assert first.socket() == second.socket()


def test_it_knows_whether_there_is_an_archive(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "data")
    assert not directory.archive_exists
    (directory.archive / "store").mkdir()
    assert directory.archive_exists


@pytest.mark.parametrize("content", ['{"version": 2}', '{"version": "1"}', "[]", "{", ""])
def test_one_of_another_version_or_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "format").write_text(content)
    with pytest.raises(DataDirectoryError, match=r"format .*give another data directory"):
        DataDirectory(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["format"]


def test_a_folder_of_the_user_is_not_hidden_from_git(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DataDirectoryError, match="holds other files"):
        DataDirectory(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_volume_and_what_a_crash_left_are_no_other_files(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".format.123.abc").touch()
    DataDirectory(tmp_path)


def test_what_is_no_folder_or_cannot_be_written_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below", Path("/proc/goalgraph")):  # as root, no mode of a folder keeps us out
        with pytest.raises(DataDirectoryError, match="give another data directory"):
            DataDirectory(path)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk of /x is full; make room"),
        (errno.EROFS, "cannot be written"),
        (errno.ENOLCK, "has no locks"),
        (errno.EIO, "cannot be used .*Input/output error"),
    ],
)
def test_each_failure_says_what_to_do(number: int, message: str) -> None:
    with pytest.raises(DataDirectoryError, match=message):
        raise unusable(OSError(number, os.strerror(number)), Path("/x"))


class TestTheSocket:
    def test_is_short_and_in_a_folder_of_its_user(self, tmp_path: Path) -> None:
        run = tmp_path / "run"
        run.mkdir(mode=0o755)
        long = DataDirectory(tmp_path / ("x" * 200), runtime_dir=run).socket()
        other = DataDirectory(tmp_path / "data", runtime_dir=run).socket()

        assert (long.parent, len(long.name)) == (run, 21)
        assert long != other
        assert stat.S_IMODE(run.stat().st_mode) == 0o700

    def test_is_by_default_where_temporary_files_are(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        assert DataDirectory(tmp_path / "data").socket().parent == tmp_path / f"goalgraph-{os.getuid()}"

    def test_is_the_same_by_every_way_to_the_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = DataDirectory(tmp_path / "data", runtime_dir=tmp_path)
        (tmp_path / "link").symlink_to(tmp_path / "data")
        monkeypatch.chdir(tmp_path)
        for path in (Path("data"), Path("link"), Path("data/../data")):
            assert DataDirectory(path, runtime_dir=tmp_path).socket() == whole.socket()

    def test_is_refused_when_its_path_is_too_long(self, tmp_path: Path) -> None:
        with pytest.raises(DataDirectoryError, match="at most 107 bytes; give a shorter run-time folder"):
            DataDirectory(tmp_path / "data", runtime_dir=tmp_path / ("ü" * 50)).socket()

    def test_is_refused_in_a_folder_that_is_somebody_elses(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever owns it could swap the socket."""
        mine = tmp_path / "mine"
        mine.mkdir()
        (tmp_path / "link").symlink_to(mine)
        with pytest.raises(DataDirectoryError, match="is not a folder of this user"):
            DataDirectory(tmp_path / "data", runtime_dir=tmp_path / "link").socket()

        theirs = os.getuid() + 1
        monkeypatch.setattr("os.getuid", lambda: theirs)
        with pytest.raises(DataDirectoryError, match="is not a folder of this user"):
            DataDirectory(tmp_path / "data", runtime_dir=mine).socket()
