"""Callbacks of runs, in all partitions."""

import logging
from collections.abc import Sequence
from random import SystemRandom
from typing import Literal

from storage.errors import CorruptRecord, NewerRecord
from storage.packing import number, pack, text, unpack, utf8
from storage.redis.call_scripts import (
    ADD_CALL,
    CALLS_WAITING,
    CLAIM_CALLS,
    DEAD_CALL,
    DEAD_CALLS,
    REPLAY_CALL,
    SETTLE_CALL,
)
from storage.redis.keys import PARTITIONS
from storage.redis.run_places import RunScripts
from storage.runs import Call

logger = logging.getLogger("goalgraph")

FORMAT = b"1"
_random = SystemRandom()  # two processes never choose alike


def pack_call(run_id: str, target: str, attempts: int = 0, error: str = "") -> bytes:
    """Everything of a callback but its id."""
    return pack((FORMAT, utf8(run_id), utf8(target), str(attempts).encode(), utf8(error)))


def unpack_call(call_id: bytes, packed: bytes) -> Call:
    """Read what `pack_call` wrote.

    Raises:
        CorruptRecord: it is none; `NewerRecord` when a newer version wrote it.
    """
    name = f"calls/{call_id.decode(errors='replace')}"
    parts = unpack(packed, name)
    if parts and parts[0].isdigit() and int(parts[0]) > int(FORMAT):
        raise NewerRecord(name, int(parts[0]))
    if len(parts) != 5 or parts[0] != FORMAT:
        raise CorruptRecord(name, f"its format is {parts[0] if parts else b''!r}, and this version reads {FORMAT!r}")
    _, run_id, target, attempts, error = parts
    return Call(
        id=text(call_id, name),
        run_id=text(run_id, name),
        target=text(target, name),
        attempts=number(attempts, name),
        error=text(error, name),
    )


def _shown(call_id: bytes, packed: bytes) -> Call:
    """Read a callback for people, who see of one that cannot be read that it is there."""
    try:
        return unpack_call(call_id, packed)
    except CorruptRecord as error:
        own = call_id.decode(errors="replace")
        return Call(id=own, run_id=own.rpartition(":")[0], target="", error=str(error))


class RedisCalls(RunScripts):
    """A `CallOutbox` by the clock of Redis."""

    async def add(self, run_id: str, target: str) -> Literal["live", "due"]:
        """Add a callback to a run; to one that is not there, it is due. See `CallOutbox`."""
        own = _random.getrandbits(48)  # chosen here, so that a repeated call adds the same again
        _, live = await self.run_script(ADD_CALL, run_id, [own, pack_call(run_id, target)], asked=0)
        return "live" if live else "due"

    async def claim(self, limit: int, seconds: float) -> Sequence[Call]:
        """Take callbacks that are due, at most `limit`; see `CallOutbox`."""
        of, taken = self.client.keys.partition, list[Call]()
        busy = await self.client.call_each(CALLS_WAITING, [([of(n, "calls_due")], []) for n in range(PARTITIONS)])
        for place in (n for n, waits in enumerate(busy) if waits):
            if len(taken) < limit:
                keys = [of(place, "calls"), of(place, "calls_due")]
                found = await self.client.call(CLAIM_CALLS, keys, [limit - len(taken), seconds * 1000])
                for own, packed in zip(found[::2], found[1::2], strict=True):
                    if (call := await self._read(place, own, packed)) is not None:
                        taken.append(call)
        return taken

    async def _read(self, place: int, call_id: bytes, packed: bytes) -> Call | None:
        """Read a callback; one of a newer version is left to that, and what cannot be read is given up."""
        try:
            return unpack_call(call_id, packed)
        except NewerRecord as error:
            logger.info("%s", error)
        except CorruptRecord as error:
            logger.warning("%s; it is given up", error)
            keys = [self.client.keys.partition(place, name) for name in ("calls", "calls_due", "calls_dead")]
            await self.client.call(SETTLE_CALL, keys, [call_id, "dead", packed, 0])
        return None

    async def settle(self, call: Call, *, retry_in: float | None = None, error: str = "", dead: bool = False) -> None:
        """Say what became of a delivery; of a callback that somebody else has settled, nothing. See `CallOutbox`."""
        what = "dead" if dead else "done" if retry_in is None else "retry"
        packed = pack_call(call.run_id, call.target, call.attempts + 1, error)
        await self.client.call(
            SETTLE_CALL, self._keys_of(call.id), [utf8(call.id), what, packed, (retry_in or 0.0) * 1000]
        )

    async def dead(self) -> Sequence[Call]:
        """Return what was given up; see `CallOutbox`."""
        of = self.client.keys.partition
        answers = await self.client.call_each(DEAD_CALLS, [([of(n, "calls_dead")], []) for n in range(PARTITIONS)])
        found = [pair for pairs in answers for pair in zip(pairs[::2], pairs[1::2], strict=True)]
        return [_shown(own, packed) for own, packed in found]

    async def replay(self, call_id: str) -> bool:
        """Make a callback that was given up due again; see `CallOutbox`."""
        keys, own = self._keys_of(call_id), utf8(call_id)
        packed = await self.client.call(DEAD_CALL, keys[2:], [own])
        if packed is None:
            return False
        call = unpack_call(own, packed)
        return bool(await self.client.call(REPLAY_CALL, keys, [own, pack_call(call.run_id, call.target)]))

    def _keys_of(self, call_id: str) -> list[bytes]:
        keys = self.client.keys
        place = keys.partition_of(call_id.rpartition(":")[0])
        return [keys.partition(place, name) for name in ("calls", "calls_due", "calls_dead")]
