"""What is wrong with an archive is said in one sentence, at once, and what is only away is tried again."""

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from storage.clickhouse import ClickHouseArchive, open_server
from storage.errors import ArchiveUnavailable, StorageRefused
from storage.records import Batch, CheckpointQuery
from tests.support.archived import checkpoint, entry, value, version
from tests.support.clickhouse_http import PASSWORD, ROOT, USER, ClickHouseHttp

ONE = Batch(checkpoints=[(version(), checkpoint("t", "c"))])


def run(script: str, *arguments: str) -> list[str]:
    """Lines that a script prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[int]:
    """A port on which everything is answered with `answer`, or never."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is not None:
            await reader.read(65536)
            writer.write(answer)
        else:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def cut_after(count: int, port: int) -> AsyncIterator[int]:
    """A port that leads to `port` until so many bytes of answers have passed, then to nowhere."""
    left = count
    under_way: set[asyncio.Task[None] | None] = set()

    async def answers(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        nonlocal left
        while left and (some := (await source.read(65536))[:left]):
            left -= len(some)
            target.write(some)
        target.close()

    async def requests(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while some := await source.read(65536):
            target.write(some)
        target.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.add(asyncio.current_task())
        source, target = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionError):
            await asyncio.gather(answers(source, writer), requests(reader, target))

    server = await asyncio.start_server(lead, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    async with asyncio.timeout(10):
        await asyncio.gather(*(task for task in under_way if task))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8123",
        "redis://u:hidden@localhost/",
        "clickhouse://",
        "clickhouse:///gg",
        "clickhouse://u:hidden@localhost:port/gg",
        "clickhouse://u:hidden@localhost/a/b",
        "clickhouse://u:hidden@localhost/gg?secure=true",
        "clickhouse://u:hidden@[::1/gg",
    ],
)
async def test_a_url_that_is_none_is_refused_with_how_to_write_it(url: str) -> None:
    with pytest.raises(StorageRefused, match="write clickhouse://user:password@host:8123/database") as caught:
        await open_server(url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(("user", "password"), [(USER, "wrong pass"), ("nobody", PASSWORD), ("", "")])
async def test_a_wrong_password_is_refused_and_not_repeated(
    clickhouse: ClickHouseHttp, user: str, password: str
) -> None:
    with pytest.raises(StorageRefused, match="check user and password in its URL") as caught:
        await open_server(clickhouse.url(user=user, password=password))
    assert "wrong pass" not in str(caught.value)


async def test_a_database_that_is_not_there_is_made(clickhouse: ClickHouseHttp) -> None:
    async with ClickHouseArchive.on_server(clickhouse.url("new `one`")) as archive:
        assert [("new `one`",)] == (await archive.query("SELECT currentDatabase()")).rows


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\noops",
        b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
    ],
)
async def test_what_is_no_clickhouse_is_refused(answer: bytes) -> None:
    async with answering(answer) as port:
        with pytest.raises(StorageRefused, match="answers, but not as a ClickHouse; write clickhouse://"):
            await open_server(f"clickhouse://127.0.0.1:{port}/")


@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"])
async def test_what_does_not_answer_is_unavailable_within_the_time_it_has(answer: bytes | None) -> None:
    async with answering(answer) as port:
        with pytest.raises(ArchiveUnavailable, match=f"127.0.0.1:{port}"):
            await open_server(f"clickhouse://127.0.0.1:{port}/", connect_timeout=1, timeout=1)


async def test_an_archive_may_be_made_before_its_server_is_up_and_outlives_it(tmp_path: Path) -> None:
    with ClickHouseHttp(tmp_path / "ch") as server:
        archive = ClickHouseArchive.on_server(server.url("later"))
        server.kill()
        for _ in range(2):
            with pytest.raises(ArchiveUnavailable, match="does not answer"):
                await archive.insert(ONE)

        server.start()
        await archive.insert(ONE)
        server.pause()
        with pytest.raises(ArchiveUnavailable):
            await archive.checkpoint("t", "")
        with pytest.raises(ArchiveUnavailable):
            await archive.insert(ONE)
        server.resume()
        assert await archive.checkpoint("t", "") is not None

        server.hold_inserts()
        under_way = asyncio.create_task(archive.insert(Batch(checkpoints=[(version(), checkpoint("t", "d"))])))
        await asyncio.to_thread(server.await_insert)
        assert await archive.checkpoint("t", "") is not None, "a slow insert is no reason not to read"
        server.kill()
        with pytest.raises(ArchiveUnavailable):
            await under_way
        server.start()
        await archive.insert(Batch(checkpoints=[(version(), checkpoint("t", "d"))]))
        assert ["d", "c"] == [
            each.record.key.checkpoint_id async for each in archive.scan(CheckpointQuery(thread_id="t"))
        ]
        await archive.aclose()


