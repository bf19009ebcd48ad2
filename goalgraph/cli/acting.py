"""`goalgraph runs cancel`, `answer`, `decide`, `resume` and `retry`: what people do with runs of any process.

With a catalog a command also goes on with the run, in this process, unless another one does.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypedDict

from pydantic import SecretStr
from rich.console import Console
from rich.text import Text

from goalgraph.application import open_planner
from goalgraph.cli.answering import Given, choose, read_answer
from goalgraph.cli.catalogs import load_catalog
from goalgraph.cli.console import people
from goalgraph.cli.exits import CommandError, Ending, Exit
from goalgraph.cli.place import told
from goalgraph.cli.request import RESOURCES, Request, read_value, without_model
from goalgraph.cli.running import exit_code, interrupt_means, look_again, result_document
from goalgraph.cli.runs import Where, absent, anything_there, resolve
from goalgraph.cli.show import show_result
from goalgraph.cli.skills import skills_to_plan_by
from goalgraph.live import RunProgress, shown_until
from goalgraph.live.questions import question_details
from goalgraph.live.view import utc_now
from planner.catalog import ActionCatalog
from planner.errors import MissingSecrets, NotWaiting, PlannerError, RunEnded, RunNotEnded, RunNotFound
from planner.execution import ExecutionResult, RunRecord
from planner.plan import CandidatePlan
from planner.runs import BackgroundExecutionHandle, RunService
from planner.runs.access import open_questions, owner_of
from planner.runs.following import as_told
from planner.runs.people import not_asking
from skills import SkillRegistry


class Decision(TypedDict):
    """What was said about a step."""

    step: str
    decision: Literal["retry", "succeeded", "failed"]
    value: str | None
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """One run, and what it takes to do something with it."""

    service: RunService
    run_id: str
    where: Where
    here: bool
    """Whether this process has the run's actions, and goes on with it."""
    console: Console

    async def record(self) -> RunRecord:
        """Return the run's record as it is now."""
        return await self.service.record(self.run_id, self.where.identity)


Act = Callable[[Acting], Awaitable[str | BackgroundExecutionHandle]]
"""Does something with a run, and returns it in a word, or the handle that goes on with it."""


def cancel(run: str, where: Where, catalog: str | None) -> Ending:
    """Ask a run to stop."""

    async def act(acting: Acting) -> str:
        done = await acting.service.cancel(acting.run_id, where.identity)
        return "cancelled" if done == "ended" else "asked to stop"

    return _act(run, where, catalog, act)


def answer(run: str, where: Where, catalog: str | None, given: Mapping[str, Any]) -> Ending:
    """Answer a question of a run."""
    said = Given(**given)

    async def act(acting: Acting) -> str:
        record = await acting.record()
        questions = open_questions(record)
        if not questions:
            raise not_asking(record)
        question, text = choose(questions, said)
        how = where.how_to_answer(record.id)(question)
        acting.console.print(question_details(question, how, utc_now()), soft_wrap=True)
        value = read_answer(question, text, said, acting.console)
        await acting.service.answer(acting.run_id, value, question=question.id, identity=where.identity)
        return "answered"

    return _act(run, where, catalog, act)


def decide(run: str, where: Where, catalog: str | None, said: Decision) -> Ending:
    """Say what became of a step."""
    if said["value"] is not None and said["decision"] != "succeeded":
        raise CommandError(f"--value is what a step returned that succeeded; it does not go with {said['decision']}")
    if said["error"] and said["decision"] != "failed":
        raise CommandError(f"--error is why a step failed; it does not go with {said['decision']}")
    value = None if said["value"] is None else read_value(said["value"])

    async def act(acting: Acting) -> str:
        await acting.service.decide(
            *(acting.run_id, said["step"], said["decision"]), value=value, error=said["error"], identity=where.identity
        )
        return "decided"

    return _act(run, where, catalog, act)


def resume(run: str, where: Where, catalog: str | None, given: list[str] | None, inputs: Path | None) -> Ending:
    """Go on with a run here."""
    if catalog is None:
        raise CommandError(
            "to go on with a run here takes its actions: --catalog WHERE; "
            "a worker or an open planner that has them takes it up by itself"
        )

    async def act(acting: Acting) -> str:
        record = await acting.record()
        if record.ended:
            raise RunEnded(record.id, record.status)
        if record.status == "waiting" and len(open_questions(record)) == len(record.questions) > 0:
            raise CommandError(f"run {record.id!r} {_waits(record, where)}")
        return "resumed"

    return _act(run, where, catalog, act, _given(given, inputs))


def retry(
    run: str, where: Where, catalog: str | None, given: list[str] | None, inputs: Path | None, *, undo: bool
) -> Ending:
    """Begin a run anew, or only its undos that failed."""

    async def act(acting: Acting) -> BackgroundExecutionHandle:
        return await acting.service.retry(acting.run_id, undo_again=undo, identity=where.identity)

    return _act(run, where, catalog, act, _given(given, inputs))


def _given(given: list[str] | None, inputs: Path | None) -> dict[str, Any]:
    return Request(subject="", given=tuple(given or ()), inputs_file=inputs).inputs()


