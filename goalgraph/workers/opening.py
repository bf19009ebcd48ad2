"""`open_engine`: the engine of the runs that settings name, the same in whatever process asks."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from storage.embedded import DataDirectory, open_redis
from storage.errors import StorageRefused

if TYPE_CHECKING:
    from goalgraph.settings import Settings
    from goalgraph.workers.dramatiq_engine import DramatiqEngine


class ExtraMissing(ImportError):
    """What runs workers on many machines is an extra, and not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"{package} is not installed; install it with: pip install 'goalgraph[workers]'", name=package)


@asynccontextmanager
async def open_engine(
    settings: "Settings", *, broker_url: str | None = None, slots: int | None = None
) -> "AsyncGenerator[DramatiqEngine]":
    """Give `open_planner(engine=…)` the engine with which `goalgraph worker` takes up the runs of these settings.

    Args:
        settings: Where the runs are.
        broker_url: Of the queue's Redis; otherwise what the settings say, or else the next database of the runs' Redis.
        slots: Runs that are taken up at the same time; otherwise as the settings say.

    Raises:
        ExtraMissing: dramatiq is not installed.
        StorageRefused: the runs are in a cluster, which has no second database, and the queue is not told where to go.
        StorageError: the private server cannot be started.
    """
    if find_spec("dramatiq") is None:
        raise ExtraMissing("dramatiq")
    from goalgraph.workers.dramatiq_engine import DramatiqEngine  # noqa: PLC0415 - needs what is optional

    storage = settings.storage
    async with AsyncExitStack() as exits:
        url = broker_url or settings.broker_url
        if url is None and storage.redis_url is None:
            folder = DataDirectory(settings.data_dir)
            server = open_redis(folder, binary=storage.redis_server, fsync=storage.fsync)
            url = next_database(await exits.enter_async_context(server))
        url = url or next_database(storage.redis_url or "")
        yield DramatiqEngine(url, queue=storage.key_prefix, slots=slots or settings.runs.slots)


def next_database(url: str) -> str:
    """Return the URL of the database after the one that `url` names, on the same server.

    Raises:
        StorageRefused: it is a cluster's, which has one database.
    """
    scheme, _, rest = url.partition("://")
    if scheme.endswith("+cluster"):
        raise StorageRefused(
            "a Redis cluster has no second database for the queue; name a server for it with --broker-url (or the "
            "setting GOALGRAPH_BROKER_URL)"
        )
    where, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    path = ""
    if scheme != "unix":
        where, _, path = where.partition("/")
    number = options.pop("db", path)
    options["db"] = str(int(number) + 1 if number.isdecimal() else 1)
    return f"{scheme}://{where}?{urlencode(options)}"
