"""The hot tier: what is live, in Redis."""

from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.keys import Keys
from storage.redis.records import RedisRecords

__all__ = ["Keys", "RedisCheckpoints", "RedisClient", "RedisRecords"]
