"""One redis-server for the processes of a data directory, whatever happens to any of them."""

import asyncio
import os
import shutil
import socket
import stat
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from storage.embedded import ArchiveLease, DataDirectory, find_redis_server, open_redis
from storage.embedded.locks import FileLock
from storage.embedded.server import ask
from storage.errors import DataDirectoryError, RedisNotFound, StorageUnavailable
from tests.storage.embedded.conftest import Place, ending, kill


def patient(url: str) -> Redis:
    """A client that repeats its calls while the server is started again."""
    return Redis.from_url(url, retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 50))


async def test_the_first_starts_the_server_and_the_last_one_out_stops_it(place: Place) -> None:
    async with place.user() as first, place.user() as second:
        assert await first.ask("SET key value") == "OK"
        assert await second.ask("GET key") == "value"
        server = place.server()
        assert os.getsid(server.pid) not in {os.getsid(first.process.pid), os.getsid(0)}  # Ctrl-C does not reach it

        await first.leave()
        assert server.is_running()
        assert await second.ask("GET key") == "value"

        await second.leave()
        assert not place.served


async def test_only_its_user_reaches_it_and_what_it_acknowledges_is_kept(place: Place) -> None:
    async with open_redis(place.directory()) as url, Redis.from_url(url) as client:
        path = place.directory().socket()
        said = await client.config_get("*")
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    named = {"port", "appendonly", "appendfsync", "maxmemory-policy", "save", "dir"}
    assert {name: said[name] for name in named} == {
        "port": "0",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "dir": str(place.path / "redis"),
    }


async def test_two_openings_in_one_process_share_it(place: Place) -> None:
    async with open_redis(place.directory()) as url:
        async with open_redis(place.directory(), fsync="always") as again, Redis.from_url(url) as client:
            assert again == url
            assert (await client.config_get("appendfsync"))["appendfsync"] == "always"
        assert place.server().is_running()
    assert not place.served


async def test_processes_that_open_at_the_same_time_start_one_server(place: Place) -> None:
    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as group:
            starting = [group.create_task(stack.enter_async_context(place.user())) for _ in range(4)]
        users = [task.result() for task in starting]
        servers = {await user.ask("EVAL \"return redis.call('INCR',KEYS[1])\" 1 n") for user in users}
        assert servers == {"1", "2", "3", "4"}
        assert not (place.path / "redis" / "redis.log.old").exists()  # the log of a server before this one

        async with asyncio.TaskGroup() as group:
            for user in users:
                group.create_task(user.leave())
    assert not place.served


async def test_a_process_that_is_killed_leaves_the_server_to_the_next(place: Place) -> None:
    async with place.user() as user:
        await user.ask("SET key value")
        server = place.server()
        await user.kill()

    async with place.user() as user:
        assert await user.ask("GET key") == "value"
        assert place.server() == server
        await user.leave()
    assert not place.served


async def test_a_server_that_is_killed_is_started_again_with_all_that_it_acknowledged(place: Place) -> None:
    async with place.user() as other, open_redis(place.directory()) as url, patient(url) as client:
        for count in range(1, 4):
            await client.rpush("key", *range(1000))
            server = place.server()
            kill(server)

            assert await client.llen("key") == count * 1000
            assert place.server() != server
        assert await other.ask("LLEN key") == "3000"
        await other.leave()


async def test_a_server_that_died_with_its_users_is_started_again(place: Place) -> None:
    async with place.user() as user:
        await user.ask("SET key value")
        server = place.server()
        await user.kill()
    kill(server)

    async with open_redis(place.directory()) as url, Redis.from_url(url) as client:
        assert await client.get("key") == b"value"


async def test_stale_files_deceive_nobody_and_no_other_process_is_ended(place: Place) -> None:
    """The process id in the file belongs to somebody else by now."""
    pipe = asyncio.subprocess.PIPE
    foreign = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=pipe)
    directory = place.directory()
    (directory.redis / "redis.pid").write_text(str(foreign.pid))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(directory.socket()))

    async with open_redis(directory) as url, Redis.from_url(url) as client:
        assert await client.ping()
        assert place.server().pid != foreign.pid
    assert foreign.returncode is None

    await foreign.communicate(b"\n")
    assert foreign.returncode == 0


