"""The hot tier: what is live, in Redis.

client, driver, keys             calling scripts; what the driver raises; the names of all keys
checkpoints, records, entries    the two stores (with `…_scripts`, their Lua), and how an entry is written down
runs, due, calls                 who may advance a run, runs that are due, callbacks (`…_scripts`: their Lua)
storage                          the seed's methods over Redis alone
outbox                           what a reference in the outbox says
archiving, moving                how the archiver works, and what one batch goes through:
draining, collecting, inserting  take references, gather what they refer to, hand it to the archive
trimming, eviction, retention    what then leaves Redis: old history, idle owners, owners that the archive forgets
"""

from storage.redis.checkpoints import RedisCheckpoints
from storage.redis.client import RedisClient
from storage.redis.keys import Keys
from storage.redis.records import RedisRecords

__all__ = ["Keys", "RedisCheckpoints", "RedisClient", "RedisRecords"]
