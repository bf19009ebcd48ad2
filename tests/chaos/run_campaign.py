"""A chaos run of plans: hundreds of them are advanced while everything fails, and each ends as if nothing had."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from tests.chaos.faults import pause
from tests.chaos.run_checks import KINDS, Finding, RunStory, check, late_calls
from tests.chaos.run_faults import RunFaults
from tests.chaos.run_plan import FAILING_NEEDS, NEEDS, Journal, expected
from tests.chaos.run_stories import archive_differs, lines_of, read_story
from tests.chaos.workers import Bug, Unknown, Worker
from tests.support.clickhouse_http import ClickHouseHttp
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.steps import open_saver
from tests.support.webhooks import Webhooks

WORKERS = 3
LEASE = 1.5
SKEWS = (0, 0, 120, -120)
RECOVERY_SECONDS = 60.0
"""After the last fault, for every run to end and every callback to be delivered."""
MOST_ASKED = 600
COMPARED = 100
"""Runs of which both tiers are compared."""
KINDS_OF_RUNS = {
    "succeeding": (80, {"succeeded"}),
    "failing": (12, {"failed"}),
    "cancelled": (8, {"cancelled", "succeeded"}),
}
"""How many of a hundred, and with which status they end."""
Say = Callable[[str], None]


class RunCampaign:
    """One run, which ends at `ended`.

    Args:
        folder: For the servers, and what the workers write down.
        seed: Of all that is chosen.
        rate: Runs that are submitted in a second.
        fence: Whether leases and fencing tokens count; without them something has to be found.
        calm: Seconds between two faults, at most.
    """

    def __init__(self, folder: Path, seed: int, *, rate: float = 5.0, fence: bool = True, calm: float = 2.5) -> None:
        self.ended = asyncio.Event()
        self.wrong: list[Finding] = []
        """Kind and message of each thing that must not be."""
        self._chance = random.Random(seed)
        self._rate = rate
        self._fence = fence
        self._folder = folder
        self._redis = RedisServer(folder / "redis", tcp=True)
        self._clickhouse = ClickHouseHttp(folder / "clickhouse")
        self._journal = Journal(folder)
        self._workers: list[Worker] = []
        self._faults = RunFaults(
            self._redis, self._clickhouse, self._workers, LEASE, random.Random(seed + 1), most_between=calm
        )
        self._submitted: dict[str, tuple[str, int]] = {}
        """Run → its kind and its input."""
        self._stories: list[RunStory] = []
        self._hooks: Webhooks

    async def run(self, seconds: float, say: Say) -> None:
        """Fail for so long, then put everything right and check what is there in the end."""
        async with AsyncExitStack() as exits:
            exits.callback(self._journal.close)
            await asyncio.gather(asyncio.to_thread(self._redis.start), asyncio.to_thread(self._clickhouse.start))
            exits.push_async_callback(asyncio.to_thread, self._redis.stop)
            exits.push_async_callback(asyncio.to_thread, self._clickhouse.kill)
            self._hooks = await exits.enter_async_context(Webhooks(self._heard, random.Random(self._chance.random())))
            self._workers += [self._worker(number) for number in range(WORKERS)]
            keeping = [asyncio.create_task(worker.run()) for worker in self._workers]
            try:
                await asyncio.gather(*(worker.until_ready() for worker in self._workers))
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._time(seconds, say))
                    tasks.create_task(self._faults.run(self.ended))
                    tasks.create_task(self._submit_all(tasks))
                await self._recover(say)
            finally:
                for worker in self._workers:
                    worker.leaving = True
                    worker.end()
                _, pending = await asyncio.wait(keeping, timeout=15.0)
                if pending:
                    self._note("bug", f"{len(pending)} workers did not end when they were told to")
                for task in keeping:
                    task.cancel()
                await asyncio.gather(*keeping, return_exceptions=True)
            await self._check_in_the_end(say)

    def summary(self) -> str:
        """What was done, and what was wrong."""
        stories = self._stories
        lives, calls = sum(one.lives for one in stories), sum(len(one.calls) for one in stories)
        doubled, late = sum(one.duplicates for one in stories), sum(map(late_calls, stories))
        told = Counter(line.name or "name" for one in stories for line in one.lines if line.kind == "told")
        kinds, ends = Counter(kind for kind, _ in self.wrong), Counter(str(one.status) for one in stories)
        rows = [
            ("runs", len(stories)),
            *((f"of these {status}", count) for status, count in sorted(ends.items())),
            ("given to somebody to advance", lives),
            ("of these again, after an interruption", lives - len(stories)),
            ("calls of steps", calls),
            ("of these repeated", doubled),
            ("of these late, by who had been stopped", late),
            *((f"callbacks by {way}", count) for way, count in sorted(told.items())),
            *sorted(self._faults.done.items()),
        ]
        table = [f"  {name:<42}{count:>7,}" for name, count in rows]
        verdict = ", ".join(f"{kind} = {kinds[kind]}" for kind in KINDS)
        return "\n".join([*table, verdict, *(f"  {kind}: {message}" for kind, message in self.wrong[:20])])

    # ---------------------------------------------------------------------------------------------- what is under way

    def _worker(self, number: int) -> Worker:
        """Each clock is wrong in its own way; one worker has no queue."""

        def arguments() -> Sequence[str]:
            given = {
                "redis": self._redis.url,
                "archive": self._clickhouse.url("chaos"),
                "folder": str(self._folder),
                "lease": LEASE,
                "fence": self._fence,
                "engine": "local" if number == 0 else "dramatiq",
            }
            return [str(self._chance.choice(SKEWS)), "tests.chaos.run_worker", json.dumps(given)]

        return Worker(lambda said: self._note("bug", said), "tests.chaos.wrong_clock", arguments)

    async def _time(self, seconds: float, say: Say) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        while (passed := loop.time() - start) < seconds and not self.ended.is_set():
            await pause(self.ended, min(1.0, seconds - passed))
            faults = sum(self._faults.done.values())
            say(f"{loop.time() - start:5.0f} s  submitted {len(self._submitted)}, faults {faults}")
        self.ended.set()

    async def _submit_all(self, tasks: asyncio.TaskGroup) -> None:
        while not self.ended.is_set():
            name, n = f"run-{len(self._submitted)}", self._chance.randrange(1000)
            (kind,) = self._chance.choices(list(KINDS_OF_RUNS), [weight for weight, *_ in KINDS_OF_RUNS.values()])
            self._submitted[name] = kind, n
            target = self._hooks.url(name) if self._chance.random() < 0.3 else "tell"
            tasks.create_task(self._submit(name, target, round(self._chance.uniform(0.0, 0.3), 3)))
            await pause(self.ended, self._chance.uniform(0, 2 / self._rate))

    async def _submit(self, name: str, target: str, work: float) -> None:
        """Submit a run until somebody says that it was, and ask once that it stops if it is of that kind."""
        kind, n = self._submitted[name]
        plan, inputs = "plan", {"n": n, "run": name, "work": work}
        if kind == "failing":
            plan, inputs = "failing", {"work": work}
        await self._insist("submit", run=name, plan=plan, inputs=inputs, target=target)
        if kind == "cancelled":
            await pause(asyncio.Event(), self._chance.uniform(0.0, 2.0))
            with suppress(Unknown):
                await self._ask("cancel", run=name)

    async def _insist(self, do: str, **arguments: object) -> None:
        """Ask one worker after the other until one did it."""
        for _ in range(MOST_ASKED):
            try:
                await self._ask(do, **arguments)
            except Unknown:
                await pause(asyncio.Event(), 0.1)
            else:
                return
        self._note("bug", f"{do} {arguments} is done by nobody")

    async def _ask(self, do: str, **arguments: object) -> None:
        """Ask a worker. Raises `Unknown` when there is none, or nobody knows whether it did it."""
        ready = [worker for worker in self._workers if worker.ready]
        if not ready:
            raise Unknown("no worker is ready")
        try:
            await self._chance.choice(ready).ask(do, **arguments)
        except Bug as error:
            self._note("bug", str(error))

    def _heard(self, run: str, status: str) -> None:
        self._journal.write("told", run=run, status=status, name="http")

    # ------------------------------------------------------------------------------------------------- in the end

    async def _recover(self, say: Say) -> None:
        """Wait until every run has ended and was told of, which nothing keeps it from any more."""
        loop = asyncio.get_running_loop()
        began = loop.time()

        async def all_told() -> bool:
            told = {line["run"] for line in self._journal.read() if line["kind"] == "told"}
            return self._submitted.keys() <= told

        try:
            await eventually(all_told, "every run ends, and is told of", seconds=RECOVERY_SECONDS)
            say(f"all was over {loop.time() - began:.1f} s after the last fault")
        except AssertionError:
            say("not everything was over in time")

    async def _check_in_the_end(self, say: Say) -> None:
        lines = lines_of(self._journal)
        async with open_saver(self._redis.url, self._clickhouse.url("chaos")) as saver:
            await saver.aflush(RECOVERY_SECONDS)
            for name, (kind, n) in self._submitted.items():
                story = await read_story(saver, name, lines.get(name, []))
                self._stories.append(story)
                needs, ends = (FAILING_NEEDS if kind == "failing" else NEEDS), KINDS_OF_RUNS[kind][1]
                outputs = {} if kind == "failing" else expected(n)
                self.wrong += [(found, f"{name}: {why}") for found, why in check(story, needs, outputs, ends)]
            say("comparing the tiers")
            some = list(self._submitted)
            for name in self._chance.sample(some, min(COMPARED, len(some))):
                if (why := await archive_differs(saver, name)) is not None:
                    self._note("archive", f"{name}: {why}")

    def _note(self, kind: str, message: str) -> None:
        self.wrong.append((kind, message))
