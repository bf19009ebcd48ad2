"""LangGraph's checkpoints over `storage`."""

from checkpointer.backend_saver import BackendSaver
from checkpointer.home import SyncCallInLoop
from checkpointer.saver import DualWriteSaver

__all__ = ["BackendSaver", "DualWriteSaver", "SyncCallInLoop"]
