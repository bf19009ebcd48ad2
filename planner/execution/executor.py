"""A plan becomes a result: check it, run it as a LangGraph graph in its own context, gather what became of it."""

import asyncio
import contextvars
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from langchain_core.runnables.config import RunnableConfig, var_child_runnable_config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from planner.catalog import ActionCatalog, ActionSpec
from planner.context import RunContext
from planner.errors import BindingError, RunConflict
from planner.events import ExecutionEvent, ExecutionEventCallback
from planner.execution.acknowledge import Acknowledgements, AcknowledgingSaver
from planner.execution.bind import Values, resolve
from planner.execution.blobs import load
from planner.execution.body import build_graph as build_langgraph
from planner.execution.body import named_outputs
from planner.execution.gate import Gates, Rates
from planner.execution.outcome import RECORD_VERSION, ExecutionResult, Preview, RunStatus, RunUsage, StepOutcome
from planner.execution.publisher import Publisher
from planner.execution.state import RunState
from planner.limits import Limits
from planner.plan import CandidatePlan, ValidationResult, build_graph, estimate, resolve_step, validate
from planner.plan.bindings import references_in
from storage.memory import MemoryBlobStore
from storage.protocols import BlobStore

LARGE_PLAN = 500
"""Steps; a larger plan is checked in a thread, since that takes long enough to be felt by everything else."""


