"""The prototype of reference/durable.md section 3.2 again, as small as it was: the figure that throughput is held to.

A registry hash and a due set, a lease and a fence in Lua, a LangGraph saver whose writes compare the token, renewal by
a task, an outbox for the end. It keeps no events, no results of steps to read, no archive, no answers and no secrets.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast
from uuid import uuid4

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from redis.asyncio import BlockingConnectionPool, Redis

LEASE = 5.0
"""Seconds."""
NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
SUBMIT = NOW + "redis.call('HSET', KEYS[1], 'status', 'pending'); redis.call('ZADD', KEYS[2], now + 5000, ARGV[1])"
# KEYS: run, due. Gives the token, or 0 when somebody else has the run or it has ended.
ACQUIRE = (
    NOW
    + """
    local status, ends, token = unpack(redis.call('HMGET', KEYS[1], 'status', 'until', 'token'))
    if status == 'done' or ends and tonumber(ends) > now then return 0 end
    token = math.max((token or 0) + 1, now)
    redis.call('HSET', KEYS[1], 'status', 'running', 'token', token, 'until', now + ARGV[2], 'owner', ARGV[3])
    redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
    return token
    """
)
RENEW = (
    NOW
    + """
    if redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then return 0 end
    redis.call('HSET', KEYS[1], 'until', now + ARGV[3])
    redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
    return 1
    """
)
FINISH = """
    if redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then return 0 end
    redis.call('HSET', KEYS[1], 'status', 'done', 'result', ARGV[3])
    redis.call('ZREM', KEYS[2], ARGV[1])
    redis.call('LPUSH', KEYS[3], ARGV[1])
    return 1
    """
# KEYS: run, a hash of the thread. ARGV: token, then fields and values.
WRITE = """
    if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
    redis.call('HSET', KEYS[2], unpack(ARGV, 2))
    return 1
    """


class Fenced(Exception):
    """Somebody else has the run by now."""


class FencedSaver(BaseCheckpointSaver[int]):
    """Whole checkpoints and writes in hashes; a writer with another token than the run's is refused."""

    def __init__(self, redis: "Redis") -> None:
        super().__init__()
        self._redis = redis
        self._write = redis.register_script(WRITE)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint."""
        given: Any = config["configurable"]  # pyright: ignore[reportTypedDictNotRequiredAccess]  # LangGraph's configs have it
        kind, body = self.serde.dumps_typed((checkpoint, metadata, given.get("checkpoint_id")))
        fields = [checkpoint["id"], body, "latest", checkpoint["id"], "kind", kind]
        await self._fenced(given, f"cp:{given['thread_id']}", fields)
        return {"configurable": {**given, "checkpoint_id": checkpoint["id"]}}

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store the writes of a task."""
        given: Any = config["configurable"]  # pyright: ignore[reportTypedDictNotRequiredAccess]  # LangGraph's configs have it
        fields: list[Any] = []
        for at, (channel, value) in enumerate(writes):
            body = self.serde.dumps_typed((task_id, channel, value))[1]
            fields += [f"{task_id}:{WRITES_IDX_MAP.get(channel, at)}", body]
        if fields:
            await self._fenced(given, f"w:{given['thread_id']}:{given['checkpoint_id']}", fields)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the newest checkpoint of a thread."""
        given: Any = config["configurable"]  # pyright: ignore[reportTypedDictNotRequiredAccess]  # LangGraph's configs have it
        thread = given["thread_id"]
        latest, kind = await cast("Any", self._redis.hmget(f"cp:{thread}", ["latest", "kind"]))
        if latest is None:
            return None
        own = latest.decode()
        body = await cast("Any", self._redis.hget(f"cp:{thread}", own))
        stored = await cast("Any", self._redis.hgetall(f"w:{thread}:{own}"))
        checkpoint, metadata, parent = self.serde.loads_typed((kind.decode(), body))
        writes = [self.serde.loads_typed((kind.decode(), one)) for one in stored.values()]
        here = {**given, "checkpoint_ns": "", "checkpoint_id": own}
        found: Any = {"configurable": here}
        before: Any = None if parent is None else {"configurable": {**here, "checkpoint_id": parent}}
        return CheckpointTuple(found, checkpoint, metadata, before, writes)

    async def _fenced(self, given: Any, key: str, fields: Sequence[Any]) -> None:
        if not await self._write(keys=[f"run:{given['thread_id']}", key], args=[given["token"], *fields]):
            raise Fenced(given["thread_id"])


class Prototype:
    """Runs of one compiled graph."""

    def __init__(self, url: str, make_graph: Any) -> None:
        pool: BlockingConnectionPool = cast("Any", BlockingConnectionPool).from_url(url, max_connections=64)
        self.redis: Redis = Redis.from_pool(pool)  # which closes it, too
        self.graph = make_graph(FencedSaver(self.redis))
        self._scripts = {name: self.redis.register_script(lua) for name, lua in _LUA.items()}
        self._owner = uuid4().hex

    async def submit(self, run_id: str) -> None:
        """Record a run that somebody is to take up."""
        await self._scripts["submit"](keys=[f"run:{run_id}", "due"], args=[run_id])

    async def advance(self, run_id: str) -> bool:
        """Take a run up and go on with it; False when it is somebody else's, or has ended."""
        keys = [f"run:{run_id}", "due"]
        token = await self._scripts["acquire"](keys=keys, args=[run_id, int(LEASE * 1000), self._owner])
        if not token:
            return False
        renewing = asyncio.create_task(self._renew(run_id, token))
        try:
            config = {"configurable": {"thread_id": run_id, "token": token}}
            known = (await self.graph.aget_state(config)).created_at is not None
            final = await self.graph.ainvoke(None if known else {"value": 0}, config, durability="sync")
            keys.append("outbox")
            return bool(await self._scripts["finish"](keys=keys, args=[run_id, token, str(final["value"])]))
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing

    async def _renew(self, run_id: str, token: int) -> None:
        while True:
            await asyncio.sleep(LEASE / 3)
            keys = [f"run:{run_id}", "due"]
            await self._scripts["renew"](keys=keys, args=[run_id, token, int(LEASE * 1000)])


_LUA = {"submit": SUBMIT, "acquire": ACQUIRE, "renew": RENEW, "finish": FINISH}
