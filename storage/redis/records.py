"""Documents and logs in Redis: one call for each operation."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from storage.errors import ArchiveUnavailable
from storage.packing import text, utf8
from storage.records import DOCUMENTS, Change, Entry, Kind, of_one_log
from storage.redis.client import Argument, RedisClient
from storage.redis.entries import counters_of, entry_pairs, pack_change, pack_entry, pairs_of, unpack_entry
from storage.redis.keys import PARTITIONS
from storage.redis.record_scripts import ANY_GONE, APPEND, DELETE, LATEST, OWNERS, READ, RESTORE


class Elsewhere(Enum):
    """The answer of a Redis that does not know."""

    ARCHIVE = "archive"


ARCHIVE: Final = Elsewhere.ARCHIVE
"""It may be in the archive: it was evicted, or this Redis lost what it had."""

ELSEWHERE = "it may be in the archive, which is not read here"


@dataclass(frozen=True, slots=True)
class HotEntries:
    """What Redis has of the entries that were asked for."""

    entries: Sequence[Entry]
    incomplete: bool
    """The archive may have others of them."""


class RedisRecords:
    """A `RecordStore` that sees the hot tier only.

    Its own methods raise `ArchiveUnavailable` where the answer may be in the archive; a store over both tiers calls
    `append_or_ask`, `latest_or_ask`, `read_hot` and `restore`.

    Args:
        client: Of the server.
        outbox_limit: How many references of one partition may wait for the archive; `None` says that nobody
            archives, so nothing is put into the outbox and of a document only the newest state is kept.
    """

    def __init__(self, client: RedisClient, *, outbox_limit: int | None = None) -> None:
        self._client = client
        self._limit: Argument = "" if outbox_limit is None else outbox_limit

    async def append(self, change: Change) -> Entry | None:
        """Apply `change` in one call.

        Raises:
            ArchiveUnavailable: what it would change may be in the archive.
            OutboxFull: the archive has been away for too long.
        """
        return _here(await self.append_or_ask(change))

    async def append_or_ask(self, change: Change, *, asked: bool = False) -> Entry | Elsewhere | None:
        """As `append`, but `ARCHIVE` says that nothing was done: `restore` what the archive has, or say it has nothing.

        Args:
            change: What is added.
            asked: The archive has been asked, and it has nothing of the owner.
        """
        merged = change.kind in DOCUMENTS
        if not merged:
            packed = pack_change(change)
            answer = await self._add(change, [7, packed], asked=asked)
        else:
            pairs = pairs_of(change.at, change.fields, change.columns)
            packed = b""
            answer = await self._add(change, [7 + len(pairs), *pairs, *counters_of(change.increments)], asked=asked)
        match answer:
            case [1, seq, state]:
                return unpack_entry(change.kind, change.owner, seq, state if merged else packed)
            case [0]:
                return None
            case _:
                return ARCHIVE

    async def append_all(self, changes: Sequence[Change]) -> None:
        """Append entries of one log in one call.

        Raises:
            ArchiveUnavailable: earlier ones may be in the archive.
            OutboxFull: the archive has been away for too long.
        """
        if await self.append_all_or_ask(changes) is ARCHIVE:
            raise ArchiveUnavailable(ELSEWHERE)

    async def append_all_or_ask(self, changes: Sequence[Change], *, asked: bool = False) -> Elsewhere | None:
        """As `append_all`, or `ARCHIVE`, as `append_or_ask`."""
        if not changes:
            return None
        first = of_one_log(changes)
        answer = await self._add(first, [7, *map(pack_change, changes)], asked=asked)
        return None if answer[0] == 1 else ARCHIVE

    async def _add(self, change: Change, what: Sequence[Argument], *, asked: bool) -> list[Any]:
        merged = change.kind in DOCUMENTS
        head = [change.kind, utf8(change.owner), change.must or "", self._limit, int(asked), int(merged)]
        return await self._client.call(APPEND, self._keys(change.kind, change.owner), [*head, *what])

    async def latest(self, kind: Kind, owner: str) -> Entry | None:
        """Return the state of a document or the newest entry of a log.

        Raises:
            ArchiveUnavailable: it may be in the archive.
        """
        return _here(await self.latest_or_ask(kind, owner))

    async def latest_or_ask(self, kind: Kind, owner: str) -> Entry | Elsewhere | None:
        """As `latest`, or `ARCHIVE`."""
        code, *answer = await self._client.call(
            LATEST, self._reading_keys(kind, owner), [utf8(owner), int(kind in DOCUMENTS)]
        )
        match code:
            case 0:
                return None
            case 1:
                return unpack_entry(kind, owner, *answer)
            case _:
                return ARCHIVE

    async def read(
        self, kind: Kind, owner: str, *, after: int = 0, limit: int | None = None, newest: bool = False
    ) -> Sequence[Entry]:
        """Return entries; of a document those states that are still here.

        Raises:
            ArchiveUnavailable: entries of a log may be in the archive.
        """
        hot = await self.read_hot(kind, owner, after=after, limit=limit, newest=newest)
        if hot.incomplete and kind not in DOCUMENTS:
            raise ArchiveUnavailable(f"entries of {kind} {owner!r} may be in the archive, which is not read here")
        return hot.entries

    async def read_hot(
        self, kind: Kind, owner: str, *, after: int = 0, limit: int | None = None, newest: bool = False
    ) -> HotEntries:
        """As `RecordStore.read`, with what is here."""
        incomplete, seqs, found = await self._client.call(
            READ,
            self._reading_keys(kind, owner),
            [utf8(owner), int(kind in DOCUMENTS), after, "" if limit is None else limit, int(newest)],
        )
        entries = [unpack_entry(kind, owner, seq, packed) for seq, packed in zip(seqs, found, strict=True)]
        return HotEntries(entries, bool(incomplete))

    async def owners(self, kind: Kind) -> AsyncIterator[str]:
        """Name the owners that are here, the one that changed last first (by the clock of Redis)."""
        client = self._client
        answers = await client.call_each(
            OWNERS, [([client.keys.partition(number, f"k:{kind}")], []) for number in range(PARTITIONS)]
        )
        found = [
            (float(score), owner) for pairs in answers for owner, score in zip(pairs[::2], pairs[1::2], strict=True)
        ]
        for _, owner in sorted(found, reverse=True):
            yield text(owner, f"k:{kind}")

    async def any_gone(self, kind: Kind) -> bool:
        """Say whether the archive may have owners that are not here."""
        return await any_gone(self._client, f"g:{kind}")

    async def delete(self, kind: Kind, owner: str) -> bool:
        """Delete everything of an owner, also while the outbox is full."""
        keys = self._keys(kind, owner)
        if kind == "run":
            of, number = self._client.keys, self._client.keys.partition_of(owner)
            keys += [of.thread("q:run", owner), of.partition(number, "due"), of.partition(number, "live")]
        return bool(await self._client.call(DELETE, keys, [kind, utf8(owner), int(self._limit != "")]))

    async def restore(self, entries: Sequence[Entry]) -> bool:
        """Put back what the archive has of an owner, so that it can be added to.

        Args:
            entries: The newest ones without a gap, oldest first; of a document the last is enough.

        Returns:
            Whether it was put back: not when the owner is here, or was deleted.
        """
        last = entries[-1]
        kind, owner, merged = last.kind, last.owner, last.kind in DOCUMENTS
        pairs = (
            entry_pairs(last)
            if merged
            else [part for entry in entries for part in (str(entry.seq).encode(), pack_entry(entry))]
        )
        head, document, stored, owners, gone, *_ = self._keys(kind, owner)
        return bool(
            await self._client.call(
                RESTORE,
                [head, document, stored, owners, gone],
                [
                    utf8(owner),
                    int(merged),
                    last.at.timestamp() * 1000,
                    last.seq if merged else entries[0].seq,
                    last.seq,
                    *pairs,
                ],
            )
        )

    def _keys(self, kind: Kind, owner: str) -> list[bytes]:
        """Head, document, entries, owners, gone, partition, outbox."""
        keys = self._client.keys
        number = keys.partition_of(owner)
        return [
            *(keys.record(letter, kind, owner) for letter in "hol"),
            *(keys.partition(number, name) for name in (f"k:{kind}", f"g:{kind}", "meta", "out")),
        ]

    def _reading_keys(self, kind: Kind, owner: str) -> list[bytes]:
        """Head, document, entries, gone, partition."""
        head, document, entries, _, gone, place, _ = self._keys(kind, owner)
        return [head, document, entries, gone, place]


async def any_gone(client: RedisClient, name: str) -> bool:
    """Say whether something was evicted in any partition (`name` of the set), or may have been."""
    keys = client.keys
    calls: list[tuple[list[bytes], list[Argument]]] = [
        ([keys.partition(number, name), keys.partition(number, "meta")], []) for number in range(PARTITIONS)
    ]
    return any(await client.call_each(ANY_GONE, calls))


def _here(found: Entry | Elsewhere | None) -> Entry | None:
    if found is ARCHIVE:
        raise ArchiveUnavailable(ELSEWHERE)
    return found