async def test_a_forked_child_neither_stops_nor_keeps_the_server(place: Place) -> None:
    async with place.user() as user:
        assert await user.ask("shared") == "True"
        assert await user.ask("fork") == "3"
        assert await user.ask("PING") == "PONG"
        users = FileLock(place.path / "redis" / "users.lock")
        assert not users.take(), "the share of the parent was released"

        child = psutil.Process(int(await user.ask("fork and stay")))
        await user.kill()
    try:
        await place.clear()
        assert not place.served
    finally:
        kill(child)


async def test_a_server_whose_directory_was_deleted_is_not_taken_for_the_new_one(place: Place) -> None:
    async with place.user() as user:
        await user.ask("SET key lost")
        server = place.server()
        await user.kill()
    shutil.rmtree(place.path)

    with ending(server):
        async with open_redis(place.directory()) as url, Redis.from_url(url) as client:
            assert await client.get("key") is None
            assert await client.set("key", "kept")
    async with open_redis(place.directory()) as url, Redis.from_url(url) as client:
        assert await client.get("key") == b"kept"


async def test_a_directory_that_is_deleted_while_it_is_open_leaves_no_server(place: Place) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(open_redis(place.directory()))
        stack.enter_context(ending(place.server()))
        await stack.enter_async_context(open_redis(place.directory()))
        shutil.rmtree(place.path)


async def test_another_folder_for_temporary_files_finds_the_same_server(place: Place) -> None:
    async with place.user() as user:
        await user.ask("SET key value")
        other = DataDirectory(place.path, runtime_dir=place.root / "elsewhere")
        async with open_redis(other) as url, Redis.from_url(url) as client:
            assert await client.get("key") == b"value"
        await user.leave()


async def test_a_data_directory_may_have_a_long_and_odd_path(place: Place) -> None:
    odd = Place(place.root / ('ü "quoted" \\ #1?%41@\n' + "x" * 100))
    odd.root.mkdir()
    async with open_redis(DataDirectory(odd.path, runtime_dir=place.root)) as url, Redis.from_url(url) as client:
        assert await client.set("key", "value")
        assert (await client.config_get("dir"))["dir"] == str(odd.path / "redis")
    assert not odd.served


async def test_the_lease_on_the_archive_passes_on_when_its_owner_is_killed(place: Place) -> None:
    lease = ArchiveLease(place.directory())
    assert lease.owner() is None
    async with place.user() as user:
        assert await user.ask("lease") == "True"
        assert (lease.acquire(), lease.held, lease.owner()) == (False, False, user.process.pid)

        child = psutil.Process(int(await user.ask("fork and stay")))  # it does not have the lease of its parent
        await user.kill()
    try:
        assert lease.owner() is None
        assert (lease.acquire(), lease.acquire(), lease.owner()) == (True, True, os.getpid())
        assert not ArchiveLease(place.directory()).acquire()
    finally:
        kill(child)
    lease.release()
    assert (lease.held, lease.owner()) == (False, None)
    await place.clear()


async def test_a_server_that_ends_at_its_start_is_quoted(place: Place) -> None:
    directory = place.directory()
    (directory.redis / "appendonly.aof").write_bytes(b"*3\r\n$3\r\nSET\r\n" + b"nonsense\r\n" * 9)

    with pytest.raises(StorageUnavailable, match="Bad file format reading the append only file"):
        async with open_redis(directory):
            pass
    assert not place.served