@dataclass(kw_only=True)
class RunRequest:
    """What is to be run, and how."""

    plan: CandidatePlan
    user_inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    context: RunContext
    on_event: ExecutionEventCallback | None = None
    stop_on_failure: bool = True
    """Whether the first failure of a step that is not optional keeps everything else from starting."""
    dry_run: bool = False
    answers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Answers to the questions of flows, by interrupt id, when a waiting run goes on."""


class PlanExecutor:
    """Runs plans over one catalog.

    Args:
        catalog: Whose actions are called.
        checkpointer: Where outcomes are stored; any LangGraph saver, or `None` to keep them in memory for the run.
        limits: Bounds of each run.
        blobs: Where large outputs go; in memory by default, so a run with large outputs resumes in this process only.
    """

    def __init__(
        self,
        catalog: ActionCatalog,
        checkpointer: BaseCheckpointSaver[Any] | None = None,
        limits: Limits | None = None,
        blobs: BlobStore | None = None,
    ) -> None:
        self.catalog = catalog
        self.checkpointer = checkpointer
        self.limits = limits or Limits()
        self.blobs = blobs or MemoryBlobStore()
        self._rates = Rates()
        self._running: dict[str, tuple[str, asyncio.Task[ExecutionResult], RunState]] = {}

    async def execute(self, request: RunRequest) -> ExecutionResult:
        """Run a plan that passes validation, or return why it was not run.

        A run id that the checkpointer knows is resumed: finished steps are not repeated. One that is under way in this
        process is joined. Cancelling the call stops the run's actions, then raises `CancelledError`.

        Raises:
            RunConflict: the run id belongs to another plan.
        """
        if (running := self._under_way(request)) is not None:
            return await asyncio.shield(running)
        large = len(request.plan.steps) > LARGE_PLAN
        refusal = await asyncio.to_thread(self._refuse, request) if large else self._refuse(request)
        if (running := self._under_way(request)) is not None:  # it was started meanwhile
            return await asyncio.shield(running)
        if refusal is not None:
            return await _told(refusal, request)
        if request.dry_run:
            return self._preview(request)
        return await self._run(request)

    def _under_way(self, request: RunRequest) -> asyncio.Task[ExecutionResult] | None:
        run_id = request.context.run_id
        active = self._running.get(run_id)
        if active is not None and active[0] != request.plan.id:
            raise RunConflict(f"run {run_id!r} is under way with another plan ({active[0]})")
        return None if active is None else active[1]

    def cancel(self, run_id: str) -> bool:
        """Stop a run of this process: its actions are cancelled, nothing new starts. Returns whether there was one."""
        active = self._running.get(run_id)
        if active is not None:
            active[2].stop("cancelled", "it was cancelled", 0)
        return active is not None

    def ended(self, request: RunRequest, status: RunStatus, error: str) -> ExecutionResult:
        """Return the result of a run that ended without having been advanced."""
        return replace(_refusal(request, error, None), status=status)

    def _refuse(self, request: RunRequest) -> ExecutionResult | None:
        """Say why a plan is not run, without having called anything."""
        plan, context = request.plan, request.context
        validation = validate(plan, self.catalog, request.user_inputs, identity=context.identity, limits=self.limits)
        if not validation.ok:
            kind = "InvalidPlan" if validation.has_structural_errors else "MissingInputs"
            return _refusal(request, f"{kind}: {validation.summary()}", validation)
        specs = {step.id: resolve_step(step, self.catalog) for step in plan.steps}
        waiting = [f"{step} ({spec.name})" for step, spec in specs.items() if spec.policy.approval]
        if waiting:
            names = ", ".join(waiting)
            reason = f"ApprovalRequired: {names} may only run when a person agrees, and nobody can be asked here"
            return _refusal(request, reason, validation)
        described = [spec.name for spec in specs.values() if spec.call is None]
        if described:
            reason = f"NotExecutable: {', '.join(described)} is only described in the catalog, so it cannot be called"
            return _refusal(request, reason, validation)
        return None

    def _preview(self, request: RunRequest) -> ExecutionResult:
        graph = build_graph(request.plan)
        known = Values(request.user_inputs, {})

        def shown(value: Any) -> Any:
            later = any(reference.root != "user" for _, reference in references_in(value))
            try:
                return value if later else resolve(value, known, None, ())
            except BindingError:
                return value

        bindings = {step.id: {name: shown(value) for name, value in step.inputs.items()} for step in request.plan.steps}
        preview = Preview(order=graph.order, bindings=bindings, estimate=estimate(request.plan, self.catalog))
        return ExecutionResult(
            ok=True,
            outputs={},
            status="pending",
            run_id=request.context.run_id,
            plan_id=request.plan.id,
            preview=preview,
        )

    async def _run(self, request: RunRequest) -> ExecutionResult:
        """Run in a task of its own, which a cancelled caller stops and waits for."""
        run_id = request.context.run_id
        state = self._state(request)
        context = contextvars.copy_context()
        context.run(var_child_runnable_config.set, None)  # inside somebody's node, their thread must not become ours
        runner = asyncio.create_task(self._advance(request, state), name=f"goalgraph-run-{run_id}", context=context)
        self._running[run_id] = (request.plan.id, runner, state)
        try:
            return await asyncio.shield(runner)
        except asyncio.CancelledError:
            state.stop("cancelled", "the caller was cancelled", 0)
            await asyncio.wait({runner}, timeout=self.limits.grace.total_seconds())
            runner.cancel()  # a store that does not answer must not hold the caller
            await asyncio.wait({runner})
            raise
        finally:
            del self._running[run_id]

    def _state(self, request: RunRequest) -> RunState:
        plan = request.plan
        stopping = asyncio.Event()
        return RunState(
            plan=plan,
            graph=build_graph(plan),
            specs={step.id: resolve_step(step, self.catalog) for step in plan.steps},
            user_inputs=request.user_inputs,
            context=request.context,
            limits=self.limits,
            codecs=self.catalog.codecs,
            blobs=self.blobs,
            gates=Gates(self.limits.concurrency, self._rates, stopping),
            stopping=stopping,
            publisher=Publisher(request.context.run_id, request.on_event, self.limits.events),
            acknowledgements=Acknowledgements() if self.checkpointer is not None else None,
            stop_on_failure=request.stop_on_failure,
        )

    async def _advance(self, request: RunRequest, state: RunState) -> ExecutionResult:
        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        config: RunnableConfig = {"configurable": {"thread_id": request.context.run_id}, "run_name": "goalgraph_run"}
        deadline: asyncio.TimerHandle | None = None
        try:
            start, final = await self._known(config, state)
            if final is None:
                left = self.limits.run_timeout - (datetime.now(UTC) - (start or _start(state))["started_at"])
                message = (
                    f"LimitExceeded: the run took longer than the limit 'run_timeout' of {self.limits.run_timeout}"
                )
                deadline = loop.call_later(max(0.0, left.total_seconds()), state.stop, "deadline", message, 0)
                state.publisher.publish(
                    "start", message=state.plan.goal or None, details={"resumed": start is not None}
                )
                graph = build_langgraph(state, self._saver(state))
                given = _start(state) if start is None else _answers(request)
                durability = None if self.checkpointer is None else "sync"
                final = _mapping(await cast("Any", graph).ainvoke(given, config, durability=durability))
            else:
                await self._restore(final, state)
            return self._result(request, state, final, loop.time() - began)
        finally:
            if deadline is not None:
                deadline.cancel()
            state.close()
            await state.publisher.close()

    def _saver(self, state: RunState) -> BaseCheckpointSaver[Any] | None:
        if self.checkpointer is None or state.acknowledgements is None:
            return None
        return AcknowledgingSaver(self.checkpointer, state.acknowledgements)

    async def _known(
        self, config: RunnableConfig, state: RunState
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Return how the run was started and what it ended with, as far as the checkpointer knows.

        The versions of the actions that it was started with are taken over.
        """
        found = await self.checkpointer.aget_tuple(config) if self.checkpointer is not None else None
        if found is None:
            return None, None
        values = found.checkpoint["channel_values"]
        final = _mapping(values.get("__end__"))
        start = _mapping(final["start"] if final is not None and "start" in final else values.get("__start__"))
        if start is None or start.get("plan_id") != state.plan.id:
            raise RunConflict(f"run {state.context.run_id!r} was started with another plan; use a new run id")
        state.specs = {step_id: self.catalog.get_action(ref) for step_id, ref in start["refs"].items()}
        return start, final

    async def _restore(self, final: Mapping[str, Any], state: RunState) -> None:
        """Fill the state of a run that has ended already."""
        for step_id, record in final["records"].items():
            outcome = StepOutcome.from_record(record)
            state.outcomes[step_id] = outcome
            if outcome.status == "succeeded":
                value = await load(outcome, self.blobs, self.catalog.codecs)
                state.results[step_id] = (state.specs[step_id], value, state.steps[step_id].for_each is not None)
        state.stop_reason = final["stop"]

    def _result(
        self, request: RunRequest, state: RunState, final: Mapping[str, Any] | None, seconds: float
    ) -> ExecutionResult:
        status = _status(state)
        if final is None or "records" not in final:
            status = "waiting"
        publish = state.publisher.publish
        if status == "succeeded":
            publish("success")
        elif status == "cancelled":
            publish("cancelled", error=f"Cancelled: {state.stop_message}")
        elif status == "failed":
            publish("failure", error=_first_error(state))
        usage = RunUsage(
            steps=sum(outcome.status != "skipped" for outcome in state.outcomes.values()),
            attempts=state.attempts,
            seconds=seconds,
            amount=state.amount,
            tokens=state.tokens,
        )
        return ExecutionResult(
            ok=status == "succeeded",
            outputs=_outputs(state),
            errors=list(state.publisher.errors),
            status=status,
            step_outputs={step_id: _named(state, step_id) for step_id in state.graph.order if step_id in state.results},
            outcomes={step_id: state.outcomes[step_id] for step_id in state.graph.order if step_id in state.outcomes},
            run_id=request.context.run_id,
            plan_id=request.plan.id,
            usage=usage,
            interrupts=tuple(state.interrupts),
            tags=request.context.tags,
        )


