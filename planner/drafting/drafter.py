"""From a goal to candidate plans: ask, read, check, mend, and ask again with what is wrong."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from planner.catalog import ActionCatalog, ActionSpec
from planner.drafting.examples import ExampleIndex, actions_of
from planner.drafting.guidance import Applicable, SkillRanking, SkillReader, applicable, guide
from planner.drafting.insertion import insert_producers
from planner.drafting.language_model import Completion, LanguageModel, Schema, Usage, completion_of, is_permanent
from planner.drafting.offer import Offer
from planner.drafting.prompts import Guidance, Round, messages
from planner.drafting.ranking import rank
from planner.drafting.request import Candidate, PlanningContext, PlanResult
from planner.drafting.restating import can_restate, restate
from planner.drafting.signatures import one_line
from planner.drafting.typed_search import TypedSearch
from planner.drafting.wire import asked_skills, from_wire
from planner.drafting.wire_schema import plan_schema
from planner.errors import ModelError, ModelRefused, ModelTruncated, ModelUnavailable
from planner.events import PlanningEvent, PlanningEventCallback, PlanningPhase, emit
from planner.limits import Limits
from planner.plan import CandidatePlan, Patch, ValidationIssue, ValidationResult, estimate, repair, validate
from planner.plan.issues import IssueKind
from planner.plan.reading.decode import Decoded, decode_plan
from skills import Problem, SkillRegistry, UnknownSkill

logger = logging.getLogger("goalgraph")

T = TypeVar("T")

LONG_ANSWER = 4_000
"""Characters; a longer one is decoded in a thread, since broken text can take seconds to mend."""

LONG_CHECK = 1_000
"""Steps times actions; more are checked in a thread, since each unknown name is compared with those of all actions."""

NEEDS_MODEL = (
    "a language model is needed to change a plan in words, and there is none; edit the plan itself, or name a model"
)


class Drafter:
    """Drafts plans with a language model, or by types without one.

    Args:
        catalog: What plans may be made of.
        llm: The model; without one, `context.wants` are reached by `TypedSearch`, and a goal in words is only drafted.
        limits: `tokens` bounds each draft, beside `context.max_tokens`.
        skills: What a model is told beside the goal; of those that ship, what is not replaced.
    """

    def __init__(
        self,
        catalog: ActionCatalog,
        llm: LanguageModel | None = None,
        limits: Limits | None = None,
        skills: SkillRegistry | None = None,
    ) -> None:
        self.catalog = catalog
        self.llm = llm
        self.limits = limits or Limits()
        self.skills = SkillRegistry() if skills is None else skills
        self.examples = ExampleIndex(catalog, self.skills, self.limits)
        self.ranking = SkillRanking(self.skills)
        self._schemas: dict[tuple[int, ...], tuple[tuple[ActionSpec, ...], Schema]] = {}

    async def draft(self, context: PlanningContext, on_event: PlanningEventCallback | None = None) -> PlanResult:
        """Draft plans for `context`; a model that fails gives a result that says so, not an exception."""
        try:
            skills = applicable(self.skills, context)
        except UnknownSkill as error:
            return await _Draft(self, context, on_event).refuse("unknown_skill", "skills", str(error))
        work = _Draft(self, skills.prefer(context, self.catalog), on_event, skills)
        if self.llm is not None:
            return await work.with_model(self.llm)
        if context.revises is not None:
            return await work.refuse("model_unavailable", "change", NEEDS_MODEL)
        return await work.without_model()

    def skill_problems(self) -> list[Problem]:
        """Return what is wrong with the skills: with their files, then with their worked examples. Reads examples."""
        return [*self.skills.problems, *self.examples.problems()]

    def schema(self, specs: Sequence[ActionSpec], *, skills: bool = False) -> Schema:
        """Return the wire schema for `specs`, the same object each time: a provider compiles each new one slowly."""
        key = (skills, *map(id, specs))  # not their references: a draft may still be under way when one is replaced
        if key not in self._schemas:
            if len(self._schemas) >= 32:
                self._schemas.pop(next(iter(self._schemas)))
            schema = plan_schema(specs, skills=skills)
            self._schemas[key] = (tuple(specs), schema)  # kept with it, so that no other gets their ids
        return self._schemas[key][1]


@dataclass(slots=True)
class _Attempt:
    """One answer of the model and what came of it."""

    answer: str
    validation: ValidationResult
    plan: CandidatePlan | None = None
    patches: tuple[Patch, ...] = ()
    accepted: bool = False
    problem: str = ""
    final: bool = False
    """Whether asking again cannot help."""


@dataclass(slots=True)
class _Line:
    """One of several candidates, and what it has been told so far."""

    number: int
    reader: SkillReader
    last: Round | None = None


@dataclass(slots=True)
class _Draft:
    """One draft: what was asked for, and what happened so far."""

    drafter: Drafter
    context: PlanningContext
    on_event: PlanningEventCallback | None
    skills: Applicable = field(default_factory=Applicable)
    guidance: Guidance = field(default_factory=Guidance)
    usage: Usage = field(default_factory=Usage)
    events: list[PlanningEvent] = field(default_factory=list[PlanningEvent])
    attempts: list[_Attempt] = field(default_factory=list[_Attempt])

    async def refuse(self, kind: IssueKind, place: str, message: str) -> PlanResult:
        """Draft nothing, and say why."""
        await self._tell("start", -1, message=self.context.goal)
        return await self._finish(ValidationResult.of([ValidationIssue(kind, "", place, message)]))

    async def without_model(self) -> PlanResult:
        """Plan by types, or draft from words."""
        search = TypedSearch(self.drafter.catalog, self.drafter.limits)
        result = await asyncio.to_thread(search.plan, self.context)  # the first search builds the catalog's indexes
        for event in result.events:
            await emit(self.on_event, event)
        return result

    async def with_model(self, llm: LanguageModel) -> PlanResult:
        """Draft all candidates at the same time and rank what they came to."""
        await self._tell("start", -1, message=self.context.goal)
        offer = await asyncio.to_thread(Offer, self.drafter.catalog, self.context)
        if offer.silent and (nothing := await self._restate(llm, offer)) is not None:
            return await self._finish(nothing)
        self.guidance = await asyncio.to_thread(self._guide, offer)
        count = max(1, self.context.candidates)
        if count == 1:
            await self._candidate(llm, offer, 0)
        else:
            async with asyncio.TaskGroup() as group:
                for number in range(count):
                    group.create_task(self._candidate(llm, offer, number))
        return await self._finish(None)

    def _guide(self, offer: Offer) -> Guidance:
        """Choose worked examples, offer what they call, and write down what skills say. Reads folders of skills."""
        drafter, skills, goal = self.drafter, self.skills, self.context.goal
        offered = (spec.name for spec in offer.first)
        examples = drafter.examples.choose(goal, skills.by_id, offer.allowed, offered)
        for news in drafter.examples.news():
            logger.warning("%s", news)
        offer.include(actions_of(examples))
        return guide(drafter.ranking, skills, goal, examples)

    async def _restate(self, llm: LanguageModel, offer: Offer) -> ValidationResult | None:
        """Search again with the goal in the words of the catalog; return why there is still nothing to offer."""
        if can_restate(offer.query) and offer.allowed and not self._spent():
            restated = await restate(llm, offer.query, list(offer.allowed.values()), self.drafter.skills)
            self.usage += restated.completion.usage
            await asyncio.to_thread(offer.look_for, restated.phrases)
            told = f"no action has the words of the goal; searched for {restated}: {len(offer.first)} actions"
            await self._tell("search", -1, message=told, raw_llm_output=restated.completion.text or None)
            if isinstance(restated.error, ModelUnavailable):
                return _failed(restated.error, restated.completion).validation
        return None if offer.first else _nothing_to_offer(offer)

    async def _candidate(self, llm: LanguageModel, offer: Offer, number: int) -> None:
        line = _Line(number, SkillReader(self.skills, self.guidance.opened))
        for iteration in range(self.context.max_iter):
            if self._spent():
                await self._tell("llm_response", iteration, number, message=f"not asked: {self._budget_text()}")
                return
            attempt = await self._attempt(llm, offer, line, iteration)
            self.attempts.append(attempt)
            if attempt.accepted or attempt.final or iteration + 1 == self.context.max_iter:
                return
            if attempt.plan is not None:
                widen = partial(offer.widen, attempt.plan, attempt.validation)
                if told := await _called(widen, apart=_is_long(attempt.plan, offer)):
                    await self._tell("search", iteration, number, message=told)
            line.last = _next_round(attempt, offer, line.last)

    async def _attempt(self, llm: LanguageModel, offer: Offer, line: _Line, iteration: int) -> _Attempt:
        """Ask, and judge the answer; a model that wants to read skills first is shown them and asked again."""
        while True:
            answer = await self._ask(llm, offer, line, iteration)
            if isinstance(answer, _Attempt):
                return answer
            asked, planned = await self._asked(answer)
            wanted = line.reader.wanted(asked, planned=planned)
            said = f"asked for skill {one_line(', '.join(wanted))}" if wanted else None
            await self._tell("llm_response", iteration, line.number, message=said, raw_llm_output=answer.text)
            if not wanted or self._spent():
                problem = line.reader.denied(asked, planned=planned)
                return await self._judge(answer, offer, line.number, iteration, problem)
            await asyncio.to_thread(line.reader.read, wanted)

    async def _ask(self, llm: LanguageModel, offer: Offer, line: _Line, iteration: int) -> Completion | _Attempt:
        """Call the model once; a call that failed is an attempt already."""
        number, guidance = line.number, self.guidance
        prompt = messages(
            self.context, offer.first, line.last, number=number, guidance=guidance, readings=line.reader.readings
        )
        await self._tell("llm_request", iteration, number, message=f"{len(offer.specs)} actions")
        try:
            completion = await llm.complete(prompt, self.drafter.schema(offer.specs, skills=guidance.can_ask))
        except ModelError as error:
            written = completion_of(error) or Completion(text="", usage=Usage(calls=1))
            self.usage += written.usage
            said = f"{error}; not asked again, for that would not help" if is_permanent(error) else str(error)
            await self._tell("llm_response", iteration, number, message=said, raw_llm_output=written.text or None)
            if not isinstance(error, ModelTruncated) or not written.text.strip():
                return _failed(error, written)
            return await self._judge(written, offer, number, iteration, str(error))
        self.usage += completion.usage
        return completion

    async def _asked(self, completion: Completion) -> tuple[list[str], bool]:
        """Return the skills that an answer names, and whether there are steps beside them."""
        if not self.guidance.can_ask:
            return [], True
        limits = self.drafter.limits
        parsed: Any = completion.parsed
        if isinstance(parsed, Mapping):
            return asked_skills(cast("Mapping[str, Any]", parsed), limits)
        ask = partial(asked_skills, completion.text, limits)
        return await _called(ask, apart=len(completion.text) > LONG_ANSWER)

    async def _judge(
        self, completion: Completion, offer: Offer, number: int, iteration: int, problem: str = ""
    ) -> _Attempt:
        """Read, check and mend an answer."""
        decoded = await self._decode(completion, offer)
        if decoded.plan is None:
            validation = ValidationResult.of(decoded.issues)
            await self._tell("validation", iteration, number, validation=validation)
            return _Attempt(completion.text, validation, patches=decoded.patches, problem=problem)
        plan, patches = decoded.plan, decoded.patches
        apart = _is_long(plan, offer)
        validation = await _called(partial(self._validate, plan, offer, decoded.issues), apart=apart)
        await self._tell("validation", iteration, number, plan_dict=plan.to_dict(), validation=validation)
        if not validation.ok:
            mended, changes = await _called(partial(self._mend, plan, validation, offer), apart=apart)
            if changes:
                plan, patches = mended, (*patches, *changes)
                validation = await _called(partial(self._validate, plan, offer, decoded.issues), apart=apart)
                reasons = "; ".join(patch.reason for patch in changes[:20])
                shown = plan.to_dict()
                await self._tell("repair", iteration, number, message=reasons, plan_dict=shown, validation=validation)
        accepted = validation.ok or (self.context.allow_partial_plans and validation.is_partial_ok())
        return _Attempt(completion.text, validation, plan, patches, accepted, problem)

    def _mend(
        self, plan: CandidatePlan, validation: ValidationResult, offer: Offer
    ) -> tuple[CandidatePlan, tuple[Patch, ...]]:
        """Mend slips, then fill inputs that only one thing can be meant for."""
        catalog = self.drafter.catalog
        keys = {*self.context.user_inputs, *self.context.external_slots}
        mended = repair(plan, validation.issues, catalog, user_keys=keys, actions=set(offer.allowed))
        left = self._validate(mended.plan, offer, ()).issues
        filled = insert_producers(mended.plan, left, catalog, self.context)
        return filled.plan, (*mended.patches, *filled.patches)

    async def _decode(self, completion: Completion, offer: Offer) -> Decoded:
        def reshape(data: dict[str, Any]) -> dict[str, Any]:
            return from_wire(data, offer.find, self.drafter.limits)

        limits = self.drafter.limits
        parsed: Any = completion.parsed
        if isinstance(parsed, Mapping):
            return decode_plan(cast("Mapping[str, Any]", parsed), limits, reshape=reshape)
        decode = partial(decode_plan, completion.text, limits, reshape=reshape)
        return await _called(decode, apart=len(completion.text) > LONG_ANSWER)

    def _validate(self, plan: CandidatePlan, offer: Offer, issues: Sequence[ValidationIssue]) -> ValidationResult:
        context = self.context
        found = validate(
            plan,
            self.drafter.catalog,
            context.user_inputs,
            external_slots=context.external_slots,
            flow_ids=context.flow_ids,
            identity=context.identity,
            limits=self.drafter.limits,
        )
        return ValidationResult.of([*issues, *offer.forbidden(plan), *found.issues], found.missing_user_bindings)

    async def _finish(self, nothing: ValidationResult | None) -> PlanResult:
        candidates = rank(self._candidate_of(attempt) for attempt in self.attempts if attempt.plan is not None)
        accepted = {attempt.plan.id for attempt in self.attempts if attempt.plan is not None and attempt.accepted}
        best = next((candidate for candidate in candidates if candidate.plan.id in accepted), None)
        validation = best.validation if best else self.attempts[-1].validation if self.attempts else nothing
        last = max((event.iteration for event in self.events), default=-1)
        shown = best.plan.to_dict() if best else None
        spent = f"{self._budget_text()}\n" if self._spent() else ""
        message = None if best else spent + _why(validation, "no model call was made")
        await self._tell(
            "success" if best else "failure", last, message=message, plan_dict=shown, validation=validation
        )
        return PlanResult(
            plan=best.plan if best else None,
            validation=validation,
            events=self.events,
            candidates=candidates,
            usage=self.usage,
        )

    def _candidate_of(self, attempt: _Attempt) -> Candidate:
        plan = cast("CandidatePlan", attempt.plan)
        sound = not attempt.validation.has_structural_errors
        expected = estimate(plan, self.drafter.catalog) if sound else None
        return Candidate(plan=plan, validation=attempt.validation, estimate=expected, patches=attempt.patches)

    def _spent(self) -> bool:
        return any(self.usage.tokens >= bound for bound in self._budgets())

    def _budgets(self) -> list[int]:
        return [bound for bound in (self.context.max_tokens, self.drafter.limits.tokens) if bound is not None]

    def _budget_text(self) -> str:
        bound = min(self._budgets(), default=0)
        return f"the {bound} tokens allowed for this draft are used up ({self.usage.tokens}); raise max_tokens"

    async def _tell(self, phase: PlanningPhase, iteration: int, candidate: int = 0, **facts: Any) -> None:
        event = PlanningEvent(phase, iteration, candidate=candidate, tokens=self.usage.tokens, **facts)
        self.events.append(event)
        await emit(self.on_event, event)


def _is_long(plan: CandidatePlan, offer: Offer) -> bool:
    return len(plan.steps) * len(offer.allowed) > LONG_CHECK


async def _called(call: Callable[[], T], *, apart: bool) -> T:
    """Return what `call` returns, called in a thread when it may take long: other drafts must not wait for it."""
    return await asyncio.to_thread(call) if apart else call()


def _failed(error: ModelError, written: Completion) -> _Attempt:
    kind = "model_unavailable" if isinstance(error, ModelUnavailable) else "undecodable"
    validation = ValidationResult.of([ValidationIssue(kind, "", "", str(error))])
    refused = "You declined to answer. The goal asks only for a plan as JSON; if a part cannot be done, leave it out."
    problem = refused if isinstance(error, ModelRefused) else ""
    return _Attempt(written.text, validation, problem=problem, final=is_permanent(error))


def _next_round(attempt: _Attempt, offer: Offer, last: Round | None) -> Round | None:
    """Gather what the next call is told; after a call that failed, what was known before still stands."""
    if attempt.plan is None and not attempt.answer.strip() and not attempt.problem:
        return last
    producers: Mapping[str, Any] = {}
    if attempt.plan is not None:
        producers = offer.producers(attempt.plan, attempt.validation)
    return Round(
        answer=attempt.answer,
        plan=attempt.plan,
        problem=attempt.problem,
        validation=None if attempt.plan is None and attempt.problem else attempt.validation,
        producers=producers,
        further=tuple(offer.further),
    )


def _nothing_to_offer(offer: Offer) -> ValidationResult:
    message = (
        "no action of the catalog is about this goal; add one, or say the goal in the words of their descriptions"
        if offer.allowed
        else "there is no action that this request may use; check the catalog, flow_ids, exclude_actions and the roles"
    )
    return ValidationResult.of([ValidationIssue("unknown_action", "", "goal", message)])


def _why(validation: ValidationResult | None, otherwise: str) -> str:
    return otherwise if validation is None or validation.ok else validation.summary()
