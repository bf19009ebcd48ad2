"""The pair that needs no set-up: a private redis-server, the lease on the chdb path, and the folder of both."""

from storage.embedded.binary import find_redis_server
from storage.embedded.directory import DataDirectory
from storage.embedded.lease import ArchiveLease
from storage.embedded.supervisor import open_redis

__all__ = ["ArchiveLease", "DataDirectory", "find_redis_server", "open_redis"]
