"""Runs whose process dies, and goes on in another one on the same data directory; prints what each life saw.

Started by test_lives.py with a folder. Each life is a real process, forked so that it need not
import everything again; what it reports is a line of JSON.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

from pydantic import SecretStr

from goalgraph import ActionCatalog, ActionContext, CandidatePlan, NodePlanner, action, open_planner
from planner.errors import MissingSecrets
from planner.execution import ExecutionResult
from planner.limits import Limits
from planner.runs import RunPolicy
from tests.support.eventually import eventually
from tests.support.told_stories import tell_all

LEASE = 0.6
POLICY = RunPolicy(lease=LEASE, sweep=0.1, grace=0.2)
SECRET = "swordfish-4711"


@dataclass(frozen=True)
class Point:
    x: int


class Life:
    """One process: it opens a planner, and dies where its story says so."""

    def __init__(self, folder: Path, dies: str = "") -> None:
        self.folder = folder
        self.dies = dies

    def note(self, line: str) -> None:
        """Write a line to the journal, and die if it is the one."""
        with (self.folder / "journal").open("a") as journal:
            journal.write(f"{line}\n")
        if line == self.dies:
            os.kill(os.getpid(), signal.SIGKILL)

    @property
    def journal(self) -> list[str]:
        path = self.folder / "journal"
        return path.read_text().splitlines() if path.exists() else []

    def planner(self, **options: Any) -> Any:
        options = {
            "policy": POLICY,
            "limits": Limits(blob_bytes=1000, callback_timeout=timedelta(seconds=0.3)),
        } | options
        return open_planner(catalog=self.catalog(), data_dir=self.folder / "data", **options)

    def catalog(self) -> ActionCatalog:
        @action(cost=3)
        async def step(ctx: ActionContext, after: Any = None) -> str:
            self.note(f"run {ctx.step_id}")
            return ctx.step_id

        @action
        async def explode() -> int:
            if not (self.folder / "calm").exists():
                self.note("explode")
                os._exit(1)
            return 1

        @action
        async def use(ctx: ActionContext, key: SecretStr) -> str:
            self.note(f"run {ctx.step_id}")
            return "right" if key.get_secret_value() == SECRET else "wrong"

        @action
        async def measure(ctx: ActionContext, large: str, point: Point) -> list[Any]:
            self.note(f"run {ctx.step_id}")
            return [len(large), point.x]

        catalog = ActionCatalog([step, explode, use, measure])
        catalog.codecs.add(codec())
        return catalog


def codec() -> Any:
    from planner.catalog.values import Codec

    return Codec(Point, lambda point: str(point.x).encode(), lambda content: Point(int(content)))


def plan(*steps: dict[str, Any]) -> CandidatePlan:
    return CandidatePlan.from_dict({"steps": list(steps)})


def a_step(name: str, after: str | None = None) -> dict[str, Any]:
    return {"id": name, "action": "step", "inputs": {"after": f"${{{after}}}"} if after else {}}


THREE = plan(a_step("a"), a_step("b", "a"), a_step("c", "b"))


async def report_of(planner: NodePlanner, run_id: str, result: ExecutionResult) -> dict[str, Any]:
    handle = await planner.get_run(run_id)
    record = await handle.refresh()
    return {
        "ok": result.ok,
        "outputs": result.outputs,
        "status": record.status,
        "reason": record.reason,
        "attempt": record.attempt,
        "errors": list(record.errors),
        "attempts": record.usage.attempts,
        "cost": record.usage.amount,
        "steps": sorted(result.step_outputs),
        "events": [[event.seq, event.phase, event.step_id] async for event in handle.events()],
    }


async def start(life: Life, wanted: CandidatePlan, inputs: Any = None, **options: Any) -> None:
    """Begin the run; this process does not see its end."""
    async with life.planner() as planner:
        handle = await planner.execute_background(wanted, user_inputs=inputs or {}, exec_id="r", **options)
        await handle.wait()
        await asyncio.Event().wait()


async def take_up(life: Life, **options: Any) -> dict[str, Any]:
    """Wait for the run, which was begun in another life, and take it up."""
    async with life.planner(**options) as planner:
        began = monotonic()
        result = await (await planner.get_run("r")).wait()
        return await report_of(planner, "r", result) | {"seconds": monotonic() - began, "journal": life.journal}


def in_process(work: Awaitable[Any] | Callable[[], Awaitable[Any]], folder: Path) -> tuple[int, Any]:
    """Live in a process of its own; return how it ended and what it reported."""
    answer = folder / "answer"
    answer.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:

            async def bounded() -> Any:
                async with asyncio.timeout(30):
                    return await work()  # pyright: ignore[reportCallIssue]  # a function without arguments

            answer.write_text(json.dumps(asyncio.run(bounded())))
        except BaseException as error:  # noqa: BLE001 - the parent has to learn why
            print(repr(error), file=sys.stderr)
            os._exit(9)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, json.loads(answer.read_text()) if answer.exists() else None


def killed(folder: Path) -> dict[str, Any]:
    """A run whose process is killed in its second step."""
    first = in_process(lambda: start(Life(folder, "run b"), THREE), folder)
    return {"died": first[0], "then": in_process(lambda: take_up(Life(folder)), folder)[1]}


def poisoned(folder: Path) -> dict[str, Any]:
    """A run that ends each process that advances it; the last life mends what was wrong, and retries it."""
    wanted = plan({"id": "x", "action": "explode"})
    codes = [in_process(lambda: start(Life(folder), wanted), folder)[0]]
    codes += [in_process(lambda: take_up(Life(folder)), folder)[0] for _ in range(2)]

    async def retry() -> Any:
        life = Life(folder)
        async with life.planner() as planner:
            handle = await planner.get_run("r")
            parked = await report_of(planner, "r", await handle.wait())
            (folder / "calm").touch()
            again = await report_of(planner, "r", await (await handle.retry()).wait())
            return {"parked": parked, "again": again, "journal": life.journal}

    return {"died": codes, "then": in_process(retry, folder)[1]}


def called_back(folder: Path) -> dict[str, Any]:
    """A process that dies while it delivers a callback."""

    async def die() -> None:
        life = Life(folder, "call r succeeded")
        async with life.planner(callbacks={"told": lambda result: tell(life, result)}) as planner:
            await planner.execute_background(THREE, exec_id="r", on_complete="told")
            await asyncio.Event().wait()

    async def deliver() -> Any:
        life = Life(folder)

        async def heard() -> bool:
            return "heard" in life.journal

        def told(result: ExecutionResult) -> None:
            tell(life, result)
            life.note("heard")

        async with life.planner(callbacks={"told": told}):
            await eventually(heard, "the callback")
        return life.journal

    return {"died": in_process(die, folder)[0], "then": in_process(deliver, folder)[1]}


def tell(life: Life, result: ExecutionResult) -> None:
    life.note(f"call {result.run_id} {result.status}")


def secret(folder: Path) -> dict[str, Any]:
    """A run with a secret: a process without it leaves it alone until somebody gives the secret again."""
    wanted = plan(a_step("a"), {"id": "k", "action": "use", "inputs": {"key": "${user.key}"}, "after": ["a"]})
    given = {"key": SecretStr(SECRET)}
    died = in_process(lambda: start(Life(folder, "run k"), wanted, given), folder)[0]

    async def lacking() -> Any:
        async with Life(folder).planner() as planner:
            handle = await planner.get_run("r")
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * LEASE):
                    await handle.wait()
            told: list[str] = []
            for call in (handle.rerun, handle.copy):
                try:
                    await call()
                except MissingSecrets as error:
                    told.append(str(error))
            before = (await handle.refresh()).status
            waiting = asyncio.create_task(handle.wait())
            await handle.resume({"key": SecretStr(SECRET)})
            report = await report_of(planner, "r", await waiting)
            return {"before": before, "told": told, "report": report}

    found = in_process(lacking, folder)[1]
    stored = b"".join(path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file())
    return {"died": died, "then": found, "stored": SECRET.encode() in stored, "size": len(stored)}


def provided(folder: Path) -> dict[str, Any]:
    """A run with a secret, taken up by a process that can ask for it."""
    wanted = plan({"id": "k", "action": "use", "inputs": {"key": "${user.key}"}})
    died = in_process(lambda: start(Life(folder, "run k"), wanted, {"key": SecretStr(SECRET)}), folder)[0]

    async def provider(name: str, record: Any) -> SecretStr:
        Life(folder).note(f"asked {name} of {record.id}")
        return SecretStr(SECRET)

    return {"died": died, "then": in_process(lambda: take_up(Life(folder), secrets=provider), folder)[1]}


def inputs(folder: Path) -> dict[str, Any]:
    """A run with an input that no record holds, and one that is no plain data."""
    wanted = plan({"id": "m", "action": "measure", "inputs": {"large": "${user.large}", "point": "${user.point}"}})
    given = {"large": "x" * 5000, "point": Point(7)}
    died = in_process(lambda: start(Life(folder, "run m"), wanted, given), folder)[0]
    return {"died": died, "then": in_process(lambda: take_up(Life(folder)), folder)[1]}


STORIES = {story.__name__: story for story in (killed, poisoned, called_back, secret, provided, inputs)}


if __name__ == "__main__":
    tell_all(STORIES, Path(sys.argv[1]))
