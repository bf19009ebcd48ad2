"""What `goalgraph doctor` looks at: each check says how it is, and what to do when it is not well."""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Literal, cast

from goalgraph.settings import Settings
from goalgraph.stores import OpenStores
from planner.limits import Limits
from storage.dual import DualStorage
from storage.errors import ArchiveUnavailable, StorageError

Health = Literal["ok", "warn", "fail"]
PACKAGES = ("goalgraph", "langgraph", "langgraph-checkpoint", "redis", "clickhouse-connect", "chdb", "pydantic")
EXTRAS = {"demo": "matplotlib", "notebook": "ipykernel", "workers": "dramatiq"}
"""Extra → a module that it brings."""
LATE_AFTER = 60.0
"""Seconds for which something may wait for the archive before that is worth a warning."""
PATIENCE = 20.0
"""Seconds that one check may take."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what the doctor says."""

    check: str
    health: Health
    told: str
    advice: str = ""
    """What to do."""


def versions() -> list[Finding]:
    """Say which versions there are."""
    found = {name: _version(name) for name in PACKAGES}
    lacking = [name for name, known in found.items() if not known]
    told = ", ".join(f"{name} {known}" for name, known in found.items() if known)
    extras = [name for name, module in EXTRAS.items() if find_spec(module) is not None]
    return [
        Finding("python", "ok", f"{platform.python_implementation()} {platform.python_version()}"),
        Finding("packages", "fail", f"missing: {', '.join(lacking)}", "pip install goalgraph")
        if lacking
        else Finding("packages", "ok", told),
        Finding("extras", "ok", ", ".join(extras) or "none; pip install 'goalgraph[demo]' and the like adds some"),
    ]


def limits(bounds: Limits) -> Finding:
    """Say which bounds of runs were chosen."""
    usual, chosen = asdict(Limits()), asdict(bounds)
    changed = {name: value for name, value in chosen.items() if value != usual[name]}
    told = ", ".join(f"{name}={value}" for name, value in changed.items())
    return Finding("limits", "ok", told or "as they come; a setting is GOALGRAPH_LIMITS__NAME")


async def redis(storage: DualStorage) -> list[Finding]:
    """Say which Redis there is, whether it keeps what it has been told, and what it does when it is full."""
    server = cast("Any", storage.client.server)
    known = _facts(await storage.client.guard(server.info()))
    name = "valkey" if "valkey_version" in known else "redis"
    told = f"{name} {known.get('valkey_version') or known.get('redis_version')} at {storage.client.where}"
    found = [Finding("redis", "ok", f"{told}, {known.get('used_memory_human', '?')} used")]
    aof, policy = known.get("aof_enabled"), str(known.get("maxmemory_policy", "noeviction"))
    if known.get("aof_last_write_status", "ok") != "ok":
        found.append(Finding("redis disk", "fail", "its last write to the disk failed", "make room on its disk"))
    elif aof:
        found.append(Finding("redis disk", "ok", "what it is told is kept (AOF)"))
    else:
        advice = "set `appendonly yes`: without it a restart loses what is not archived"
        found.append(Finding("redis disk", "warn", "nothing is kept over a restart (no AOF)", advice))
    if policy != "noeviction" and known.get("maxmemory"):
        advice = "set `maxmemory-policy noeviction`: goalgraph itself removes what is archived"
        found.append(Finding("redis memory", "fail", f"it throws keys away when it is full ({policy})", advice))
    else:
        bound = known.get("maxmemory_human") if known.get("maxmemory") else "no bound"
        found.append(Finding("redis memory", "ok", f"{bound}, nothing is thrown away"))
    return found


