"""Sessions and what belongs to them, by the seed's methods, over any checkpoint store and record store."""

from storage.sessions.facade import MemoryStorage, Probe, StorageFacade
from storage.sessions.named_checkpoints import NAMED, PendingWrite

__all__ = ["NAMED", "MemoryStorage", "PendingWrite", "Probe", "StorageFacade"]
