"""`goalgraph worker`: real processes that advance the runs of this one."""

import asyncio
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from goalgraph.application import open_planner
from goalgraph.cli.catalogs import load_catalog
from goalgraph.settings import Settings, StorageSettings
from goalgraph.workers import Health, open_engine
from planner.execution import run_fields
from planner.node_planner import NodePlanner
from planner.runs import RunPolicy
from tests.cli.conftest import command
from tests.support.command_line import CommandLine, own_environment
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer, free_port
from tests.support.run_services import open_service
from tests.support.running import make_plan

__all__ = ["command"]

ROOT = Path(__file__).parents[2]
ACTIONS = """
import asyncio
import os

from goalgraph import action


@action
async def double(number: int) -> int:
    return 2 * number


@action(idempotent="yes")
async def pass_gate(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"%d\\n" % os.getpid())
    await reader.readline()
    writer.close()
    return os.getpid()
"""
DOUBLE = make_plan({"id": "a", "action": "double", "inputs": {"number": 21}})


class Gate:
    """Where an action says which process it is in, and waits until it may go on."""

    def __init__(self) -> None:
        self.pids: asyncio.Queue[int] = asyncio.Queue()
        self.port = 0
        self._open = asyncio.Event()

    async def next_pid(self) -> int:
        async with asyncio.timeout(30):
            return await self.pids.get()

    def open(self) -> None:
        self._open.set()

    @asynccontextmanager
    async def served(self) -> AsyncIterator["Gate"]:
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.open()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pids.put_nowait(int(await reader.readline()))
        opened = asyncio.create_task(self._open.wait())
        gone = asyncio.create_task(reader.read())
        await asyncio.wait({opened, gone}, return_when=asyncio.FIRST_COMPLETED)
        opened.cancel()
        gone.cancel()
        if self._open.is_set():
            writer.write(b"go\n")
        writer.close()


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with RedisServer(tmp_path_factory.mktemp("worker"), tcp=True) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, redis: RedisServer) -> Settings:
    (tmp_path / "their_actions.py").write_text(ACTIONS, encoding="utf-8")
    return Settings(data_dir=tmp_path / "data", storage=StorageSettings(redis_url=redis.url))


@asynccontextmanager
async def submitting(place: Settings) -> AsyncIterator[NodePlanner]:
    """A planner that starts runs and advances none."""
    catalog = load_catalog(str(place.data_dir.parent / "their_actions.py"))
    async with (
        open_engine(place) as engine,
        open_planner(catalog=catalog, settings=place, policy=RunPolicy(advance=False), engine=engine) as planner,
    ):
        yield planner


class Workers:
    """A `goalgraph worker` and what it says."""

    def __init__(self, process: Process, health: Path) -> None:
        self.process = process
        self._health = health

    def beat(self, number: int | None = None) -> dict[str, Any]:
        """What the health file says, of one of several processes."""
        path = self._health if number is None else self._health.with_name(f"{self._health.name}.{number}")
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    async def started(self, *numbers: int | None, but: int = 0) -> list[int]:
        """The process ids, once they are at work; none of them is `but`."""

        async def look() -> list[int]:
            beats = [self.beat(number) for number in numbers]
            return [beat["pid"] for beat in beats if beat.get("state") == "started" and beat["pid"] != but]

        async def all_there() -> list[int]:
            pids = await look()
            return pids if len(pids) == len(numbers) else []

        return await eventually(all_there, "the workers start", seconds=40)

    async def ended(self) -> int:
        async with asyncio.timeout(30):
            return await self.process.wait()

    async def end(self) -> None:
        for process in [*psutil.Process(self.process.pid).children(), psutil.Process(self.process.pid)]:
            process.kill()
        await self.process.wait()