def script(path: Path, version: str, then: str) -> Path:
    """Write what passes for a redis-server."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Redis server v={version} sha=0" && exit\n{then}\n')
    path.chmod(0o700)
    return path


async def test_a_server_that_is_killed_while_it_starts_is_started_again(place: Place) -> None:
    tried = place.root / "tried"
    then = f'[ -e {tried} ] || {{ touch {tried}; exit; }}; exec {find_redis_server()} "$@"'
    async with open_redis(place.directory(), binary=script(place.root / "redis-server", "7.2.1", then)) as url:
        assert tried.exists()
        async with Redis.from_url(url) as client:
            assert await client.ping()


@pytest.mark.parametrize(
    ("then", "timeout", "message"),
    [("cat > /dev/null; exec sleep 60", 0.2, "did not start in time"), ("echo bad luck; exit 1", 9, "bad luck")],
)
async def test_a_server_that_does_not_start_is_an_error_in_time(
    place: Place, then: str, timeout: float, message: str
) -> None:
    binary = script(place.root / "redis-server", "7.2.1", then)
    with pytest.raises(StorageUnavailable, match=message):
        async with open_redis(place.directory(), binary=binary, timeout=timeout):
            pass
    assert not place.served


async def test_a_server_that_does_not_answer_is_an_error_in_time(place: Place) -> None:
    async with place.user() as user:
        server = place.server()
        server.suspend()
        try:
            with pytest.raises(StorageUnavailable, match=rf"process {server.pid}, does not answer on .* end it"):
                async with open_redis(place.directory(), timeout=0.1):
                    pass
        finally:
            server.resume()
        assert await user.ask("PING") == "PONG"
        await user.leave()


async def test_an_older_server_does_not_start_empty_on_a_newer_ones_files(place: Place) -> None:
    directory = place.directory()
    (directory.redis / "appendonlydir").mkdir()
    binary = script(place.root / "redis-server", "6.2.14", "exit 1")

    with pytest.raises(DataDirectoryError, match="written by a redis-server 7 or newer"):
        async with open_redis(directory, binary=binary):
            pass


async def test_a_cancelled_opening_leaves_no_server(place: Place) -> None:
    async def use() -> None:
        async with open_redis(place.directory()):
            await asyncio.Event().wait()

    place.directory()
    for turns in range(4):
        task = asyncio.create_task(use())
        for _ in range(turns):
            await asyncio.to_thread(bool)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not place.served


async def test_a_start_that_another_process_never_ends_is_an_error_in_time(place: Place) -> None:
    lock = FileLock(place.directory().redis / "start.lock")
    assert lock.take()
    with pytest.raises(StorageUnavailable, match="another process has been starting"):
        async with open_redis(place.directory(), timeout=0.05):
            pass
    lock.release()


class TestFindingAServer:
    def test_the_path_comes_before_the_wheel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        carried = find_redis_server()
        valkey = script(tmp_path / "valkey-server", "8.0.1", "")
        assert find_redis_server() == valkey
        redis = script(tmp_path / "redis-server", "7.0.15", "")
        assert find_redis_server() == redis
        script(redis, "5.0.7", "")
        script(valkey, "6.0.1", "")
        assert find_redis_server() == carried != redis

    def test_one_that_is_given_has_to_work(self, tmp_path: Path) -> None:
        cases = {
            tmp_path / "absent": "cannot be run",
            Path(os.devnull): "cannot be run",
            script(tmp_path / "old", "6.0.16", ""): "is version 6.0, and 6.2 is the oldest",
            Path(sys.executable): "is no redis-server",
        }
        for path, message in cases.items():
            with pytest.raises(RedisNotFound, match=rf"{path} {message}.*; install one"):
                find_redis_server(path)

    def test_without_any_the_message_says_how_to_get_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr("storage.embedded.binary.find_spec", lambda name: None)
        with pytest.raises(RedisNotFound, match="no redis-server on this machine; install one"):
            find_redis_server()

    async def test_opening_without_any_says_so(self, place: Place) -> None:
        with pytest.raises(RedisNotFound):
            async with open_redis(place.directory(), binary=place.root / "absent"):
                pass
        assert not place.served
        assert ask(place.directory().socket(), "PING") is None
