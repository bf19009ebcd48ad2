"""How a process takes part in advancing runs."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RunPolicy:
    """How a process takes part in advancing runs."""

    advance: bool = True
    """Whether it takes up runs that are due; a process that only starts or looks at runs does not."""
    slots: int = 100
    """Runs that it advances at the same time, at most; those that it is asked to run itself are not counted."""
    sweep: float = 1.0
    """Seconds between two looks for runs that are due."""
    grace: float = 5.0
    """Seconds that working actions may take to finish when the process stops advancing."""
    lease: float = 30.0
    """Seconds after which another process may take a run over whose holder is not heard of."""
    survive: bool = True
    """Whether runs outlive the process, so that closing leaves them to others instead of cancelling them."""
