"""Questions of flows and actions: several at once or one after the other, and runs that are stopped while they wait."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy, interrupt
from pydantic import AfterValidator, BaseModel, SecretStr
from typing_extensions import TypedDict

from planner.catalog import ActionContext, action
from planner.context import RequestIdentity
from planner.errors import InvalidAnswer, NobodyToAsk, UnknownQuestion
from planner.execution.people import check_answer, expired
from tests.support.running import Runner, make_plan


class State(TypedDict, total=False):
    topic: str
    answer: str


def _asking() -> Any:
    def ask(state: State) -> State:
        return {"answer": interrupt({"ask": state.get("topic")})}

    return StateGraph(State).add_node("ask", ask).add_edge(START, "ask")


def _runner(*actions: Any, saver: Any = None, **policy: Any) -> Runner:
    runner = Runner(*actions, saver=saver)
    runner.catalog.add_flow(_asking(), name="talk", **policy)
    return runner


_LOCAL = RequestIdentity()
TRAVELLER = RequestIdentity(roles=("travel",))
ONE = make_plan({"id": "f", "action": "talk", "inputs": {"topic": "one"}}, outputs={"a": "${f.answer}"})


async def test_an_answer_to_what_was_not_asked_is_refused() -> None:
    """LangGraph would hand it to the question that happens to be open."""
    runner = _runner(saver=InMemorySaver())
    with pytest.raises(UnknownQuestion, match="asks nothing"):
        await runner.run(ONE, answers={"made-up": "yes"})
    waiting = await runner.run(ONE)
    with pytest.raises(UnknownQuestion, match=waiting.interrupts[0].id):
        await runner.run(ONE, answers={"made-up": "yes"})
    result = await runner.run(ONE, answers={waiting.interrupts[0].id: "yes"})

    assert {"a": "yes"} == result.outputs


async def test_all_items_of_a_mapped_flow_ask_at_once() -> None:
    """One round for three questions."""
    runner = _runner(saver=InMemorySaver())
    plan = make_plan(
        {"id": "f", "action": "talk", "for_each": ["x", "y", "z"], "inputs": {"topic": "${item}"}},
        outputs={"all": "${f.answer}"},
    )
    waiting = await runner.run(plan)
    assert ["x", "y", "z"] == sorted(one.value["ask"] for one in waiting.interrupts)
    result = await runner.run(plan, answers={one.id: one.value["ask"].upper() for one in waiting.interrupts})

    assert {"all": ["X", "Y", "Z"]} == result.outputs


async def test_a_question_without_a_checkpointer_fails_the_step() -> None:
    """Nobody could ever answer it."""
    outcome = (await _runner().run(ONE)).outcomes["f"]

    assert ("failed", "NobodyToAsk") == (outcome.status, outcome.error_type)


async def test_a_failure_beside_a_question_ends_the_run_as_failed() -> None:
    """Nobody is asked for an answer that would be thrown away."""

    @action
    async def boom() -> int:
        raise ValueError("no")

    runner = _runner(boom, saver=InMemorySaver())
    plan = make_plan({"id": "f", "action": "talk", "inputs": {"topic": "one"}}, {"id": "b", "action": "boom"})
    result = await runner.run(plan)

    assert ("failed", ()) == (result.status, result.interrupts)
    assert ("skipped", "stopped") == (result.outcomes["f"].status, result.outcomes["f"].reason)
    assert "failed" == (await runner.run(plan)).status


async def test_a_run_that_is_cancelled_while_it_waits_ends_as_cancelled() -> None:
    """Also when it is asked for again."""
    started = asyncio.Event()

    @action
    async def hang() -> int:
        started.set()
        await asyncio.Event().wait()
        return 0

    runner = _runner(hang, saver=InMemorySaver())
    plan = make_plan({"id": "f", "action": "talk", "inputs": {"topic": "one"}}, {"id": "h", "action": "hang"})
    async with asyncio.timeout(20):
        run = asyncio.create_task(runner.run(plan))
        await started.wait()
        await runner.until("waiting")
        runner.executor.cancel("run-1")
        result = await run

    assert ("cancelled", "cancelled") == (result.status, (await runner.run(plan)).status)


async def test_a_flow_that_must_not_run_twice_may_ask() -> None:
    """It has checkpoints of its own, so going on is not running twice."""
    runner = _runner(saver=InMemorySaver(), idempotent="no")
    waiting = await runner.run(ONE)
    result = await runner.run(ONE, answers={waiting.interrupts[0].id: "yes"})

    assert {"a": "yes"} == result.outputs


async def test_a_question_of_a_flow_is_its_own() -> None:
    """It may be anything, so whatever is stored answers it."""
    (question,) = (await _runner(saver=InMemorySaver()).run(ONE)).interrupts

    assert ("interrupt", None, None, "f") == (question.kind, question.schema, question.deadline, question.step_id)
    assert {"any": ["thing"]} == check_answer(question, {"any": ("thing",)})
    with pytest.raises(InvalidAnswer, match="cannot be stored"):
        check_answer(question, object())


def _no_thirteen(seats: int) -> int:
    if seats == 13:
        raise ValueError("13 is no good")
    return seats


class Trip(BaseModel):
    day: date
    seats: Annotated[int, AfterValidator(_no_thirteen)] = 1


@action
async def book(ctx: ActionContext, to: str) -> str:
    trip = ctx.ask(f"When to {to}?", Trip, roles=["travel"], deadline=timedelta(days=1))
    return f"{to} on {trip.day:%d.%m.} for {trip.seats}"


@action
def book_in_thread(ctx: ActionContext, to: str) -> str:
    trip = ctx.ask(f"When to {to}?", Trip)
    return f"{to} on {trip.day:%d.%m.} for {trip.seats}"


@pytest.mark.parametrize("name", ["book", "book_in_thread"])
async def test_an_action_gets_an_answer_of_the_type_that_it_asked_for(name: str) -> None:
    """In the loop as in a thread; a person answers with JSON."""
    plan = make_plan({"id": "b", "action": name, "inputs": {"to": "Bern"}}, outputs={"said": "${b}"})
    runner = Runner(book, book_in_thread, saver=InMemorySaver(), identity=TRAVELLER)
    (question,) = (await runner.run(plan)).interrupts
    assert ("question", "When to Bern?", "b") == (question.kind, question.message, question.step_id)
    answer = check_answer(question, {"day": "2027-03-01", "seats": 2})
    result = await runner.run(plan, answers={question.id: answer})

    assert {"said": "Bern on 01.03. for 2"} == result.outputs


@pytest.mark.parametrize("answer", [None, "soon", {"day": "soon"}, {"day": "2027-03-01", "seats": "two"}], ids=str)
async def test_an_answer_that_does_not_fit_is_refused_by_name(answer: Any) -> None:
    """Before it is taken, so that another can be given."""
    plan = make_plan({"id": "b", "action": "book", "inputs": {"to": "Bern"}})
    runner = Runner(book, saver=InMemorySaver(), identity=TRAVELLER)
    (question,) = (await runner.run(plan)).interrupts
    with pytest.raises(InvalidAnswer, match=f"{question.id}.*(it|day|seats): "):
        check_answer(question, answer)
    with pytest.raises(InvalidAnswer, match=question.id):
        await runner.run(plan, answers={question.id: answer})
    result = await runner.run(plan, answers={question.id: {"day": "2027-03-01"}})

    assert "Bern on 01.03. for 1" == result.step_outputs["b"]["result"]


async def test_an_answer_that_only_the_type_refuses_fails_the_step() -> None:
    """A schema says less than a type may check, and only the action has the type."""
    plan = make_plan({"id": "b", "action": "book", "inputs": {"to": "Bern"}})
    runner = Runner(book, saver=InMemorySaver(), identity=TRAVELLER)
    (question,) = (await runner.run(plan)).interrupts
    answer = check_answer(question, {"day": "2027-03-01", "seats": 13})
    outcome = (await runner.run(plan, answers={question.id: answer})).outcomes["b"]

    assert ("failed", "InvalidAnswer") == (outcome.status, outcome.error_type)
    assert "the answer: seats: 13 is no good" in (outcome.error or "").replace("Value error, ", "")


async def test_questions_one_after_the_other_are_each_asked_once() -> None:
    """The action runs from its start each time, and only when it can go on."""
    ran: list[str] = []

    @action(idempotent="no", effect="external")
    async def talk(ctx: ActionContext, name: str) -> list[int]:
        ran.append(name)
        return [ctx.ask(f"{name} {number}", {"type": "integer"}) for number in range(3)]

    saver = InMemorySaver()
    plan = make_plan(
        {"id": "a", "action": "talk", "inputs": {"name": "a"}},
        {"id": "b", "action": "talk", "inputs": {"name": "b"}},
        outputs={"a": "${a}", "b": "${b}"},
    )
    result, told = await Runner(talk, saver=saver).run(plan), list[str]()
    while result.status == "waiting":
        question = max(result.interrupts, key=lambda one: one.message)
        told.append(question.message)
        result = await Runner(talk, saver=saver).run(plan, answers={question.id: len(told)})

    assert ["b 0", "b 1", "b 2", "a 0", "a 1", "a 2"] == told
    assert {"a": [4, 5, 6], "b": [1, 2, 3]} == result.outputs
    assert {"a": 4, "b": 4} == {name: ran.count(name) for name in "ab"}


async def test_an_answer_is_not_taken_for_that_of_the_next_question() -> None:
    """LangGraph does, when a process died and the same answer is given again to an item that has gone on to ask."""
    saver = InMemorySaver()

    @action
    async def talk(ctx: ActionContext, name: str) -> list[str]:
        return [ctx.ask(f"{name} {number}") for number in range(2)]

    plan = make_plan(
        {"id": "t", "action": "talk", "for_each": ["x", "y"], "inputs": {"name": "${item}"}}, outputs={"all": "${t}"}
    )
    first = {one.message: one.id for one in (await Runner(talk, saver=saver).run(plan)).interrupts}
    second = await Runner(talk, saver=saver).run(plan, answers={first["x 0"]: "x zero"})
    assert {"x 1", "y 0"} == {one.message for one in second.interrupts}
    _step_knows_only(saver, second.interrupts, first["x 0"])
    third = await Runner(talk, saver=saver).run(plan, answers={first["x 0"]: "x zero"})

    assert {"x 1", "y 0"} == {one.message for one in third.interrupts}


def _step_knows_only(saver: InMemorySaver, interrupts: Any, stale: str) -> None:
    """Make the step's own note of what its items ask older than theirs, as when the process died between the two."""
    for writes in saver.writes.values():
        for key, (task_id, channel, value, path) in list(writes.items()):
            if channel == "__interrupt__":
                held = saver.serde.loads_typed(value)
                if len(held) == len(interrupts):
                    held = [type(held[0])(value=one.value, id=stale) for one in held]
                    writes[key] = (task_id, channel, saver.serde.dumps_typed(held), path)


