"""Where a run is in Redis, and calling its scripts: what is in the archive only is brought back first."""

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any
from uuid import uuid4

from storage.errors import ArchiveUnavailable
from storage.packing import utf8
from storage.redis.client import Argument, RedisClient, Script
from storage.redis.keys import Keys
from storage.redis.records import ELSEWHERE

BROUGHT_BACK = 5
BringBack = Callable[[str], Awaitable[None]]
"""Puts the document and the log of a run back into Redis, if the archive has them."""


class RunScripts:
    """Calls the scripts of runs.

    Args:
        client: Of the server.
        outbox_limit: References of one partition that may wait before new runs are refused; those that exist go on for
            another quarter of it. `None` says that nobody archives.
        bring_back: Gets what is in the archive only; without it, that raises `ArchiveUnavailable`.
        notify: Told after each write.
    """

    def __init__(
        self,
        client: RedisClient,
        *,
        outbox_limit: int | None = None,
        bring_back: BringBack | None = None,
        notify: Callable[[], None] = lambda: None,
    ) -> None:
        self.client = client
        self.soft: Argument = "" if outbox_limit is None else outbox_limit
        self.hard: Argument = "" if outbox_limit is None else outbox_limit + outbox_limit // 4
        self._bring_back = bring_back
        self._notify = notify

    async def run_script(self, script: Script, run_id: str, arguments: Sequence[Argument], asked: int) -> list[Any]:
        """Run a script with all keys of a run.

        Args:
            script: Answers `{2}` when what it needs may be in the archive.
            run_id: The run, and its first argument.
            arguments: The others.
            asked: Where among `arguments` it stands whether the archive has been asked.

        Raises:
            ArchiveUnavailable: what it needs may be in the archive, which cannot be read.
        """
        keys, before, after = run_keys(self.client.keys, run_id), arguments[:asked], arguments[asked:]
        answer = await self.client.call(script, keys, [utf8(run_id), *before, 0, *after])
        for _ in range(BROUGHT_BACK):  # more than once only if it is evicted again in between
            if answer[0] != 2:
                break
            if self._bring_back is None:
                raise ArchiveUnavailable(ELSEWHERE)
            await self._bring_back(run_id)
            answer = await self.client.call(script, keys, [utf8(run_id), *before, 1, *after])
        if answer[0] == 2:
            raise ArchiveUnavailable(ELSEWHERE)
        self._notify()
        return answer


@lru_cache(maxsize=4096)  # the runs that are busy now
def run_keys(keys: Keys, run_id: str) -> tuple[bytes, ...]:
    """Return the keys of a run.

    They are: control; head, hash and states of its document; head and entries of its log; the thread; the partition's
    owners of documents, which of them are gone, the same of logs, `meta`, outbox, due, live, calls, calls due.
    """
    number = keys.partition_of(run_id)
    names = ("k:run", "g:run", "k:event", "g:event", "meta", "out", "due", "live", "calls", "calls_due")
    return (
        keys.thread("q:run", run_id),
        *(keys.record(letter, "run", run_id) for letter in "hol"),
        *(keys.record(letter, "event", run_id) for letter in "hl"),
        keys.thread("m", run_id),
        *(keys.partition(number, name) for name in names),
    )


def nonce() -> bytes:
    """Return what tells a call from another, and not from its repetition."""
    return uuid4().bytes
