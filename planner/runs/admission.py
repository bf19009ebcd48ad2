"""Whether another run may be started, by how many there are."""

from time import monotonic

from planner.context import RunContext
from planner.errors import TooManyRuns
from planner.limits import Limits
from planner.runs.access import RunAccess
from storage.runs import Load

FRESH = 1.0
"""Seconds that a count is good for; what this process starts meanwhile is added to it."""
MOST_TENANTS = 10_000
"""Whose counts are kept; then all are asked for again."""


class Admission:
    """Counts what is live, at most once a second, and refuses what is too much.

    Args:
        access: Where runs are.
        limits: `tenant_runs` and `due_runs`.
    """

    def __init__(self, access: RunAccess, limits: Limits) -> None:
        self._access = access
        self._limits = limits
        self._known: dict[str, tuple[float, Load]] = {}
        self._since: dict[str, int] = {}

    async def check(self, context: RunContext, *, again: bool = False) -> None:
        """Count a run that is about to be started; one that is there already is not refused, unless it begins `again`.

        Raises:
            TooManyRuns: there are as many as may be; it says when to try again.
        """
        try:
            await self._count(context.identity.org_id)
        except TooManyRuns:
            if again or await self._access.any(context.run_id) is None:
                raise

    async def _count(self, tenant: str) -> None:
        limits, now = self._limits, monotonic()
        at, load = self._known.get(tenant, (0.0, None))
        if load is None or now - at > FRESH:
            load = await self._access.stores.live.load(tenant)
            if len(self._known) > MOST_TENANTS:
                self._known.clear()
                self._since.clear()
            self._known[tenant] = (now, load)
            self._since[tenant] = 0
        started = self._since[tenant]
        if limits.tenant_runs is not None and load.tenant + started >= limits.tenant_runs:
            raise TooManyRuns("tenant_runs", limits.tenant_runs, FRESH)
        if load.due >= limits.due_runs:
            raise TooManyRuns("due_runs", limits.due_runs, FRESH)
        self._since[tenant] = started + 1
