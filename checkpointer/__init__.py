"""LangGraph's checkpoints, kept in `storage`."""

__all__: list[str] = []
