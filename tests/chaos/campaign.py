"""A chaos run: threads are written, read, moved and deleted while everything fails, and compared with a model."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from storage.errors import StorageError
from tests.chaos.faults import Faults, Stores, pause
from tests.chaos.model import Doubled, Missing, ThreadModel, Wrong
from tests.chaos.workers import Bug, Unknown, Worker
from tests.support.steps import Step, list_steps, newest_step, open_saver

WORKERS = 3
THREADS = 8
FINAL_SECONDS = 60.0
Say = Callable[[str], None]


class Campaign:
    """One run, which ends at `ended`.

    Args:
        folder: For the servers.
        seed: Of all that is chosen.
        forget: Let nothing fail, but flush Redis behind everybody's back in the middle, which has to be noticed.
    """

    def __init__(self, folder: Path, seed: int, *, forget: bool = False) -> None:
        self.ended = asyncio.Event()
        self.counts: Counter[str] = Counter()
        """Operations by what became of them."""
        self.wrong: list[tuple[str, str]] = []
        """Kind and message of each thing that must not be."""
        self._forget = forget
        self._chance = random.Random(seed)
        self._seed = seed
        self._stores = Stores(folder, seed)
        self._models = [ThreadModel(f"thread {number}") for number in range(THREADS)]
        self._workers: list[Worker] = []
        self._faults: Faults

    async def run(self, seconds: float, say: Say) -> None:
        """Fail and check for so long, then put everything right and check what is there in the end."""
        await self._stores.start()
        keeping: list[asyncio.Task[None]] = []
        try:
            self._workers = [self._worker(number) for number in range(WORKERS)]
            keeping = [asyncio.create_task(worker.run()) for worker in self._workers]
            await asyncio.gather(*(worker.until_ready() for worker in self._workers))
            self._faults = Faults(self._stores, self._workers, random.Random(self._seed + 1))
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._time(seconds, say))
                    failing = self._forget_everything(seconds / 2) if self._forget else self._faults.run(self.ended)
                    tasks.create_task(failing)
                    for model in self._models:
                        tasks.create_task(self._drive(model, random.Random(f"{self._seed} {model.name}")))
            finally:
                await self._stores.heal()
                for task in keeping:
                    task.cancel()
                await asyncio.gather(*keeping, return_exceptions=True)
            try:
                await self._check_in_the_end()
            except StorageError as error:
                self._note(Missing.kind, f"in the end: {error}")
        finally:
            await self._stores.stop()

    def summary(self) -> str:
        """What was done, and what was wrong."""
        kinds = Counter(kind for kind, _ in self.wrong)
        done = ", ".join(f"{kind} {number}" for kind, number in sorted(self._faults.done.items()))
        counts = ", ".join(f"{what} {number}" for what, number in sorted(self.counts.items()))
        verdict = ", ".join(f"{kind} = {kinds[kind]}" for kind in ("lost", "duplicated", "wrong", "bug"))
        lines = [f"operations: {counts}", f"faults: {done}, connections cut {self._stores.cuts}", verdict]
        return "\n".join([*lines, *(f"  {kind}: {message}" for kind, message in self.wrong[:20])])

    def _worker(self, number: int) -> Worker:
        """The first has both servers directly, the others one of them behind a front, in turn."""
        stores = self._stores
        redis = stores.redis_front.url if number % 3 == 1 else stores.redis.url
        archive = stores.clickhouse_front.url if number % 3 == 2 else stores.clickhouse.url("chaos")
        return Worker(lambda said: self._note("bug", said), "tests.chaos.worker", lambda: (redis, archive))

    async def _time(self, seconds: float, say: Say) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        while (passed := loop.time() - start) < seconds and not self.ended.is_set():
            await pause(self.ended, min(1.0, seconds - passed))
            faults = sum(self._faults.done.values())
            counts = self.counts
            say(
                f"{loop.time() - start:5.0f} s  done {counts['done']}, read {counts['read']}, not known "
                f"{counts['not known']}, faults {faults}, wrong {len(self.wrong)}"
            )
        self.ended.set()

    # ------------------------------------------------------------------------------------------------ one thread

    async def _drive(self, model: ThreadModel, chance: random.Random) -> None:
        """Do one thing after the other with a thread; only evictions come from the side."""
        actions: dict[Callable[[ThreadModel, random.Random], Awaitable[None]], int] = {
            self._write: 50, self._read: 30, self._evict: 15, self._flush: 3, self._delete: 2,
        }  # fmt: skip
        while not self.ended.is_set():
            if not any(worker.ready for worker in self._workers):
                await pause(self.ended, 0.05)
                continue
            (action,) = chance.choices(list(actions), list(actions.values()))
            try:
                await action(model, chance)
            except Unknown:
                self.counts["not known"] += 1
                await pause(self.ended, 0.02)
            except Wrong as error:
                self._note(error.kind, str(error))
            except Bug as error:
                self._note("bug", str(error))

    async def _write(self, model: ThreadModel, chance: random.Random) -> None:
        number, parent, root = model.begin()
        state = model.steps[number]
        insists = chance.random() < 0.7
        await self._do(chance, "put", insists=insists, thread=model.name, number=number, parent=parent, root=root)
        state.sure = True
        if chance.random() < 0.7:
            state.write_asked = True
            await self._do(chance, "write", insists=insists, thread=model.name, number=number)
            state.write_sure = True

    async def _read(self, model: ThreadModel, chance: random.Random) -> None:
        """Read in three ways at once, so that what comes back from the archive meets others who read."""
        some = chance.choice([*model.steps, *model.deleted] or [0])
        several = await asyncio.gather(
            self._ask(chance, "list", thread=model.name),
            self._ask(chance, "newest", thread=model.name),
            self._ask(chance, "get", thread=model.name, number=some),
            return_exceptions=True,
        )
        for answer in several:
            if isinstance(answer, BaseException) and not isinstance(answer, Unknown):
                raise answer
        listed, newest, one = several
        if not isinstance(listed, BaseException):
            model.check_list([_step(found) for found in listed])
        if not isinstance(newest, BaseException):
            model.check_newest(None if newest is None else _step(newest))
        if not isinstance(one, BaseException):
            model.check_one(some, None if one is None else _step(one))
        known = sum(not isinstance(answer, BaseException) for answer in several)
        self.counts["read"] += known
        self.counts["not known"] += len(several) - known

    async def _evict(self, model: ThreadModel, chance: random.Random) -> None:
        """Of any thread, whatever is done with it just now."""
        any_thread = chance.choice(self._models)
        if await self._ask(chance, "evict", thread=any_thread.name, flush=chance.random() < 0.7):
            self.counts["evicted"] += 1

    async def _flush(self, model: ThreadModel, chance: random.Random) -> None:
        await self._ask(chance, "flush", seconds=5.0)
        self.counts["flushed"] += 1

    async def _delete(self, model: ThreadModel, chance: random.Random) -> None:
        """Delete all of a thread of which nothing is in doubt, and insist on it: half deleted cannot be checked."""
        if model.settled and model.steps:
            await self._do(chance, "delete", insists=True, thread=model.name)
            model.delete()
            self.counts["deleted"] += 1

    async def _do(self, chance: random.Random, what: str, *, insists: bool, **arguments: object) -> None:
        """Ask for a write, again and again if need be until it is acknowledged."""
        while True:
            try:
                await self._ask(chance, what, **arguments)
            except Unknown:
                if not insists:
                    raise
                self.counts["not known"] += 1
                await pause(asyncio.Event(), 0.05)
            else:
                self.counts["done"] += 1
                return

    async def _ask(self, chance: random.Random, what: str, **arguments: object) -> Any:
        ready = [worker for worker in self._workers if worker.ready]
        if not ready:
            raise Unknown("no worker is ready")
        return await chance.choice(ready).ask(what, **arguments)

    # --------------------------------------------------------------------------------------------- in the end

    async def _check_in_the_end(self) -> None:
        """Archive all, compare what both tiers say with the model, and what the archive says alone."""
        async with open_saver(self._stores.redis.url, self._stores.clickhouse.url("chaos")) as saver:
            await saver.aflush(FINAL_SECONDS)
            for model in self._models:
                hot = await list_steps(saver, model.name)
                self._compare(model, hot, await newest_step(saver, model.name))
                evicted = await saver.aevict(model.name)
                if hot and not evicted:
                    self._note("wrong", f"{model.name}: cannot be evicted after all was archived")
                cold = await list_steps(saver, model.name)
                self._compare(model, cold, await newest_step(saver, model.name))
            twice = await saver.aquery(
                "SELECT thread_id, checkpoint_id, count() AS copies FROM gg_checkpoints FINAL"
                " GROUP BY ALL HAVING copies > 1"
            )
            for row in twice.rows:
                self._note(Doubled.kind, f"{row} times in the archive")

    def _compare(self, model: ThreadModel, found: Sequence[Step], newest: Step | None) -> None:
        try:
            model.check_list(found)
            model.check_newest(newest)
        except Wrong as error:
            self._note(error.kind, f"in the end: {error}")

    async def _forget_everything(self, after: float) -> None:
        """Lose what is not archived: the checker has to notice."""
        await pause(self.ended, after)
        await asyncio.to_thread(self._stores.clickhouse.pause)
        await pause(self.ended, 0.5)
        with self._stores.redis.client() as client:
            await asyncio.to_thread(client.flushall)
        await asyncio.to_thread(self._stores.clickhouse.resume)

    def _note(self, kind: str, message: str) -> None:
        self.wrong.append((kind, message))


def _step(flat: Sequence[Any]) -> Step:
    number, value, root, writes = flat
    return Step(number, value, root, tuple(writes))