async def test_another_attempt_gets_the_same_answers() -> None:
    """A person is not asked again because something else failed."""

    @action(retry=RetryPolicy(max_attempts=3, initial_interval=0.01, jitter=False))
    async def talk(ctx: ActionContext) -> int:
        answer = ctx.ask("how many?", int)
        if ctx.attempt < 3:
            raise ConnectionError("again")
        return answer

    runner, plan = Runner(talk, saver=InMemorySaver()), make_plan({"id": "t", "action": "talk"}, outputs={"n": "${t}"})
    (question,) = (await runner.run(plan)).interrupts
    result = await runner.run(plan, answers={question.id: 7})

    assert ({"n": 7}, 3) == (result.outputs, result.outcomes["t"].attempts)


@pytest.mark.parametrize(
    ("options", "status", "error_type", "outputs"),
    [({"default": 3}, "succeeded", None, {"n": 3}), ({}, "failed", "AnswerTimeout", {})],
    ids=["default", "none"],
)
async def test_after_the_deadline_the_default_counts(
    options: dict[str, Any], status: str, error_type: str | None, outputs: dict[str, Any]
) -> None:
    """Without one the step fails, and is not tried again."""
    attempts: list[int] = []

    @action(retry=2)
    def talk(ctx: ActionContext) -> int:
        attempts.append(ctx.attempt)
        return ctx.ask("how many?", int, deadline=timedelta(microseconds=1), **options)

    runner, plan = Runner(talk, saver=InMemorySaver()), make_plan({"id": "t", "action": "talk"}, outputs={"n": "${t}"})
    (question,) = (await runner.run(plan)).interrupts
    answers = expired([question], datetime.now(UTC) + timedelta(hours=1))
    result = await runner.run(plan)

    outcome = result.outcomes["t"]
    assert (status, error_type, outputs) == (outcome.status, outcome.error_type, result.outputs)
    assert [1, 1] == attempts
    if "default" not in options:
        with pytest.raises(InvalidAnswer, match="nobody answered"):
            check_answer(question, answers[question.id])


