"""LangGraph's checkpoints over `storage`."""

from checkpointer.home import SyncCallInLoop
from checkpointer.saver import DualWriteSaver

__all__ = ["DualWriteSaver", "SyncCallInLoop"]