def _mapping(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _start(state: RunState) -> dict[str, Any]:
    """What a run is started with: enough to know it again, and no input, since inputs may be secret."""
    refs = {step_id: spec.ref for step_id, spec in state.specs.items()}
    return {"v": RECORD_VERSION, "plan_id": state.plan.id, "refs": refs, "started_at": state.started_at}


def _answers(request: RunRequest) -> Command[Any] | None:
    """What a run that was started before is resumed with."""
    return Command(resume=dict(request.answers)) if request.answers else None


def _status(state: RunState) -> RunStatus:
    if state.stop_reason == "cancelled":
        return "cancelled"
    if state.stop_reason == "deadline":
        return "failed"
    failed = any(outcome.failed and not state.steps[step_id].optional for step_id, outcome in state.outcomes.items())
    return "failed" if failed else "succeeded"


def _first_error(state: RunState) -> str:
    if state.stop_reason == "deadline":
        return state.stop_message
    first = next((event for event in state.publisher.errors if event.phase == "step_failure"), None)
    if first is not None:
        return f"step {first.step_id!r}: {first.error}"
    failed = next(outcome for outcome in state.outcomes.values() if outcome.failed)
    return f"step {failed.step_id!r}: {failed.error_type}: {failed.error}"


def _named(state: RunState, step_id: str) -> dict[str, Any]:
    spec: ActionSpec
    spec, value, mapped = state.results[step_id]
    return named_outputs(value, single=spec.single_output, mapped=mapped, names=[slot.name for slot in spec.outputs])


def _outputs(state: RunState) -> dict[str, Any]:
    """Return what the plan declares, else the outputs of its last step; what could not be had is left out."""
    plan = state.plan
    if not plan.outputs:
        last = plan.steps[-1].id
        return _named(state, last) if last in state.results else {}
    outputs: dict[str, Any] = {}
    for name, value in plan.outputs.items():
        roots = {reference.root for _, reference in references_in(value)} - {"user"}
        if roots <= state.results.keys():
            try:
                outputs[name] = resolve(value, state.bindings, None, ("outputs", name))
            except BindingError as error:
                state.publisher.publish("failure", error=f"BindingError: {error}")
    return outputs


def _refusal(request: RunRequest, reason: str, validation: ValidationResult | None) -> ExecutionResult:
    event = ExecutionEvent("failure", error=reason, seq=1, run_id=request.context.run_id, time=datetime.now(UTC))
    return ExecutionResult(
        ok=False,
        outputs={},
        errors=[event],
        status="failed",
        run_id=request.context.run_id,
        plan_id=request.plan.id,
        validation=validation,
        tags=request.context.tags,
    )


async def _told(result: ExecutionResult, request: RunRequest) -> ExecutionResult:
    publisher = Publisher(request.context.run_id, request.on_event, 1)
    publisher.publish("failure", error=result.errors[0].error)
    await publisher.close()
    return replace(result, errors=publisher.errors)
