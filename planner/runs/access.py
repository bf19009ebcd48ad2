"""Reading runs as whoever asks may see them, and turning their records back into what can be run."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from planner.context import RequestIdentity
from planner.errors import MissingSecrets, PlannerClosed, PlannerError, RunNotFound, UnknownAction
from planner.execution import RunRecord, Runs
from planner.execution.executor import PlanExecutor
from planner.execution.outcome import ExecutionResult, PendingInterrupt
from planner.execution.people import may_answer, read_question
from planner.execution.read_result import result_of_record
from planner.execution.recorded import read_request
from planner.execution.request import RunRequest
from planner.execution.run_log import RunStores
from planner.execution.run_records import read_run
from planner.execution.secrets import secrets_in
from planner.plan import CandidatePlan, resolve_step
from storage.errors import CorruptRecord, NewerRecord, StorageError

logger = logging.getLogger("goalgraph")

SecretProvider = Callable[[str, RunRecord], Awaitable[SecretStr | None] | SecretStr | None]
"""Gives the secret that a run was given under a name, or `None` when it has none."""


class RunAccess:
    """The runs of a store.

    Args:
        stores: Where they are.
        executor: Whose catalog, checkpoints and blobs they are run with.
        secrets: Asked for secrets, which no record holds, when a run is taken up in another process.
        resources: What parameters marked `Resource("name")` receive.
    """

    def __init__(
        self,
        stores: RunStores,
        executor: PlanExecutor,
        secrets: SecretProvider | None = None,
        resources: Mapping[str, Any] | None = None,
    ) -> None:
        self.stores = stores
        self.executor = executor
        self.runs = Runs(stores.records, stores.codec)
        self.closed = False
        self._secrets = secrets
        self._resources = resources or {}

    def check(self) -> None:
        """Make sure that nobody has closed this. Raises: PlannerClosed: somebody has."""
        if self.closed:
            raise PlannerClosed

    async def any(self, run_id: str) -> RunRecord | None:
        """Return a run, whoever it belongs to.

        Raises:
            PlannerClosed: these runs were closed.
            CorruptRecord: it cannot be read; `NewerRecord` when a newer version wrote it.
        """
        self.check()
        entry = await self.stores.records.latest("run", run_id)
        return None if entry is None else read_run(entry, self.stores.codec)

    async def owned(self, run_id: str, identity: RequestIdentity) -> RunRecord:
        """Return a run of whoever asks.

        Raises:
            RunNotFound: there is none, or it is somebody else's.
        """
        found = await self.any(run_id)
        if found is None or (found.org_id, found.user_id) != (identity.org_id, identity.user_id):
            raise RunNotFound(run_id)
        return found

    async def record(self, run_id: str, identity: RequestIdentity) -> RunRecord:
        """Return a run of whoever asks, or one that asks them something: to look at it, and to answer.

        Raises:
            RunNotFound: there is none, or it is somebody else's.
        """
        found = await self.any(run_id)
        if found is None or found.org_id != identity.org_id:
            raise RunNotFound(run_id)
        owner = owner_of(found)
        asked = any(may_answer(question, identity, owner) for question in open_questions(found))
        if found.user_id != identity.user_id and not asked:
            raise RunNotFound(run_id)
        return found

    async def is_ours(self, run_id: str) -> bool:
        """Say whether this process can advance a run: it knows its actions, and can read its record."""
        try:
            record = await self.any(run_id)
        except (NewerRecord, CorruptRecord):
            return False
        return record is not None and (record.ended or not self.lacks(record))  # one that has ended is only let go

    def lacks(self, record: RunRecord) -> str:
        """Say which action this process would need to advance a run; empty when it has them all."""
        try:
            for step in CandidatePlan.from_dict(record.plan).steps:
                if (spec := resolve_step(step, self.executor.catalog)).call is None:
                    return f"{spec.name} cannot be called here"
        except (UnknownAction, ValueError) as error:
            return str(error)
        return ""

    async def request(self, record: RunRecord, given: Mapping[str, Any] | None = None) -> RunRequest:
        """Return what a run was started with.

        Args:
            record: The run's.
            given: Inputs that the record does not hold.

        Raises:
            MissingSecrets: one of these is neither given nor had from the provider.
        """
        known = dict(given or {})
        while True:
            try:
                request = await read_request(record, known, self.executor.blobs, self.executor.catalog.codecs)
                return replace(request, context=replace(request.context, resources=self._resources))
            except MissingSecrets as error:
                found = {name: await self._secret(name, record) for name in error.names}
                if self._secrets is None or any(secret is None for secret in found.values()):
                    raise
                known |= found

    async def result(self, run_id: str) -> ExecutionResult:
        """Return what became of a run, as `outcome`.

        Raises:
            RunNotFound: there is no such run.
        """
        record = await self.any(run_id)
        if record is None:
            raise RunNotFound(run_id)
        return await self.outcome(record)

    async def outcome(self, record: RunRecord) -> ExecutionResult:
        """Return what became of a run: from its checkpoints, or from its record where these are gone.

        Of a run that goes on the record alone tells; it is not touched.
        """
        if record.ended:
            with suppress(PlannerError, StorageError):  # secrets, actions or checkpoints are not there
                return await self.executor.recall(await self.request(record), record)
        return result_of_record(record)

    async def secrets(self, run_id: str) -> Mapping[str, str]:
        """Return the secrets of a run that this process has, to keep them out of what is stored; see `secrets_in`."""
        try:
            record = await self.any(run_id)
            names = () if record is None else record.request.get("missing", ())
            return secrets_in({name: await self._secret(name, record) for name in names if record is not None})
        except Exception as error:  # noqa: BLE001 - whatever a store or a provider raises, there is another error to tell
            logger.info("the secrets of run %s cannot be had: %s", run_id, type(error).__name__)
            return {}

    async def _secret(self, name: str, record: RunRecord) -> SecretStr | None:
        answer = None if self._secrets is None else self._secrets(name, record)
        return await answer if inspect.isawaitable(answer) else answer


def owner_of(record: RunRecord) -> RequestIdentity:
    """Return whose run it is."""
    return RequestIdentity(user_id=record.user_id, org_id=record.org_id)


def open_questions(record: RunRecord) -> Sequence[PendingInterrupt]:
    """Return what a run asks and has no answer to."""
    if record.ended:
        return ()
    asked = (read_question(one["id"], one["value"], one["step_id"]) for one in record.questions)
    return [question for question in asked if question.id not in record.answers]
