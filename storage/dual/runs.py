"""Runs over both tiers."""

from collections.abc import Callable

from storage.dual.pages import pages
from storage.dual.records import TieredRecords
from storage.packing import utf8
from storage.redis.client import RedisClient, all_of
from storage.redis.keys import PARTITIONS
from storage.redis.run_places import run_keys
from storage.redis.run_scripts import ADOPT, ADOPTED, SET_ADOPTED
from storage.redis.runs import RedisRuns
from storage.runs import ENDS

PAGE = 50
"""Runs that are looked at together."""


class TieredRuns(RedisRuns):
    """A `RunStore`, `DueRuns` and `CallOutbox`; what was evicted comes back when it is needed.

    Args:
        client: Of the hot tier.
        records: Documents and logs of both tiers.
        outbox_limit: As of `RedisRuns`.
        notify: Told after each write.
    """

    def __init__(
        self,
        client: RedisClient,
        records: TieredRecords,
        *,
        outbox_limit: int,
        notify: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(client, outbox_limit=outbox_limit, bring_back=self._bring_both_back, notify=notify)
        self._records = records

    async def adopt(self, limit: int = 1000) -> int:
        """Make runs due that are live and have no control, because Redis lost it or an older version wrote them.

        All runs are looked at once in the life of a Redis; from then on nothing is lost that is not lost with the
        whole of it, and the answer is 0 after one exchange.

        Args:
            limit: Runs that are made due at most; the next call goes on.

        Raises:
            ArchiveUnavailable: they may be in the archive, which cannot be read now.
        """
        metas = [self.client.keys.partition(number, "meta") for number in range(PARTITIONS)]
        if all(await self.client.call_each(ADOPTED, [([meta], []) for meta in metas])):
            return 0
        taken = 0
        async for page in pages(self._records.owners("run"), PAGE):
            while page and taken < limit:
                some, page = page[: limit - taken], page[limit - taken :]  # noqa: PLW2901 - what is left of it
                taken += sum(await all_of(self._adopt_one(run_id) for run_id in some))
            if taken >= limit:
                return taken
        await self.client.call_each(SET_ADOPTED, [([meta], []) for meta in metas])
        return taken

    async def _adopt_one(self, run_id: str) -> bool:
        """As `make_due`; a run that has ended stays in the archive."""
        answer = await self.client.call(ADOPT, run_keys(self.client.keys, run_id), [utf8(run_id), 0])
        if answer[0] == 1:
            return bool(answer[1])
        state = await self._records.latest("run", run_id)
        return state is not None and state.columns.get("status") not in ENDS and await self.make_due(run_id)

    async def _bring_both_back(self, run_id: str) -> None:
        await self._records.bring_back("run", run_id)
        await self._records.bring_back("event", run_id)
