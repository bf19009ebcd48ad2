"""Where the two tiers are, and how they are kept."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageOptions:
    """By default the embedded pair in `./.goalgraph`; a URL puts a server in the place of either."""

    data_dir: Path = Path(".goalgraph")
    """Of what is embedded, and of the blobs."""
    redis_url: str | None = None
    """`redis://`, `rediss://`, `unix://` or `redis+cluster://`."""
    archive_url: str | None = None
    """`clickhouse://user:password@host:8123/database`, `clickhouses://`, `http://` or `https://`."""
    key_prefix: str = "gg"
    """Before every key, so that several applications can share a Redis."""
    redis_server: Path | None = None
    """The binary of the embedded Redis; found by itself otherwise."""
    fsync: Literal["everysec", "always"] = "everysec"
    """Of the embedded Redis: `always` survives the loss of power, and is slower."""
    engine: str | None = None
    """The table engine of the archive, for clusters: `ReplicatedReplacingMergeTree(…)`."""
    outbox_limit: int = 1_000_000
    """References of one partition (of 64) that may wait for the archive before new threads are refused."""
    keep_checkpoints: int = 3
    """Newest checkpoints of each namespace that stay in Redis."""
    idle_after: timedelta = timedelta(days=7)
    """After which what is archived leaves Redis."""
