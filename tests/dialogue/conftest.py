"""The server of the storage's tests."""

from tests.storage.conftest import redis_server, redis_url

__all__ = ["redis_server", "redis_url"]
