"""The seed's methods over one Redis without an archive."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Self

from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient, Script
from storage.redis.keys import Keys
from storage.redis.records import RedisRecords
from storage.redis.runs import RedisRuns, open_renewer
from storage.runs import RunStore
from storage.serde import ValueCodec
from storage.sessions import StorageFacade
from storage.sessions.stores import utc_now

PING = Script("ping", "return redis.call('PING')")


class RedisStorage(StorageFacade):
    """Everything in Redis, and nothing else: of a document only the newest state is kept.

    Args:
        client: Opened; it is closed with the storage.
        codec: How values are written; strict by default.
        clock: Says what time it is, in UTC.

    Attributes:
        runs: A `RunStore`, `DueRuns` and `CallOutbox`.
    """

    def __init__(
        self, client: RedisClient, *, codec: ValueCodec | None = None, clock: Callable[[], datetime] = utc_now
    ) -> None:
        async def probe() -> Mapping[str, object]:
            await client.call(PING, [], [])
            return {"where": client.where}

        self.client = client
        self.runs = RedisRuns(client)
        super().__init__(
            RedisCheckpoints(client, outbox_limit=None),
            RedisRecords(client, outbox_limit=None),
            name="redis",
            tiers={"redis": probe},
            close=client.aclose,
            codec=codec,
            clock=clock,
        )

    def renewer(self) -> AbstractAsyncContextManager[RunStore]:
        """Open what renews leases in another thread, whose event loop enters it."""
        return open_renewer(self.client)

    @classmethod
    async def open(cls, url: str, *, keys: Keys | None = None, codec: ValueCodec | None = None) -> Self:
        """Connect; see `RedisClient.open` for URLs and errors."""
        return cls(await RedisClient.open(url, keys=keys, cold=False), codec=codec)