async def test_an_answer_that_is_cut_anywhere_is_an_error_and_never_absence(
    clickhouse: ClickHouseHttp, owner: str
) -> None:
    """The driver takes an answer that ends within its HTTP headers for one without rows."""
    entries = [entry("event", owner, seq, fields={"f": value("x" * 100)}) for seq in range(1, 100)]
    async with ClickHouseArchive.on_server(clickhouse.url()) as archive:
        await archive.insert(Batch(entries=[(version(), each) for each in entries]))

    outcomes: set[str] = set()
    for count in (*range(0, 3_000, 97), 20_000, 1_000_000):
        async with cut_after(count, clickhouse.port) as port:
            url = clickhouse.url().replace(f":{clickhouse.port}/", f":{port}/")
            archive = ClickHouseArchive.on_server(url, timeout=5)
            try:
                outcomes.add("read" if entries == await archive.read("event", owner) else f"wrong after {count}")
            except ArchiveUnavailable:
                outcomes.add("unavailable")
            await archive.aclose()
    assert {"read", "unavailable"} == outcomes


async def test_a_path_that_another_process_holds_is_unavailable_and_names_it(tmp_path: Path) -> None:
    with ClickHouseHttp(tmp_path / "held") as holder:
        script = """
            import asyncio, sys
            from storage.clickhouse import ClickHouseArchive
            from storage.errors import ArchiveUnavailable

            async def main():
                archive = ClickHouseArchive.in_process(sys.argv[1])
                try:
                    await archive.open()
                except ArchiveUnavailable as error:
                    print(error.owner)
                await archive.aclose()

            asyncio.run(main())
        """
        assert holder.process is not None
        assert [str(holder.process.pid)] == run(script, str(tmp_path / "held"))


def test_importing_costs_nothing_and_inserting_does_without_pandas(tmp_path: Path) -> None:
    """The engine has 555 MB; pandas is imported for 1 to 2 s while nothing else can run."""
    script = """
        import asyncio, sys
        from storage.clickhouse import ClickHouseArchive
        from storage.records import Batch
        from tests.support.archived import checkpoint, entry, value, version

        def loaded():
            print(sorted({"chdb", "clickhouse_connect", "numpy", "pandas"} & sys.modules.keys()))

        async def main():
            loaded()
            async with ClickHouseArchive.in_process(sys.argv[1]) as archive:
                await archive.insert(Batch(checkpoints=[(version(), checkpoint("t", "c"))]))
                assert await archive.checkpoint("t", "c") is None
                assert (await archive.query("SELECT 1")).rows
            print("pandas" in sys.modules)

        asyncio.run(main())
    """
    assert ["[]", "False"] == run(script, str(tmp_path / "archive"))


async def test_after_a_fork_the_parents_archive_is_not_used(
    archive: ClickHouseArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine in process would hang."""
    with monkeypatch.context() as forked:
        forked.setattr("storage.clickhouse.client.os.getpid", lambda: -1)
        with pytest.raises(ArchiveUnavailable, match="before this process was forked"):
            await archive.query("SELECT 1")
        await archive.aclose()


async def test_a_closed_archive_says_so(clickhouse: ClickHouseHttp) -> None:
    archive = await ClickHouseArchive.on_server(clickhouse.url()).open()
    for _ in range(2):
        await archive.aclose()
    with pytest.raises(ArchiveUnavailable, match="is closed"):
        await archive.insert(ONE)


async def test_many_calls_at_once_are_answered_each_with_its_own(archive: ClickHouseArchive) -> None:
    answers = await asyncio.gather(*(archive.query("SELECT {n:UInt32}", {"n": number}) for number in range(50)))
    assert [[(number,)] for number in range(50)] == [answer.rows for answer in answers]
