"""The calls about runs that are there already, which the service and the node planner share."""

from abc import ABC, abstractmethod
from typing import Any

from planner.context import NodeContext, RequestIdentity
from planner.execution import Found, RunRecord, RunStatus
from planner.runs import BackgroundExecutionHandle


class RunFacade(ABC):
    """Finding runs, and taking up those that nobody advances."""

    @property
    @abstractmethod
    def caller(self) -> NodeContext:
        """Where the calls come from; fills in what they do not say."""

    @abstractmethod
    async def get_run(self, run_id: str, *, identity: RequestIdentity | None = None) -> BackgroundExecutionHandle:
        """Return the handle on a run, in whichever process it was started.

        Raises:
            RunNotFound: there is no such run of whoever asks.
        """

    @abstractmethod
    async def list_runs(self, identity: RequestIdentity, **asked: Any) -> Found[RunRecord]:
        """As `runs`, with everything said."""

    @abstractmethod
    async def recover(self) -> int:
        """Take up now the runs that nobody advances and that can be run here; that also happens from time to time.

        Returns:
            How many there were.
        """

    async def runs(
        self,
        *,
        status: RunStatus | None = None,
        session_id: str | None = None,
        parent: str | None = None,
        tag: str | None = None,
        inline: bool = False,
        limit: int | None = 100,
        identity: RequestIdentity | None = None,
    ) -> Found[RunRecord]:
        """Return the runs of whoever asks, the one that changed last first; see `Runs.list` for what they are found by.

        `found.missing` says why older ones may not be among them.
        """
        asked = {"status": status, "session_id": session_id, "parent": parent, "tag": tag}
        return await self.list_runs(identity or self.caller.identity, **asked, inline=inline, limit=limit)