@pytest.fixture
async def work(place: Settings, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts `goalgraph worker` with a short lease; whatever is left of it in the end is killed."""
    started: list[Workers] = []

    async def start(*options: str, grace: str = "0.3", **more: Any) -> Workers:
        catalog = ("--catalog", "their_actions.py", "--redis", place.storage.redis_url or "")
        command = [sys.executable, "-m", "goalgraph", "worker", *catalog, "--lease", "1.5", "--health-file", "health"]
        environment = {**own_environment(), "PYTHONPATH": str(ROOT), "GOALGRAPH_DATA_DIR": str(place.data_dir)}
        environment |= {"GOALGRAPH_RUNS__GRACE": grace, "GOALGRAPH_RUNS__SWEEP": "0.3"}
        arguments: dict[str, Any] = {"stdin": DEVNULL, "cwd": tmp_path, "env": environment, **more}
        process = await asyncio.create_subprocess_exec(*command, *options, **arguments)
        started.append(Workers(process, tmp_path / "health"))
        return started[-1]

    yield start
    for workers in started:
        if workers.process.returncode is None:
            await workers.end()


async def test_two_workers_advance_what_is_submitted_and_survive_a_kill(
    place: Settings, work: Callable[..., Any]
) -> None:
    async with submitting(place) as planner, Gate().served() as gate:
        workers = await work("--processes", "2")
        children = await workers.started(0, 1)
        handles = [await planner.execute_background(DOUBLE, exec_id=f"run-{number}") for number in range(6)]
        results = [await handle.wait() for handle in handles]
        assert [result.outputs for result in results] == [{"result": 42}] * 6

        plan = make_plan({"id": "a", "action": "pass_gate", "inputs": {"port": gate.port}})
        handle = await planner.execute_background(plan, exec_id="gated")
        killed = await gate.next_pid()
        assert killed in children
        os.kill(killed, signal.SIGKILL)
        went_on = await gate.next_pid()
        [anew] = await workers.started(children.index(killed), but=killed)
        assert went_on != killed

        workers.process.send_signal(signal.SIGTERM)
        assert await workers.ended() == 0
        assert not [pid for pid in (*children, went_on, anew) if psutil.pid_exists(pid)]
        assert (await planner.get_run("gated")).status() in {"pending", "running"}

        later = await work()
        [last] = await later.started(None)
        assert await gate.next_pid() == last, "it was handed back, so somebody takes it up"
        gate.open()
        assert (await handle.wait()).outputs == {"result": last}
        later.process.send_signal(signal.SIGINT)
        assert await later.ended() == 0
        assert later.beat()["state"] == "stopped"


async def test_a_worker_shows_figures_leaves_newer_runs_and_ends_with_its_parent(
    place: Settings, work: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    async with submitting(place) as planner:
        worker = await work("--child", "--json", "--metrics-port", str(port), stdin=PIPE, stderr=PIPE)
        await worker.started(None)
        with monkeypatch.context() as newer:
            newer.setattr(run_fields, "VERSION", run_fields.VERSION + 1)
            await planner.execute_background(DOUBLE, exec_id="newer")
        handle = await planner.execute_background(DOUBLE, exec_id="ours")
        assert (await handle.wait()).ok

        async with httpx.AsyncClient() as client:
            seen: dict[str, float] = {}

            async def looked_again() -> bool:
                seen.update(figures((await client.get(f"http://127.0.0.1:{port}/metrics")).text))
                return seen["goalgraph_sweeps_total"] >= 3

            await eventually(looked_again, "the worker looks for runs again")
        live = planner.service.run_service.log.stores
        newest = await live.records.latest("run", "newer")
        left = await live.live.load(newest.columns["org_id"]) if newest is not None else None

    worker.process.stdin.close()
    assert await worker.ended() == 0
    told = [json.loads(line) for line in (await worker.process.stderr.read()).splitlines()]
    assert seen['goalgraph_runs_ended_total{status="succeeded"}'] == 1.0
    assert seen["goalgraph_runs_started_total"] == 1.0
    assert seen["goalgraph_runs_advancing"] == 0.0
    assert "goalgraph_archive_lag_seconds" in seen
    assert newest is not None
    assert newest.columns["status"] == "pending", "a worker with the newer version takes it up"
    assert left is not None
    assert left.tenant == 1, "it is due again in a while"
    assert [one["state"] for one in told if "state" in one] == ["started", "stopping", "stopped"]


async def test_a_health_line_is_one_line_and_names_the_last_error() -> None:
    async with open_service() as service:
        with Health(service, 5, None) as health:
            before = health.beat("started").line()
            logging.getLogger("goalgraph").warning("the store\nis away")
            after = health.beat()

    assert "advances 0 of 5 · 0 due" in before
    assert "last error" not in before
    assert "last error: the store is away (2" in after.line()
    assert json.loads(json.dumps(after.document()))["archive"] == {"lag": 0.0, "waiting": 0, "error": None}


def figures(text: str) -> dict[str, float]:
    """The samples of a page for Prometheus."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


async def test_a_second_signal_ends_a_worker_at_once(place: Settings, work: Callable[..., Any]) -> None:
    """Its actions have no more time, and its runs are taken up when their lease has run out."""
    async with submitting(place) as planner, Gate().served() as gate:
        worker = await work("--json", stderr=PIPE, grace="60")
        await worker.started(None)
        plan = make_plan({"id": "a", "action": "pass_gate", "inputs": {"port": gate.port}})
        await planner.execute_background(plan, exec_id="gated")
        await gate.next_pid()

        worker.process.terminate()
        while b'"stopping"' not in await worker.process.stderr.readline():
            assert worker.process.returncode is None
        worker.process.terminate()

        assert await worker.ended() == 128 + signal.SIGTERM


# ------------------------------------------------------------------------------------------------------- wrong usage


def test_a_catalog_that_is_not_there_is_wrong_usage(command: CommandLine) -> None:
    done = command("worker", "--catalog", "nothing_of_this_name")

    assert done.exit_code == 2
    assert "there is no module" in done.stderr


def test_a_redis_that_is_not_there_is_named(command: CommandLine) -> None:
    done = command("worker", "--catalog", command.catalog, "--redis", "redis://127.0.0.1:1/0")

    assert done.exit_code == 1
    assert "127.0.0.1:1/0 does not answer" in done.stderr


def test_a_cluster_needs_a_server_for_the_queue(command: CommandLine) -> None:
    done = command("worker", "--catalog", command.catalog, "--redis", "redis+cluster://127.0.0.1:1")

    assert done.exit_code == 2
    assert "--broker-url" in done.stderr


def test_a_queue_whose_url_is_none_is_wrong_usage(command: CommandLine) -> None:
    done = command("worker", "--catalog", command.catalog, "--broker-url", "amqp://nowhere")

    assert done.exit_code == 2
    assert "the URL of the queue cannot be read" in done.stderr


def test_an_extra_that_is_not_installed_is_named(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goalgraph.workers.opening.find_spec", lambda name: None)

    done = command("worker", "--catalog", command.catalog)

    assert done.exit_code == 2
    assert "pip install 'goalgraph[workers]'" in done.stderr


async def test_children_whose_options_are_wrong_are_not_started_again(work: Callable[..., Any]) -> None:
    workers = await work("--processes", "2", "--catalog", "nothing_of_this_name", stderr=PIPE)

    assert await workers.ended() == 2
    assert b"there is no module" in await workers.process.stderr.read()
