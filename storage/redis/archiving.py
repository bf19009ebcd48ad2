"""How an archiver works, and what it tells about itself: plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

REST = 5
"""So that archiving a burst takes less than a sixth of the process that writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiverPolicy:
    """How fast, and what stays in the hot tier. All times are in seconds."""

    rows: int = 1000
    """Of a batch, about: what one call fetched is not torn apart."""
    size: int = 8_000_000
    """Bytes of a batch, as `rows`."""
    linger: float = 0.2
    """How long a reference may wait for others to share a batch with."""
    calm: tuple[int, float] = (5000, 5.0)
    """Up to so many references that wait, for up to so long, writers go first: after each batch the archiver rests for
    `REST` times as long as that took. Beyond, and for `flush`, it works without a pause."""
    poll: float = 1.0
    """Between two looks at outboxes in which nothing happens."""
    backoff: float = 0.1
    """After the first failure in a row; each further one doubles it."""
    most_backoff: float = 5.0
    patience: float = 0.0
    """How long something may wait, as this archiver sees it, before the archive is opened for it: a process that ends
    sooner leaves it to the next one. `flush` does not wait."""
    reopen: float = 30.0
    """Between two tries to open an archive that another process holds."""
    lease: float = 15.0
    """After which the partitions of an archiver that died are free."""
    sets: tuple[int, ...] = (0, 1, 2, 3)
    """Of 16 partitions each, that this archiver may take. One a round, so archivers that start together share them."""
    keep_checkpoints: int = 3
    """Newest checkpoints of each namespace that stay hot; those that rebuild the newest stay too."""
    keep_named: int = 10
    """Newest named checkpoints of each thread that stay hot, and as many writes: what `list_checkpoints` returns."""
    keep_entries: Mapping[str, int] = field(
        default_factory=lambda: dict.fromkeys(("message", "event", "checkpoint"), 1000)
    )
    """Newest entries of each log that stay hot, by kind."""
    evict_after: float | None = None
    """Owners that idle for longer leave the hot tier; `None` for never."""
    sweep: float = 60.0
    """Between two searches for such owners."""
    closing: float = 5.0
    """How long closing may take for a last try to empty the outbox."""


@dataclass(slots=True, kw_only=True)
class ArchiverMetrics:
    """What an archiver has done since it started, and what waits."""

    lag: float = 0.0
    """Age of the oldest reference in all outboxes, in seconds, when it last looked."""
    waiting: int = 0
    """References in all outboxes, then."""
    owned: int = 0
    """Partitions, of 64, that this archiver has."""
    error: str | None = None
    """Why it does not get on now."""
    failures: int = 0
    rows: int = 0
    bytes: int = 0
    batches: int = 0
    missing: int = 0
    """Payloads that were lost before they could be archived; each was logged as an error."""
    corrupt: int = 0
    """References that are kept aside because their payload cannot be read; each was logged as an error."""
    trimmed: int = 0
    """Checkpoints and entries that left the hot tier, as older than what stays."""
    evicted: int = 0
    """Owners that left it, as idle."""
