"""From a goal to a finished run."""

__all__: list[str] = []