async def test_no_secret_of_the_run_is_in_a_question_of_its_action() -> None:
    """Neither in what is asked, nor in what would count."""

    @action
    async def talk(ctx: ActionContext, key: SecretStr) -> int:
        secret = key.get_secret_value()
        return len(ctx.ask(f"use {secret}?", {"enum": [secret]}, default=secret))

    saver = InMemorySaver()
    plan = make_plan({"id": "t", "action": "talk", "inputs": {"key": "${user.key}"}})
    (question,) = (await Runner(talk, saver=saver).run(plan, user_inputs={"key": SecretStr("hunter2")})).interrupts

    assert "use <secret key>?" == question.message
    assert "hunter2" not in repr(question) + repr(await saver.aget_tuple({"configurable": {"thread_id": "run-1"}}))


@pytest.mark.parametrize(
    ("schema", "default", "error_type"),
    [({"type": "wrong"}, 1, "TypeError"), (asyncio.Event, 1, "TypeError"), (int, "many", "InvalidAnswer")],
    ids=["no schema", "no such type", "default"],
)
async def test_a_question_that_makes_no_sense_fails_its_step(schema: Any, default: Any, error_type: str) -> None:
    """Nobody is asked."""

    @action
    async def talk(ctx: ActionContext) -> int:
        return ctx.ask("what?", schema, default=default)

    outcome = (await Runner(talk, saver=InMemorySaver()).run(make_plan({"id": "t", "action": "talk"}))).outcomes["t"]

    assert ("failed", error_type) == (outcome.status, outcome.error_type)


async def test_an_action_that_asks_without_a_checkpointer_fails() -> None:
    """Nobody could ever answer it."""
    outcome = (await Runner(book).run(make_plan({"id": "b", "action": "book", "inputs": {"to": "Bern"}}))).outcomes["b"]

    assert ("failed", "NobodyToAsk") == (outcome.status, outcome.error_type)
    with pytest.raises(NobodyToAsk, match="'x'"):
        ActionContext(
            run_id="r", step_id="x", attempt=1, idempotency_key="k", identity=_LOCAL, on_report=lambda *_: None
        ).ask("?")
