"""A process that takes part in advancing runs, and may be killed or stopped at any time.

`python -m tests.chaos.run_worker '{"redis": …, "archive": …, "folder": …, "lease": 1, "fence": true,
"engine": "local"}'`. It speaks as `worker.py` does; SIGTERM ends it as a graceful stop.
"""

import asyncio
import json
import logging
import signal
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from goalgraph import open_planner
from goalgraph.settings import Settings, StorageSettings
from goalgraph.workers import DramatiqEngine, next_database
from planner.context import RequestIdentity
from planner.errors import PlannerError
from planner.execution import ExecutionResult
from planner.limits import Limits
from planner.runs import LocalEngine, RunPolicy
from storage.dual.runs import TieredRuns
from storage.errors import StorageError
from storage.runs import Claim, Granted, Refused
from tests.chaos import unfenced
from tests.chaos.run_plan import PLANS, Journal, make_catalog
from tests.chaos.worker import Complaints, Say
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from planner.node_planner import NodePlanner


def note_takes(journal: Journal) -> None:
    """Write down each run that this process is given."""
    enter = TieredRuns.enter

    async def noting(self: TieredRuns, run_id: str, claim: Claim | None, **more: Any) -> Granted | Refused:
        answer = await enter(self, run_id, claim, **more)
        if claim is not None and isinstance(answer, Granted):
            journal.write("take", run=run_id, token=answer.token)
        return answer

    TieredRuns.enter = noting


async def do(planner: "NodePlanner", command: dict[str, Any]) -> object:
    """Do what a command says and return what goes into its answer."""
    run = command.get("run", "")
    match command["do"]:
        case "submit":
            plan, inputs, target = PLANS[command["plan"]], command.get("inputs", {}), command.get("target", "tell")
            await planner.execute_background(plan, user_inputs=inputs, exec_id=run, on_complete=target)
        case "cancel":
            await planner.service.run_service.cancel(run, RequestIdentity())
        case "idle":
            await eventually(lambda: idle(planner), "nothing is advanced here")
        case other:
            raise ValueError(other)
    return None


async def idle(planner: "NodePlanner") -> bool:
    return not planner.service.executor.active


async def answer(planner: "NodePlanner", command: dict[str, Any], say: Say) -> None:
    try:
        say(id=command["id"], ok=await do(planner, command))
    except (StorageError, PlannerError) as error:
        say(id=command["id"], error=f"{type(error).__name__}: {error}")
    except Exception:  # noqa: BLE001 - whatever it is, the campaign has to know
        say(id=command["id"], bug=traceback.format_exc())


async def serve(given: dict[str, Any], say: Say) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    lines = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    folder = Path(given["folder"])
    journal = Journal(folder)
    if not given["fence"]:
        unfenced.switch_off()
    note_takes(journal)

    def told(result: ExecutionResult) -> None:
        journal.write("told", run=result.run_id, status=result.status)

    storage = StorageSettings(redis_url=given["redis"], archive_url=given["archive"])
    policy = RunPolicy(lease=given["lease"], sweep=0.2, grace=0.5)
    limits = Limits(callback_timeout=timedelta(seconds=3))  # a delivery that died with its process is repeated after 6
    settings = Settings(data_dir=folder, storage=storage, runs=policy, limits=limits)
    while not stopping.is_set() and not lines.at_eof():
        engine = DramatiqEngine(next_database(given["redis"])) if given["engine"] == "dramatiq" else LocalEngine()
        opening = open_planner(
            catalog=make_catalog(journal), settings=settings, callbacks={"tell": told}, engine=engine
        )
        try:
            async with opening as planner:
                say(ready=True)
                await take_commands(planner, lines, stopping, say)
        except StorageError:  # Redis is away just now
            continue


async def take_commands(planner: "NodePlanner", lines: asyncio.StreamReader, stopping: asyncio.Event, say: Say) -> None:
    """Do what is asked until a signal or the end of the input."""
    stop, answering = asyncio.create_task(stopping.wait()), set[asyncio.Task[None]]()
    try:
        while not stopping.is_set():
            line = asyncio.create_task(lines.readline())
            await asyncio.wait({stop, line}, return_when=asyncio.FIRST_COMPLETED)
            if not line.done():
                line.cancel()
                return
            if not line.result():
                return
            task = asyncio.create_task(answer(planner, json.loads(line.result()), say))
            answering.add(task)
            task.add_done_callback(answering.discard)
    finally:
        stop.cancel()
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)


def main(given: dict[str, Any]) -> None:
    def say(**what: object) -> None:
        print(json.dumps(what), flush=True)

    logger = logging.getLogger("goalgraph")
    logger.addHandler(Complaints(say))
    logger.propagate = False
    asyncio.run(serve(given, say))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