def _act(run: str, where: Where, catalog: str | None, act: Act, given: Mapping[str, Any] | None = None) -> Ending:
    """Find the run, do what is asked, and go on with the run or say who will."""
    settings = where.settings()
    if not anything_there(settings):
        raise absent(run)
    actions = ActionCatalog() if catalog is None else load_catalog(catalog)

    async def go() -> Ending:
        opening = open_planner(
            catalog=actions,
            settings=without_model(settings) if catalog is None else settings,
            resources=RESOURCES,
            skills=SkillRegistry() if catalog is None else skills_to_plan_by(settings),
            policy=replace(settings.runs, advance=catalog is not None, slots=0),  # of all runs only this one
            secrets=_secrets(given or {}),
        )
        async with told(opening, settings) as planner:
            service = planner.service.run_service
            run_id = await resolve(service.access.runs, run, where)
            acting = Acting(service=service, run_id=run_id, where=where, here=catalog is not None, console=people())
            return await _acted(acting, act)

    try:
        return asyncio.run(go())
    except RunNotFound as error:
        raise absent(error.run_id) from None
    except PlannerError as error:
        raise _said(error, where, run) from None


def _said(error: PlannerError, where: Where, run: str) -> CommandError:
    """Return what is said of an error, and what to do."""
    match error:
        case MissingSecrets(names=names):
            lacking = " ".join(f"--input {name}=…" for name in names)
            told = f"the run needs what its record does not hold: {lacking} (or --inputs FILE.json)"
            return CommandError(told, Exit.MISSING_INPUT)
        case RunEnded(status="succeeded"):
            return CommandError(f"run {error.run_id!r} has ended (succeeded); see it: {where.command('show', run)}")
        case RunEnded():
            return CommandError(f"{error}: {where.command('retry', run)}")
        case _:
            return CommandError(f"{error}; see {where.command('show', run)}")


def _instead(error: NotWaiting | RunNotEnded, record: RunRecord, where: Where) -> CommandError:
    """Return what is said of a run that takes no such thing now, and what it takes instead."""
    here = where.how_to_go_on(record)
    if record.ended:
        return CommandError(f"{error}; see {where.command('show', record.id)}")
    if open_questions(record):
        return CommandError(f"{error}; it {_waits(record, where)}")
    if isinstance(error, NotWaiting):
        return CommandError(f"{error}; if nobody goes on with it, do it here: {here}")
    if record.status == "pending":
        return CommandError(
            f"run {record.id!r} has not ended (pending): it is to be taken up; go on with it here: {here}"
        )
    live = f"{where.command('cancel', record.id)}, or {where.command('watch', record.id)}"
    return CommandError(f"{error}: {live}; if nobody goes on with it, do it here: {here}")


def _waits(record: RunRecord, where: Where) -> str:
    """Say for whom a run waits, and what to type to answer it."""
    how = where.how_to_answer(record.id)
    return "waits for a person: " + "; ".join(f"{one.step_id}: {how(one)}" for one in open_questions(record))


def _secrets(given: Mapping[str, Any]) -> Callable[[str, RunRecord], SecretStr | None]:
    """Return what gives the inputs of a run that its record does not hold: as options say, or asked for."""

    def give(name: str, _: RunRecord) -> SecretStr | None:
        if name in given:
            return given[name] if not isinstance(given[name], str) else SecretStr(given[name])
        if not sys.stdin.isatty():
            return None
        return SecretStr(people().input(Text.assemble((name, "bold"), ": "), password=True))

    return give


async def _acted(acting: Acting, act: Act) -> Ending:
    service, before = acting.service, await acting.record()
    if acting.here and not await service.access.is_ours(acting.run_id):
        raise CommandError("the catalog has not all actions of the run; name the one it was started with")
    owner = owner_of(before)
    progress = RunProgress(CandidatePlan.from_dict(before.plan), acting.console, acting.where.how_to_answer(before.id))
    if owner.user_id == acting.where.identity.user_id:
        progress.catch_up([as_told(one) for one in await service.access.runs.events(before.id, owner)])
    try:
        done = await act(acting)
    except (NotWaiting, RunNotEnded) as error:
        raise _instead(error, await acting.record(), acting.where) from None
    record = await acting.record() if not isinstance(done, str) else await service.access.any(acting.run_id)
    if record is None:
        raise RunNotFound(acting.run_id)
    if not acting.here or record.ended:
        return _left(acting, record, done if isinstance(done, str) else "begun anew")
    result = done.wait() if not isinstance(done, str) else _advanced(service, record)

    def stop() -> None:
        """Stop the run, as `goalgraph run` does; one that another process advances is only left."""
        if record.id in service.access.executor.active:
            service.stop(record.id, owner)
        else:
            signal.raise_signal(signal.SIGINT)

    with progress, interrupt_means(stop) as interrupted:
        found = await shown_until(
            lambda after: service.events(record.id, owner, after=after), progress, result, progress.run
        )
    show_result(found, acting.console)
    acting.console.print(look_again(found.run_id, acting.where.place))
    return Ending(code=exit_code(found, interrupted=bool(interrupted)), document=result_document(found))


async def _advanced(service: RunService, record: RunRecord) -> ExecutionResult:
    return await service.driver.settle(await service.access.request(record), patient=True)


def _left(acting: Acting, record: RunRecord, done: str) -> Ending:
    """Say what was done, and who goes on with the run."""
    console, where = acting.console, acting.where
    questions = open_questions(record)
    console.print(Text.assemble(("✓ ", "green"), done))
    if not record.ended and not questions:
        console.print(
            Text(
                "a worker or an open planner that has the run's actions goes on with it; "
                f"to do it here: {where.how_to_go_on(record)}; to see it: {where.command('watch', record.id)}",
                style="dim",
            ),
            soft_wrap=True,
        )
    for question in questions:
        console.print(question_details(question, where.how_to_answer(record.id)(question), utc_now()), soft_wrap=True)
    document = {
        "ok": True,
        "run_id": record.id,
        "done": done,
        "status": record.status,
        "questions": [question.id for question in questions],
    }
    return Ending(document=document)
