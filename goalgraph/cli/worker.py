"""`goalgraph worker`: a process that advances the runs of others, or several of them."""

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from goalgraph.application import open_planner
from goalgraph.cli.catalogs import load_catalog
from goalgraph.cli.console import complain, visible
from goalgraph.cli.exits import CommandError, Ending, Exit
from goalgraph.cli.place import Place, read_settings, told
from goalgraph.cli.request import RESOURCES
from goalgraph.settings import Settings
from goalgraph.workers import Beat, ExtraMissing, Health, open_engine
from goalgraph.workers.children import Children
from goalgraph.workers.health import write_whole
from planner.catalog import ActionCatalog
from planner.runs import ExecutionEngine, LocalEngine

EVERY = 30.0
"""Seconds between two beats."""
STDIN = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The options of `goalgraph worker`."""

    catalog: str | None
    place: Place
    engine: Literal["dramatiq", "local"] = "dramatiq"
    broker_url: str | None = None
    slots: int | None = None
    lease: float | None = None
    metrics_port: int | None = None
    health_file: Path | None = None
    lines: bool = False
    """Whether what it tells is JSON, line by line."""
    child: bool = False
    """Whether a parent process started it, without which it has nothing to do: stdin ends with that."""

    def settings(self) -> Settings:
        """Return the settings of the environment, with what the options say in their place."""
        settings = self.place.within(read_settings())
        given = {"slots": self.slots, "lease": self.lease}
        policy = replace(settings.runs, advance=True, survive=True, **{k: v for k, v in given.items() if v is not None})
        return settings.model_copy(update={"runs": policy})

    def arguments(self, number: int) -> list[str]:
        """Return how the child of this number is called; a port and a file are its own."""
        port = None if self.metrics_port is None else self.metrics_port + number
        file = None if self.health_file is None else f"{self.health_file}.{number}"
        options = {
            "--catalog": self.catalog,
            "--data-dir": self.place.data_dir,
            "--redis": self.place.redis,
            "--archive": self.place.archive,
            "--engine": self.engine,
            "--broker-url": self.broker_url,
            "--slots": self.slots,
            "--lease": self.lease,
            "--metrics-port": port,
            "--health-file": file,
        }
        pairs = [f"{name}={value}" for name, value in options.items() if value is not None]
        return ["worker", "--child", *pairs, *(["--json"] if self.lines else [])]


def worker(processes: int, **options: Any) -> Ending:
    """Advance runs until a signal says to stop; `options` are those of `Work`."""
    work = Work(**options)
    _log(as_json=work.lines)
    if processes > 1:
        code = asyncio.run(_supervise(work, processes))
        return Ending(code=code, document={"ok": code is Exit.OK, "processes": processes})
    return Ending(document=asyncio.run(_serve(work, load_catalog(work.catalog))).document())


async def _supervise(work: Work, processes: int) -> Exit:
    children = Children(
        [[sys.executable, "-P", "-m", "goalgraph", *work.arguments(number)] for number in range(processes)]
    )
    with _signals(children.stop, children.kill):
        code = await children.run()
    return Exit(code) if code in set(Exit) else Exit.FAILED


async def _serve(work: Work, catalog: ActionCatalog) -> Beat:
    """Be one worker; returns how it was in the end."""
    settings, stop = work.settings(), asyncio.Event()
    with _signals(stop.set, lambda number: os._exit(128 + number)):
        async with AsyncExitStack() as exits:
            if work.child:
                _end_with_parent(stop)
            engine = await exits.enter_async_context(_engine(work, settings))
            opening = open_planner(catalog=catalog, settings=settings, resources=RESOURCES, engine=engine)
            planner = await exits.enter_async_context(told(opening, settings))
            gc.collect()
            gc.freeze()  # what is imported by now stays; looking through it again and again took a fifth of a short run
            archiving = opening.stores and opening.stores.archiving
            health = exits.enter_context(Health(planner.service.run_service, settings.runs.slots, archiving))
            if work.metrics_port is not None:
                exits.enter_context(_metrics(work.metrics_port, health))
            _tell(health.beat("started"), work)
            while not stop.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(EVERY):
                        await stop.wait()
                _tell(health.beat("stopping" if stop.is_set() else "working"), work)
        beat = health.beat("stopped")
        _tell(beat, work)
        return beat


@asynccontextmanager
async def _engine(work: Work, settings: Settings) -> AsyncGenerator[ExecutionEngine]:
    if work.engine == "local":
        yield LocalEngine()
        return
    async with AsyncExitStack() as exits:
        try:
            opening = told(open_engine(settings, broker_url=work.broker_url), settings)
            engine = await exits.enter_async_context(opening)
        except ExtraMissing as error:
            raise CommandError(f"{error} (or use --engine local)") from None
        except ValueError as error:
            raise CommandError(f"the URL of the queue cannot be read: {error}") from None
        yield engine


@contextmanager
def _metrics(port: int, health: Health) -> Generator[None]:
    with ExitStack() as serving:
        try:
            from goalgraph.workers.prometheus import served_metrics

            serving.enter_context(served_metrics(port, health.beat))
        except ModuleNotFoundError as error:
            raise CommandError(str(ExtraMissing(error.name or "prometheus_client"))) from None
        except OSError as error:
            raise CommandError(f"metrics cannot be served at port {port}: {error.strerror}") from None
        yield


def _tell(beat: Beat, work: Work) -> None:
    """Show a beat to whoever reads stderr or looks at the file."""
    document = json.dumps(beat.document())
    print(document if work.lines else visible(beat.line()), file=sys.stderr, flush=True)  # noqa: T201 - a line, not folded
    if work.health_file is not None:
        try:
            write_whole(work.health_file, f"{document}\n")
        except OSError as error:
            complain(f"--health-file {work.health_file} cannot be written: {error.strerror}")


def _end_with_parent(stop: asyncio.Event) -> None:
    """Stop when stdin ends, whose other end the parent has: it may have been killed."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(STDIN, 1024):
            loop.remove_reader(STDIN)
            stop.set()

    loop.add_reader(STDIN, read)


@contextmanager
def _signals(first: Callable[[], None], second: Callable[[int], None]) -> Generator[None]:
    """Take SIGTERM and SIGINT: the first asks for a good end, another one for any."""
    loop, numbers = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    came: list[int] = []

    def hear(number: int) -> None:
        came.append(number)
        if len(came) == 1:
            first()
        else:
            second(number)

    for number in numbers:
        loop.add_signal_handler(number, hear, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


class JsonLines(logging.Formatter):
    """Writes what is logged as one line of JSON, like a beat."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat()
        return json.dumps(
            {"log": record.levelname.lower(), "at": at, "pid": record.process, "text": super().format(record)}
        )


def _log(*, as_json: bool) -> None:
    """Show warnings on stderr, without those that dramatiq repeats each second while its queue is away."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(lambda record: "connection error" not in str(record.msg))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
