"""The calls that the service and the node planner share, with the seed's keywords.

Each turns its keywords into one request and one context at once; below, only these two values travel.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from planner.context import RequestIdentity, RunImportance, RunOrigin, RunVisibility
from planner.drafting import ParsedInputs, PlanningContext, PlanResult
from planner.events import ExecutionEventCallback, PlanningEventCallback
from planner.execution import ExecutionResult, RunRequest
from planner.execution.request import OnFailure
from planner.plan import CandidatePlan
from planner.run_facade import RunFacade
from planner.runs import BackgroundExecutionHandle, OnComplete


class PlanningFacade(RunFacade):
    """Planning and running, over whatever `plan_with_context`, `run` and `start` do."""

    @abstractmethod
    async def plan_with_context(
        self, ctx: PlanningContext, *, on_event: PlanningEventCallback | None = None
    ) -> PlanResult:
        """Draft a plan for a request that is already one value.

        Returns:
            A result even when the model fails: then `plan` is `None` and the events say why.
        """

    @abstractmethod
    async def parse_inputs(
        self,
        *,
        message: str,
        missing_keys: Sequence[str],
        instruction: str | None = None,
        schemas: Mapping[str, Any] | None = None,
        plan: CandidatePlan | None = None,
    ) -> ParsedInputs:
        """Read the values of `missing_keys` from what a user wrote. Never raises.

        Args:
            message: The user's words.
            missing_keys: What is asked for.
            instruction: Anything that helps to read them, such as units.
            schemas: JSON Schema, type or `Slot` by key; values that do not fit stay missing.
            plan: Takes the schemas from the places where the keys are bound.
        """

    @abstractmethod
    async def run(self, request: RunRequest) -> ExecutionResult:
        """Run a plan and return what became of it."""

    @abstractmethod
    async def start(self, request: RunRequest, on_complete: OnComplete | str | None) -> BackgroundExecutionHandle:
        """Run a plan in the background."""

    async def plan(  # noqa: PLR0913 - the seed's keywords, gathered here and nowhere below
        self,
        *,
        goal: str,
        user_inputs: Mapping[str, Any] | None = None,
        external_slots: Mapping[str, Any] | None = None,
        flow_ids: Sequence[str] | None = None,
        instruction: str | None = None,
        allow_partial: bool = True,
        preferred_external_keys: Sequence[str] | None = None,
        memory_snippets: Sequence[str] | None = None,
        artifact_snippets: Sequence[str] | None = None,
        on_event: PlanningEventCallback | None = None,
        wants: Sequence[str] | Mapping[str, Any] | None = None,
        candidates: int = 1,
        max_iter: int = 3,
        max_tokens: int | None = None,
        skills: Sequence[str] | None = None,
        identity: RequestIdentity | None = None,
    ) -> PlanResult:
        """Draft a plan for `goal`; nothing is run.

        Args:
            goal: What is to be reached, in words.
            user_inputs: Values that the plan may bind as `${user.key}`; a `SecretStr` never enters a prompt.
            external_slots: Further keys that will be there: name → `Slot`, JSON Schema, type, or a coarse type's name.
            flow_ids: Groups of actions to plan with, beside the global ones; all by default.
            instruction: How to go about it.
            allow_partial: Accept a plan that lacks user inputs; the result says which. It is never run like that.
            preferred_external_keys: Keys to bind rather than others.
            memory_snippets: What is known from before, as text.
            artifact_snippets: What earlier runs gave, as text.
            on_event: Is told of each `PlanningEvent`; sync or async.
            wants: For planning by types: the outputs to reach, by name, or name → schema or type. Needs no model.
            candidates: How many plans to draft in parallel; the best is returned, all are kept in the result.
            max_iter: How often each candidate is planned, or planned anew; reading skills takes calls of its own.
            max_tokens: For all calls together.
            skills: By id, those whose text the model sees from the start, as it does trusted ones for `flow_ids`.
            identity: Whose roles decide which actions are offered.
        """
        context = PlanningContext(
            goal=goal,
            user_inputs=user_inputs or {},
            external_slots=external_slots or {},
            memory_snippets=memory_snippets or (),
            artifact_snippets=artifact_snippets or (),
            flow_ids=flow_ids,
            instruction=instruction,
            allow_partial_plans=allow_partial,
            preferred_external_keys=preferred_external_keys,
            wants=wants,
            candidates=candidates,
            max_iter=max_iter,
            max_tokens=max_tokens,
            skills=skills or (),
            **self.caller.asked_by(identity),
        )
        return await self.plan_with_context(context, on_event=on_event)

    async def execute_plan(  # noqa: PLR0913 - the seed's keywords, gathered here and nowhere below
        self,
        plan: CandidatePlan | Mapping[str, Any],
        *,
        user_inputs: Mapping[str, Any] | None = None,
        on_event: ExecutionEventCallback | None = None,
        identity: RequestIdentity | None = None,
        visibility: RunVisibility = RunVisibility.normal,
        importance: RunImportance = RunImportance.normal,
        session_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        tags: Sequence[str] | None = None,
        origin: RunOrigin | None = None,
        run_id: str | None = None,
        stop_on_failure: bool = True,
        on_failure: OnFailure = "compensate",
        on_cancel: Literal["compensate", "keep"] = "compensate",
        dry_run: bool = False,
        answers: Mapping[str, Any] | None = None,
    ) -> ExecutionResult:
        """Run `plan` and return what became of it; a failure is a result, not an exception.

        Args:
            plan: A plan from anywhere, or its JSON form; it is validated first, and not run when it does not pass.
            user_inputs: Values for `${user.key}`.
            on_event: Is told of each `ExecutionEvent`, in order; sync or async.
            identity: Who runs it; its roles decide which actions it may call.
            visibility: Where the run is listed.
            importance: How long it is kept close.
            session_id: The session it belongs to.
            agent_id: The agent that runs it.
            app_id: The application that runs it.
            tags: Words to find it by.
            origin: What started it; derived when it is not given: agent if there is an agent, else user.
            run_id: A run that the checkpointer knows is resumed: finished steps are not repeated.
            stop_on_failure: Whether the first failed step keeps independent ones from starting.
            on_failure: What becomes of completed steps when the run fails: `compensate` undoes those that declare
                `undo`, `keep` leaves them, `replan` asks for a new way to go on from them.
            on_cancel: The same for a run that is cancelled.
            dry_run: Show order, bindings, effects and estimate in `result.preview`, and call nothing.
            answers: Answers to the questions of a waiting run, by interrupt id.

        Raises:
            RunConflict: `run_id` belongs to another plan, to somebody else, or to other inputs.
            UnknownQuestion: an answer is given to what was never asked.
            ValueError: `plan` is a mapping that is no plan.
            Exception: what the checkpointer raised; the run goes on when it is called again.
        """
        context = self.caller.run_context(
            run_id,
            identity=identity,
            visibility=visibility,
            importance=importance,
            session_id=session_id,
            agent_id=agent_id,
            app_id=app_id,
            tags=tags,
            origin=origin or self.caller.origin_of(agent_id),
        )
        request = RunRequest(
            plan=plan if isinstance(plan, CandidatePlan) else CandidatePlan.from_dict(plan),
            user_inputs=user_inputs or {},
            context=context,
            on_event=on_event,
            stop_on_failure=stop_on_failure,
            on_failure=on_failure,
            on_cancel=on_cancel,
            dry_run=dry_run,
            answers=answers or {},
        )
        return await self.run(request)

    async def execute_background(  # noqa: PLR0913, D417 - the seed's keywords; most are described at execute_plan
        self,
        plan: CandidatePlan | Mapping[str, Any],
        *,
        user_inputs: Mapping[str, Any] | None = None,
        on_event: ExecutionEventCallback | None = None,
        identity: RequestIdentity | None = None,
        visibility: RunVisibility = RunVisibility.normal,
        importance: RunImportance = RunImportance.normal,
        session_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        tags: Sequence[str] | None = None,
        origin: RunOrigin | None = None,
        on_complete: OnComplete | str | None = None,
        exec_id: str | None = None,
        stop_on_failure: bool = True,
        on_failure: OnFailure = "compensate",
        on_cancel: Literal["compensate", "keep"] = "compensate",
    ) -> BackgroundExecutionHandle:
        """Run `plan` in the background and return at once.

        The keywords are those of `execute_plan`, and:

        Args:
            on_complete: Called with the result exactly once, on success, failure and cancellation; sync or async. Or
                the name of a registered callback, or a URL, told at least once by whichever process lives.
            exec_id: The run's id; given twice it is the same run.

        Raises:
            RunConflict: `exec_id` belongs to a run of another plan.
        """
        context = self.caller.run_context(
            exec_id,
            identity=identity,
            visibility=visibility,
            importance=importance,
            session_id=session_id,
            agent_id=agent_id,
            app_id=app_id,
            tags=tags,
            origin=origin or self.caller.origin_of(agent_id),
        )
        request = RunRequest(
            plan=plan if isinstance(plan, CandidatePlan) else CandidatePlan.from_dict(plan),
            user_inputs=user_inputs or {},
            context=context,
            on_event=on_event,
            stop_on_failure=stop_on_failure,
            on_failure=on_failure,
            on_cancel=on_cancel,
        )
        return await self.start(request, on_complete)

    async def plan_and_execute(  # noqa: PLR0913, D417 - the seed's keywords; most are described at plan and execute_plan
        self,
        *,
        goal: str,
        user_inputs: Mapping[str, Any] | None = None,
        external_slots: Mapping[str, Any] | None = None,
        flow_ids: Sequence[str] | None = None,
        instruction: str | None = None,
        allow_partial: bool = False,
        preferred_external_keys: Sequence[str] | None = None,
        memory_snippets: Sequence[str] | None = None,
        artifact_snippets: Sequence[str] | None = None,
        planning_events_cb: PlanningEventCallback | None = None,
        execution_events_cb: ExecutionEventCallback | None = None,
        identity: RequestIdentity | None = None,
        visibility: RunVisibility = RunVisibility.normal,
        importance: RunImportance = RunImportance.normal,
        session_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        tags: Sequence[str] | None = None,
        origin: RunOrigin | None = None,
        wants: Sequence[str] | Mapping[str, Any] | None = None,
        candidates: int = 1,
        skills: Sequence[str] | None = None,
        run_drafts: bool = False,
        on_failure: OnFailure = "compensate",
        on_cancel: Literal["compensate", "keep"] = "compensate",
    ) -> tuple[PlanResult, ExecutionResult | None]:
        """Draft a plan for `goal` and, when nothing is missing, run it.

        The keywords are those of `plan` and `execute_plan`, and:

        Args:
            allow_partial: Return a plan that lacks user inputs. Such a plan is never run: the second value is `None`,
                and the first says what is missing.
            run_drafts: Also run a plan that was only guessed from words, without a model.

        Returns:
            The planning result, and the execution result or `None` when there was nothing to run.
        """
        planning = PlanningContext(
            goal=goal,
            user_inputs=user_inputs or {},
            external_slots=external_slots or {},
            memory_snippets=memory_snippets or (),
            artifact_snippets=artifact_snippets or (),
            flow_ids=flow_ids,
            instruction=instruction,
            allow_partial_plans=allow_partial,
            preferred_external_keys=preferred_external_keys,
            wants=wants,
            candidates=candidates,
            skills=skills or (),
            **self.caller.asked_by(identity),
        )
        context = self.caller.run_context(
            None,
            identity=identity,
            visibility=visibility,
            importance=importance,
            session_id=session_id,
            agent_id=agent_id,
            app_id=app_id,
            tags=tags,
            origin=origin,
        )
        planned = await self.plan_with_context(planning, on_event=planning_events_cb)
        plan = _runnable(planned, run_drafts=run_drafts)
        if plan is None:
            return planned, None
        request = RunRequest(plan=plan, user_inputs=planning.user_inputs, context=context, on_event=execution_events_cb)
        return planned, await self.run(replace(request, on_failure=on_failure, on_cancel=on_cancel))

    async def plan_and_execute_background(  # noqa: PLR0913, D417 - the seed's keywords; most are described at plan and execute_plan
        self,
        *,
        goal: str,
        user_inputs: Mapping[str, Any] | None = None,
        external_slots: Mapping[str, Any] | None = None,
        flow_ids: Sequence[str] | None = None,
        instruction: str | None = None,
        allow_partial: bool = False,
        preferred_external_keys: Sequence[str] | None = None,
        memory_snippets: Sequence[str] | None = None,
        artifact_snippets: Sequence[str] | None = None,
        planning_events_cb: PlanningEventCallback | None = None,
        execution_events_cb: ExecutionEventCallback | None = None,
        identity: RequestIdentity | None = None,
        visibility: RunVisibility = RunVisibility.normal,
        importance: RunImportance = RunImportance.normal,
        session_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        tags: Sequence[str] | None = None,
        origin: RunOrigin | None = None,
        on_complete: OnComplete | str | None = None,
        exec_id: str | None = None,
        wants: Sequence[str] | Mapping[str, Any] | None = None,
        candidates: int = 1,
        skills: Sequence[str] | None = None,
        run_drafts: bool = False,
        on_failure: OnFailure = "compensate",
        on_cancel: Literal["compensate", "keep"] = "compensate",
    ) -> tuple[PlanResult, BackgroundExecutionHandle | None]:
        """Draft a plan for `goal`, then run it in the background.

        The keywords are those of `plan_and_execute`, and:

        Args:
            on_complete: Called with the result exactly once; not called when there was nothing to run.
            exec_id: The run's id; given twice it is the same run.

        Raises:
            RunConflict: `exec_id` belongs to a run of another plan.
        """
        planning = PlanningContext(
            goal=goal,
            user_inputs=user_inputs or {},
            external_slots=external_slots or {},
            memory_snippets=memory_snippets or (),
            artifact_snippets=artifact_snippets or (),
            flow_ids=flow_ids,
            instruction=instruction,
            allow_partial_plans=allow_partial,
            preferred_external_keys=preferred_external_keys,
            wants=wants,
            candidates=candidates,
            skills=skills or (),
            **self.caller.asked_by(identity),
        )
        context = self.caller.run_context(
            exec_id,
            identity=identity,
            visibility=visibility,
            importance=importance,
            session_id=session_id,
            agent_id=agent_id,
            app_id=app_id,
            tags=tags,
            origin=origin,
        )
        planned = await self.plan_with_context(planning, on_event=planning_events_cb)
        plan = _runnable(planned, run_drafts=run_drafts)
        if plan is None:
            return planned, None
        request = RunRequest(plan=plan, user_inputs=planning.user_inputs, context=context, on_event=execution_events_cb)
        return planned, await self.start(replace(request, on_failure=on_failure, on_cancel=on_cancel), on_complete)


def _runnable(planned: PlanResult, *, run_drafts: bool) -> CandidatePlan | None:
    """Return the plan that can be run: none when inputs are missing, or it is only a draft."""
    return planned.plan if planned.ok and (run_drafts or not planned.draft) else None
