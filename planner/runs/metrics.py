"""What a process did with runs, in figures."""

from collections.abc import Mapping
from dataclasses import dataclass

from planner.runs.service import RunService


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMetrics:
    """Figures of one moment, counted since the process opened its planner; only `advancing` and `due` go down."""

    advancing: int
    """Runs that are advanced now."""
    due: int
    """Runs that were due when this process looked last."""
    started: int
    """Runs that were begun here, or taken up where another process had left them."""
    ended: Mapping[str, int]
    """Those of them that have ended, or wait for a person, by status."""
    leases_lost: int
    """Those whose lease was lost, so that another process has them."""
    sweeps: int
    """Looks for runs that are due, which the store answered."""
    callbacks: Mapping[str, int]
    """Attempts to deliver a callback, by `delivered`, `failed` and `dead`, after which it is not tried again."""

    @classmethod
    def of(cls, runs: RunService) -> "RunMetrics":
        """Return the figures of now."""
        return cls(
            advancing=runs.log.keeper.held,
            due=runs.sweeper.found,
            started=runs.driver.started,
            ended={**runs.driver.ended},
            leases_lost=runs.driver.lost,
            sweeps=runs.sweeper.sweeps,
            callbacks=dict(runs.notifier.attempts),
        )
