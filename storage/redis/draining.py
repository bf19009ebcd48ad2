"""Taking references from the outboxes under a lease, fetching what they refer to, and acknowledging them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from storage.errors import CorruptRecord
from storage.packing import pack
from storage.redis import outbox_scripts as scripts
from storage.redis.client import Argument, RedisClient
from storage.redis.collecting import Claim
from storage.redis.outbox import Reference

GRACE = 3600
"""Seconds for which single deletions are known in Redis after the archive has all of them: whoever had read the archive
before does not take what it found for there."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A partition, as it is now."""

    owner: str
    """Who archives it; empty for nobody."""
    waiting: int
    """References in its outbox."""
    first: str
    """The oldest of them; empty for none."""
    last: str
    age: float
    """Of the oldest, in seconds, by the clock of Redis."""


@dataclass(slots=True)
class Receipt:
    """What is acknowledged of a partition once its rows are archived."""

    number: int
    ids: list[str]
    corrupt: list[tuple[str, bytes, bytes | None]]
    """Id, packed reference, and the key of its owner's head, when that could be read."""
    errors: list[CorruptRecord]
    """Why, each once."""
    heads: dict[bytes, tuple[str, str]]
    """Key of an owner's head → its last reference here, and its last deletion here; empty for none."""
    logs: dict[tuple[str, str], int]
    """(Kind, owner) → the last entry here."""
    dropped: dict[bytes, bytes]
    """Key of a thread's head → key of its `x`."""


class Outbox:
    """The 64 outboxes, for one archiver.

    Args:
        client: Of the server. One of the archiver's own keeps payloads from standing in the way of other calls.
        name: Of the archiver, unique.
        lease: Seconds after which the partitions of an archiver that does not answer are free.
    """

    def __init__(self, client: RedisClient, name: str, lease: float) -> None:
        self.client = client
        self.name = name
        self._milliseconds = max(1, int(lease * 1000))

    async def look(self, numbers: Collection[int], *, take: bool = False) -> dict[int, Seen]:
        """Return what is in partitions, and renew the leases that this archiver has; with `take`, take free ones.

        Where nothing waits a lease runs out: it is worth nothing there, and a Redis that idles writes nothing.
        """
        answers = await self.client.call_each(
            scripts.LOOK,
            [(self._keys(number, "out", "lease"), [self.name, self._milliseconds, int(take)]) for number in numbers],
        )
        seen: dict[int, Seen] = {}
        for number, (owner, waiting, first, last, now) in zip(numbers, answers, strict=True):
            oldest = first.decode()
            age = max(0.0, (now - int(oldest.partition("-")[0])) / 1000) if oldest else 0.0
            seen[number] = Seen(owner.decode(), waiting, oldest, last.decode(), age)
        return seen

    async def release(self, numbers: Collection[int]) -> None:
        """Give partitions back, at once; those of others stay theirs."""
        await self.client.call_each(scripts.RELEASE, [(self._keys(number, "lease"), [self.name]) for number in numbers])

    async def claim(self, number: int, most: int, *, pending: bool) -> Claim | None:
        """Take the next references of a partition; `None` when its lease is lost.

        Args:
            number: Of the partition.
            most: How many.
            pending: Those that were taken before, by whomever, and not acknowledged. The lease says that nobody else is
                at work on them, so they are taken at once, and before newer ones: no owner gets a gap.
        """
        mine, *entries = await self.client.call(
            scripts.CLAIM, self._keys(number, "out", "lease"), [self.name, most, int(pending)]
        )
        if not mine:
            return None
        return Claim(number, [entry for entry in entries[0] if entry is not None and entry[1] is not None])

    async def fetch(self, claim: Claim, most_bytes: int) -> Sequence[Sequence[object]]:
        """Return the payloads of the next items of a claim: at least one, and no more after `most_bytes`."""
        items = claim.unfetched
        if not items:
            return ()
        keys: list[bytes] = []
        arguments: list[Argument] = [most_bytes]
        for item in items:
            keys += item.key_names(self.client.keys)
            arguments += item.arguments()
        return await self.client.call(scripts.PAYLOADS, keys, arguments)

    def receipt(self, claim: Claim) -> Receipt:
        """Note what can be acknowledged of a claim, and take it as acknowledged."""
        receipt = Receipt(claim.number, [], [], [], {}, {}, {})
        raw = dict(claim.raw[claim.acknowledged :])
        stopped: set[bytes] = set()
        for name, reference, error in claim.ready():
            receipt.ids.append(name)
            head = None if reference is None else self._head(reference, receipt)
            if error is not None:
                receipt.corrupt.append((name, pack(raw[name]), head))
                if error not in receipt.errors:
                    receipt.errors.append(error)
                if head is not None:
                    stopped.add(head)
                    receipt.heads.setdefault(head, ("", ""))
            elif reference is not None and head is not None:
                _note(receipt, reference, head, stopped=head in stopped and reference.kind != "d")
                if reference.kind == "d":
                    stopped.discard(head)  # what could not be read is deleted now
        claim.acknowledged += len(receipt.ids)
        return receipt

    async def acknowledge(self, receipt: Receipt) -> bool:
        """Take references out of the outbox and note how far each owner is archived.

        What is corrupt goes to the hash `bad` of its partition; its owner counts as archived up to it and no further,
        until it is deleted. Returns whether the lease still holds; if not, nothing was done.
        """
        places = {head: place for place, head in enumerate(receipt.heads, start=1)}
        corrupt = [
            part
            for name, packed, head in receipt.corrupt
            for part in (name, packed, 0 if head is None else places[head])
        ]
        marks = [mark for pair in receipt.heads.values() for mark in pair]
        keys = self._keys(receipt.number, "out", "lease", "bad")
        for head in receipt.heads:
            keys += (head, receipt.dropped.get(head, head))
        arguments = [self.name, len(receipt.ids), len(receipt.corrupt), GRACE, *receipt.ids, *corrupt, *marks]
        return bool(await self.client.call(scripts.ACKNOWLEDGE, keys, arguments))

    def _head(self, reference: Reference, receipt: Receipt) -> bytes:
        keys = self.client.keys
        if reference.record_kind in {"", "thread"}:
            head = keys.thread("m", reference.owner)
            receipt.dropped[head] = keys.thread("x", reference.owner)
            return head
        return keys.record("h", reference.record_kind, reference.owner)

    def _keys(self, number: int, *names: str) -> list[bytes]:
        return [self.client.keys.partition(number, name) for name in names]


def _note(receipt: Receipt, reference: Reference, head: bytes, *, stopped: bool) -> None:
    before = receipt.heads.get(head, ("", ""))
    deletion = reference.id if reference.kind == "d" else before[1]
    receipt.heads[head] = (before[0] if stopped else reference.id, deletion)
    if stopped:
        return
    match reference.kind:
        case "e":
            receipt.logs[reference.record_kind, reference.owner] = reference.seq
        case "d":
            receipt.logs.pop((reference.record_kind, reference.owner), None)
        case _:
            pass
