"""Whether another run may be started, by how many there are."""

from time import monotonic

from planner.errors import TooManyRuns
from planner.limits import Limits
from storage.runs import Load, RunStore

FRESH = 1.0
"""Seconds that a count is good for; what this process starts meanwhile is added to it."""


class Admission:
    """Counts what is live, at most once a second, and refuses what is too much.

    Args:
        live: Where runs are.
        limits: `tenant_runs` and `due_runs`.
    """

    def __init__(self, live: RunStore, limits: Limits) -> None:
        self._live = live
        self._limits = limits
        self._known: dict[str, tuple[float, Load]] = {}
        self._since: dict[str, int] = {}

    async def check(self, tenant: str) -> None:
        """Count a run that is about to be started for `tenant`.

        Raises:
            TooManyRuns: there are as many as may be; it says when to try again.
        """
        limits, now = self._limits, monotonic()
        at, load = self._known.get(tenant, (0.0, None))
        if load is None or now - at > FRESH:
            load = await self._live.load(tenant)
            self._known[tenant] = (now, load)
            self._since[tenant] = 0
        started = self._since[tenant]
        if limits.tenant_runs is not None and load.tenant + started >= limits.tenant_runs:
            raise TooManyRuns("tenant_runs", limits.tenant_runs, FRESH)
        if load.due >= limits.due_runs:
            raise TooManyRuns("due_runs", limits.due_runs, FRESH)
        self._since[tenant] = started + 1