async def archive(storage: DualStorage) -> list[Finding]:
    """Say which archive there is, and what waits for it."""
    health = await storage.health_check()
    tier = cast("Mapping[str, Any]", health["tiers"]["archive"])
    if tier["status"] == "healthy":
        found = [Finding("archive", "ok", f"ClickHouse at {tier.get('where')}")]
    else:
        try:
            await storage.archive()
        except ArchiveUnavailable as error:
            if error.owner is not None:
                return [Finding("archive", "ok", f"process {error.owner} has it open, and archives for all")]
        except StorageError:
            pass
        advice = "runs go on meanwhile, and what is written waits in Redis; start it, or mend its URL"
        found = [Finding("archive", "fail", str(tier["error"]), advice)]
    figures = storage.archiver.metrics()
    waiting = f"{figures.waiting:,} records wait, the oldest for {figures.lag:.0f} s"
    late = figures.lag > LATE_AFTER
    found.append(Finding("archiving", "warn" if late else "ok", waiting, "bring the archive back" if late else ""))
    if figures.corrupt or figures.missing:
        told = f"{figures.corrupt} records cannot be read, {figures.missing} are gone"
        found.append(Finding("records", "fail", told, "see the log of whoever archives; keep a copy of Redis"))
    return found


async def runs(stores: OpenStores, tenant: str) -> list[Finding]:
    """Say how many runs are live and due, and whether anybody takes them up."""
    if stores.runs is None:
        return []
    load, due = await stores.runs.load(tenant), await stores.runs.due(1)
    told = f"{load.all:,} live, {load.tenant:,} of them of the tenant {tenant!r}, {load.due:,} due now"
    found = Finding("runs", "ok", told)
    if load.due:
        advice = f"nobody has taken {due[0] if due else 'them'} up: start goalgraph worker with their actions"
        found = Finding("runs", "warn", told, f"{advice}, or cancel what is not wanted")
    return [found, await _callbacks(stores)]


async def _callbacks(stores: OpenStores) -> Finding:
    dead = () if stores.runs is None else await stores.runs.dead()
    if not dead:
        return Finding("callbacks", "ok", "none was given up")
    told = "; ".join(f"{call.id} → {call.target}: {call.error}" for call in dead[:5])
    rest = f" and {len(dead) - 5} more" if len(dead) > 5 else ""
    advice = "mend what they call, then: goalgraph doctor --replay ID"
    return Finding("callbacks", "warn", f"{len(dead)} were given up: {told}{rest}", advice)


async def model(settings: Settings) -> Finding:
    """Ask the language model for a word."""
    from goalgraph.application import open_planner
    from goalgraph.settings import StorageSettings
    from planner.drafting import Message
    from planner.errors import ModelError

    if settings.model is None:
        return Finding("model", "ok", "none is set; goals are planned by types", "GOALGRAPH_MODEL names one")
    from langgraph.checkpoint.memory import InMemorySaver

    alone = settings.model_copy(update={"storage": StorageSettings()})
    try:
        async with open_planner(settings=alone, checkpointer=InMemorySaver()) as planner:
            llm = planner.service.llm
            if llm is not None:
                await llm.complete([Message("user", "Say yes.")])
    except ModelError as error:
        advice = "see GOALGRAPH_MODEL, GOALGRAPH_BASE_URL and GOALGRAPH_API_KEY"
        return Finding("model", "fail", f"{settings.model}: {error}", advice)
    return Finding("model", "ok", f"{settings.model} answers")


async def checked(name: str, check: Callable[[], Awaitable[Sequence[Finding]]]) -> list[Finding]:
    """Make one check; whatever keeps it from being made is what it finds."""
    try:
        async with asyncio.timeout(PATIENCE):
            return list(await check())
    except TimeoutError:
        return [Finding(name, "fail", f"no answer within {PATIENCE:.0f} s", "see whether its server is overloaded")]
    except (StorageError, OSError) as error:
        return [Finding(name, "fail", str(error), "see whether its server is there")]


def _facts(answer: Any) -> Mapping[str, Any]:
    """Return what INFO says; a cluster answers by node, of which the first stands for all."""
    known = cast("Mapping[str, Any]", answer)
    first = next(iter(known.values()), None)
    return cast("Mapping[str, Any]", first) if isinstance(first, Mapping) and "redis_version" not in known else known


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
