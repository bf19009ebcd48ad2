"""The names of all keys, and what each holds.

Every key of an owner (a thread, session, run or task) carries the tag of its partition, so that one script can touch
all of them, and the partition's outbox with them, on a cluster too:

    gg:{7}:meta                    HASH    format; cold ("1": what is not here may be in the archive);
                                           evictions (of threads, so far)
    gg:{7}:out                     STREAM  the outbox: references to what the archive does not have yet
    gg:{7}:lease                   STRING  who archives this partition
    gg:{7}:bad                     HASH    outbox id → packed reference to what cannot be read, so is not archived
    threads
    gg:{7}:m:thread                HASH    last, archived (outbox ids); deleted (newest deleted checkpoint id); fence;
                                           bad (the oldest in `bad`; `archived` stays before it); trimmed,
                                           partial ("1" unknown namespaces, "2" those in `a`)
    gg:{7}:n:thread                SET     namespaces that are here
    gg:{7}:a:thread                SET     namespaces that are in the archive, after the thread came back from it
    gg:{7}:x:thread                SET     ns␀checkpoint id of those that were deleted one by one; of those that came
                                           after their thread was deleted, ns␀checkpoint id␀ too
    gg:{7}:i:thread␀ns             ZSET    checkpoint ids, score 0: sorted by id
    gg:{7}:c:thread␀ns             HASH    checkpoint id → packed checkpoint
    gg:{7}:r:thread␀ns             HASH    checkpoint id → packed blob fields that it refers to
    gg:{7}:v:thread␀ns             HASH    checkpoint id → outbox id of its last change
    gg:{7}:b:thread␀ns             HASH    channel␀version → type␀bytes
    gg:{7}:j:thread␀ns             ZSET    checkpoint ids that have writes, score 0
    gg:{7}:w:thread␀ns␀checkpoint  HASH    task␀index → packed write
    gg:{7}:lru                     ZSET    thread → Redis time of its last change or return, in ms
    gg:{7}:gone                    SET     threads that are in the archive only
    documents and logs (`kind` as in `records.py`)
    gg:{7}:h:kind␀owner            HASH    seq, last, archived, bad, first (the oldest entry that is here);
                                           deleted (outbox id; without seq: until the deletion is archived)
    gg:{7}:o:kind␀owner            HASH    a document's fields: "f:name" type␀bytes, "c:name" text, "n:name" number
    gg:{7}:l:kind␀owner            HASH    seq → packed entry
    gg:{7}:k:kind                  ZSET    owner → Redis time of the last change, in ms
    gg:{7}:g:kind                  SET     owners that are in the archive only
    runs that are live, and callbacks of those that are not (`storage/runs.py`)
    gg:{7}:q:run:run               HASH    the control, there exactly while the run is live: tenant; token; until (Redis
                                           time in ms), holder, nonce (of the claim), while it is held; begun ("1":
                                           somebody took it up); crashes, forgiven (a late token whose crash is not
                                           counted); cancel ("1"); told (answers), teller (nonce of the last); wake (ms,
                                           somebody wished it to be due while it was held); born (nonce of the creator);
                                           spent; call:<n> packed callback
    gg:{7}:due                     ZSET    run → ms: when it should be taken up; while it is held, its `until`
    gg:{7}:live                    HASH    tenant → how many of its runs are live
    gg:{7}:calls                   HASH    run:n → packed callback that is to be delivered
    gg:{7}:calls_due               ZSET    run:n → ms: when it should be
    gg:{7}:calls_dead              HASH    run:n → packed callback that was given up

`h:run` has `by` too: the nonce of the cancellation that ended it before it began. `meta` has adopted ("1": every live
run has a control).

What idles is removed by the archiver, in one script, once it is archived, and nothing else is ever dropped. A time to
live has only what guards against the past: an evicted thread's `fence`, `deleted` and `x` for a week, and `x` of a
thread that was not deleted for an hour, once all of it is archived.
"""

from dataclasses import dataclass
from functools import lru_cache

from redis.crc import key_slot

from storage.packing import utf8

PARTITIONS = 64
"""Fixed: another number would put every owner elsewhere."""


@dataclass(frozen=True, slots=True, eq=False)  # without a hash over its fields, which each cached name would need
class Keys:
    """Names of keys below one prefix."""

    prefix: str = "gg"

    def __post_init__(self) -> None:
        if not self.prefix or "{" in self.prefix or "}" in self.prefix:
            raise ValueError(f"the prefix of keys must not be empty or have braces: {self.prefix!r}")

    @staticmethod
    @lru_cache(maxsize=4096)  # the threads that are busy now
    def partition_of(owner: str) -> int:
        """Return where an owner lives, 0 to 63."""
        return key_slot(utf8(owner)) % PARTITIONS

    @lru_cache(maxsize=4096)  # noqa: B019 - there is one `Keys` a store
    def partition(self, number: int, name: str) -> bytes:
        """Return a key of a partition itself: `meta`, `out`, `lease`, `lru`, `gone`, `k:kind`, `g:kind`."""
        return b"%s:{%d}:%s" % (self.prefix.encode(), number, name.encode())

    @lru_cache(maxsize=16384)  # noqa: B019 - as above
    def thread(self, kind: str, thread_id: str, *rest: str) -> bytes:
        """Return a key of a thread; `rest` is its namespace, then a checkpoint id."""
        return self._owned(kind, self.partition_of(thread_id), thread_id, *rest)

    def record(self, letter: str, kind: str, owner: str) -> bytes:
        """Return a key of a document or log: `letter` is `h`, `o` or `l`."""
        return self._owned(letter, self.partition_of(owner), kind, owner)

    def _owned(self, letter: str, partition: int, *parts: str) -> bytes:
        return self.partition(partition, letter) + b":" + b"\0".join(map(utf8, parts))
