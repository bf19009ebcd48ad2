"""Runs that are due, in all partitions."""

from collections.abc import Sequence

from storage.packing import text, utf8
from storage.redis.call_scripts import DEFER, DUE, LOAD
from storage.redis.keys import PARTITIONS
from storage.redis.run_places import RunScripts
from storage.runs import Load


class RedisDue(RunScripts):
    """`DueRuns` by the clock of Redis."""

    async def due(self, limit: int = 1000, skip: int = 0) -> Sequence[str]:
        """Name runs that are due, the longest first; see `DueRuns`."""
        of = self.client.keys.partition
        calls = [([of(number, "due")], [limit, skip]) for number in range(PARTITIONS)]
        answers = await self.client.call_each(DUE, calls)
        found = [(float(at), run) for pairs in answers for run, at in zip(pairs[::2], pairs[1::2], strict=True)]
        return [text(run, "due") for _, run in sorted(found)]

    async def defer(self, run_id: str, seconds: float) -> bool:
        """Put a run off; see `DueRuns`. It is not repeated when the answer was lost: the run is due again anyway."""
        keys = self.client.keys
        due = keys.partition(keys.partition_of(run_id), "due")
        return bool(await self.client.call(DEFER, [due], [utf8(run_id), seconds * 1000]))

    async def adopt(self, limit: int = 1000) -> int:
        """Return 0: without an archive, a run whose control is lost is lost itself; see `DueRuns`."""
        return 0

    async def load(self, tenant: str) -> Load:
        """Count what is live; see `RunStore`."""
        of = self.client.keys.partition
        calls = [([of(number, "due"), of(number, "live")], [utf8(tenant)]) for number in range(PARTITIONS)]
        own, every, due = map(sum, zip(*await self.client.call_each(LOAD, calls), strict=True))
        return Load(tenant=own, all=every, due=due)
