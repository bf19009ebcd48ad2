"""A later attempt of a run that failed: what succeeded is kept while it holds, and the rest runs."""

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from planner.catalog import ActionCatalog, ActionContext, action
from planner.execution import StepOutcome
from planner.execution.kept import kept_from
from planner.limits import Limits
from storage.memory import MemoryBlobStore
from tests.support.ledger import Crash, cancelled_at_once, statuses, step
from tests.support.running import Runner, make_plan


class World:
    """Actions that can be mended between two attempts, and what they were called with."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.keys: list[str] = []
        self.broken = True
        self.saver = InMemorySaver()
        self.blobs = MemoryBlobStore()

    def runner(self, **options: Any) -> Runner:
        def restore(name: str) -> None:
            self.calls.append(f"undo {name}")

        @action
        async def load(name: str) -> str:
            self.calls.append(f"load {name}")
            return name * 3

        @action(undo=restore)
        async def book(name: str, ctx: ActionContext) -> str:
            self.calls.append(f"book {name}")
            self.keys.append(ctx.idempotency_key)
            return name

        @action
        async def fail(text: str) -> str:
            self.calls.append(f"fail {text}")
            if self.broken:
                raise RuntimeError("no")
            return text

        @action
        async def each(text: str) -> str:
            self.calls.append(f"each {text}")
            if self.broken and text == "b":
                raise RuntimeError("no")
            return text.upper()

        return Runner(load, book, fail, each, saver=self.saver, blobs=self.blobs, **options)

    async def kept(self) -> dict[str, StepOutcome]:
        found = await self.saver.aget_tuple({"configurable": {"thread_id": "run-1", "checkpoint_ns": ""}})
        assert found is not None
        self.calls.clear()
        return kept_from(found.checkpoint["channel_values"]["__end__"])


PLAN = make_plan(
    {"id": "a", "action": "load", "inputs": {"name": "${user.name}"}},
    {"id": "b", "action": "book", "inputs": {"name": "${a}"}},
    {"id": "f", "action": "fail", "inputs": {"text": "${b}"}},
)


async def test_a_later_attempt_keeps_what_succeeded_and_calls_the_rest() -> None:
    """In the same thread; nothing of it is called before a step that is kept."""
    world = World()
    first = await world.runner().run(PLAN, user_inputs={"name": "x"}, on_failure="keep")
    kept = await world.kept()
    world.broken = False
    runner = world.runner()
    second = await runner.run(PLAN, user_inputs={"name": "x"}, attempt=2, kept=kept)

    assert ("failed", "succeeded") == (first.status, second.status)
    assert ["fail xxx"] == world.calls
    assert {"result": "xxx"} == second.outputs
    told = {event.step_id: event.details for event in runner.events if event.phase == "step_success"}
    assert {"a": {"kept": True}, "b": {"kept": True}, "f": {}} == told
    assert 1 == second.usage.attempts


async def test_without_being_given_any_an_attempt_keeps_those_of_the_one_before() -> None:
    """They are in its thread."""
    world = World()
    await world.runner().run(PLAN, user_inputs={"name": "x"}, on_failure="keep")
    world.broken = False
    second = await world.runner().run(PLAN, user_inputs={"name": "x"}, attempt=2)

    assert (True, ["fail xxx", "fail xxx"]) == (second.ok, world.calls[2:])


async def test_what_has_other_inputs_or_another_action_runs_again() -> None:
    """And so does what depends on it, when its own inputs have changed by that."""
    world = World()
    await world.runner().run(PLAN, user_inputs={"name": "x"}, on_failure="keep")
    kept = await world.kept()
    await world.runner().run(PLAN, user_inputs={"name": "y"}, attempt=2, kept=kept)

    assert ["load y", "book yyy", "fail yyy"] == world.calls[:3]


async def test_what_was_undone_is_not_kept_and_gets_a_key_of_its_own() -> None:
    """With the old key, the other side would return what is no longer there."""
    world = World()
    await world.runner().run(PLAN, user_inputs={"name": "x"})
    kept = await world.kept()
    second = await world.runner().run(PLAN, user_inputs={"name": "x"}, attempt=2, kept=kept)
    third_kept = await world.kept()
    world.broken = False
    await world.runner().run(PLAN, user_inputs={"name": "x"}, attempt=3, kept=third_kept)

    assert {"a"} == kept.keys() == third_kept.keys()
    assert "undone" == second.compensation["b"].status
    assert ["run-1:0:b", "run-1:0.1:b", "run-1:0.2:b"] == world.keys


async def test_kept_steps_count_as_completed_when_the_next_attempt_fails() -> None:
    """They are undone as if they had run in it."""
    world = World()
    await world.runner().run(PLAN, user_inputs={"name": "x"}, on_failure="keep")
    second = await world.runner().run(PLAN, user_inputs={"name": "x"}, attempt=2, kept=await world.kept())

    assert ["fail xxx", "undo xxx"] == world.calls
    assert {"b": "undone"} == {step_id: undo.status for step_id, undo in second.compensation.items()}


async def test_large_values_are_kept_where_they_are() -> None:
    """Their parts in the blob store are loaded again."""
    world = World()
    limits = Limits(blob_bytes=10)
    name = "long-name-" * 10
    await world.runner(limits=limits).run(PLAN, user_inputs={"name": name}, on_failure="keep")
    kept = await world.kept()
    world.broken = False
    second = await world.runner(limits=limits).run(PLAN, user_inputs={"name": name}, attempt=2, kept=kept)

    assert kept["a"].blobs
    assert ([f"fail {name * 3}"], {"result": name * 3}) == (world.calls, second.outputs)


MAPPED = make_plan(
    {"id": "m", "action": "each", "for_each": "${user.texts}", "inputs": {"text": "${item}"}},
    {"id": "f", "action": "load", "inputs": {"name": "${m[0]}"}},
)


async def test_of_a_mapped_step_the_items_that_succeeded_are_kept() -> None:
    """Only those that failed, or had not begun, are called."""
    world = World()
    limits = Limits(window=1)
    first = await world.runner(limits=limits).run(MAPPED, user_inputs={"texts": ["a", "b", "c"]})
    kept = await world.kept()
    world.broken = False
    second = await world.runner(limits=limits).run(MAPPED, user_inputs={"texts": ["a", "b", "c"]}, attempt=2, kept=kept)

    assert ["succeeded", "failed", "skipped"] == [item.status for item in first.outcomes["m"].items]
    assert ["each b", "each c", "load A"] == world.calls
    assert {"result": ["A", "B", "C"]} == second.step_outputs["m"]


async def test_a_mapped_step_is_kept_as_a_whole_while_all_its_items_are_the_same() -> None:
    """One other item, and it runs again."""
    world = World()
    world.broken = False
    plan = make_plan(
        *[step.to_dict() for step in MAPPED.steps],
        {"id": "x", "action": "fail", "after": ["f"], "inputs": {"text": "t"}},
    )
    for texts, calls in ((["a", "c"], []), (["a", "d"], ["each a", "each d"])):
        world.saver, world.broken = InMemorySaver(), True
        await world.runner().run(plan, user_inputs={"texts": ["a", "c"]}, on_failure="keep")
        kept = await world.kept()
        world.broken = False
        again = await world.runner().run(plan, user_inputs={"texts": texts}, attempt=2, kept=kept)

        assert again.ok
        assert calls == [call for call in world.calls if call.startswith("each")]


async def test_a_later_attempt_that_is_resumed_goes_on_with_it() -> None:
    """The end of the attempt before it, which is still in the thread, is not taken for its own."""
    world = World()
    await world.runner().run(PLAN, user_inputs={"name": "x"}, on_failure="keep")
    kept = await world.kept()

    @action
    async def fail(text: str) -> str:
        raise Crash

    runner = world.runner()
    catalog = ActionCatalog([spec for spec in runner.catalog.list_actions() if spec.name != "fail"])
    try:
        await Runner(fail, catalog=catalog, saver=world.saver).run(
            PLAN, user_inputs={"name": "x"}, attempt=2, kept=kept
        )
    except Crash:
        world.calls.append("crash")
    world.broken = False
    resumed = await world.runner().run(PLAN, user_inputs={"name": "x"}, attempt=2, kept=kept)
    again = await world.runner().run(PLAN, user_inputs={"name": "x"})

    assert ["crash", "fail xxx"] == world.calls
    assert (True, True) == (resumed.ok, again.ok)


class Shop:
    """Effects over several attempts, and what was called; `down` names what fails, of undos `undo …`."""

    def __init__(self) -> None:
        self.saver = InMemorySaver()
        self.calls: list[str] = []
        self.down: set[str] = set()
        self.done = asyncio.Event()

    def runner(self) -> Runner:
        @action
        async def unpay(name: str) -> None:
            self.calls.append(f"undo {name}")
            if f"undo {name}" in self.down:
                raise RuntimeError("no")

        @action(effect="external", idempotent="no", undo="unpay")
        async def pay(name: str, uses: list[str] | None = None) -> str:
            self.calls.append(name)
            if name == "c":
                self.done.set()
            return name

        @action
        async def check(uses: Any = None, *, wait: bool = False) -> str:
            if wait and not self.done.is_set():
                await self.done.wait()
            if "check" in self.down:
                raise RuntimeError("no")
            return "ok"

        return Runner(unpay, pay, check, saver=self.saver)

    async def attempt(self, plan: Any, number: int, **options: Any) -> Any:
        self.calls.clear()
        return await self.runner().run(plan, attempt=number, **options)


SIBLINGS = make_plan(
    step("a", action="pay"),
    step("b", "a", action="pay"),
    step("c", "b", action="pay"),
    step("d", "c", action="pay", after=["x"]),
    {"id": "x", "action": "check", "inputs": {"wait": True}},
)


async def test_what_an_attempt_did_not_get_to_is_kept_for_the_one_after_it() -> None:
    """The second one stops before `c`, which is neither called again nor forgotten."""
    shop = Shop()
    shop.down = {"check"}
    await shop.attempt(SIBLINGS, 1, on_failure="keep")
    second = await shop.attempt(SIBLINGS, 2, on_failure="keep")
    assert ("skipped", []) == (second.outcomes["c"].status, shop.calls)
    shop.down.clear()
    third = await shop.attempt(SIBLINGS, 3)

    assert (True, ["d"]) == (third.ok, shop.calls)


async def test_what_an_attempt_did_not_get_to_is_undone_with_the_rest() -> None:
    """Also by the one after it, when that is stopped as well; and again after that it is no more."""
    shop = Shop()
    shop.down = {"check"}
    await shop.attempt(SIBLINGS, 1, on_failure="keep")
    shop.calls.clear()
    second = await cancelled_at_once(shop.runner(), SIBLINGS, attempt=2, on_cancel="keep")
    third = await cancelled_at_once(shop.runner(), SIBLINGS, attempt=3)
    fourth = await cancelled_at_once(shop.runner(), SIBLINGS, attempt=4)

    assert ("cancelled", "cancelled", {}) == (second.status, third.status, second.compensation)
    assert {"a": "undone", "b": "undone", "c": "undone"} == statuses(third)
    assert (["undo c", "undo b", "undo a"], {}) == (shop.calls, fourth.compensation)


PAID = make_plan(
    {"id": "m", "action": "pay", "for_each": ["x", "y"], "inputs": {"name": "${item}"}},
    {"id": "l", "action": "check", "inputs": {"uses": "${m}"}},
)


@pytest.mark.parametrize("policy", ["keep", "compensate"])
async def test_an_undo_that_failed_is_not_forgotten_by_an_attempt_that_does_not_get_there(policy: Any) -> None:
    """It is still reported, or made again; of a mapped step only for what is left."""
    shop = Shop()
    shop.down = {"check", "undo y"}
    first = await shop.attempt(PAID, 1)
    assert (["x", "y", "undo y", "undo x"], [1]) == (shop.calls, list(first.compensation["m"].items))
    shop.down = {"check"}
    shop.calls.clear()
    second = await cancelled_at_once(shop.runner(), PAID, attempt=2, on_cancel=policy)

    assert ({"m": "failed" if policy == "keep" else "undone"}, policy == "keep") == (
        statuses(second),
        second.compensation_failed,
    )
    assert ([] if policy == "keep" else ["undo y"]) == shop.calls


async def test_an_effect_whose_undo_failed_is_not_repeated_beside_what_is_left_of_it() -> None:
    """A person decides, when the action must not run twice; of the items, what is undone runs again."""
    shop = Shop()
    shop.down = {"check", "undo y"}
    await shop.attempt(PAID, 1)
    shop.down.clear()
    (question,) = (await shop.attempt(PAID, 2)).interrupts
    assert (["x"], "unknown", "m[1]") == (shop.calls, question.kind, question.value["call"])
    assert "in an earlier attempt" in question.message
    answers = {question.id: {"decision": "succeeded", "value": "y"}}
    result = await shop.attempt(PAID, 2, answers=answers)

    assert ({"result": ["x", "y"]}, []) == (result.step_outputs["m"], shop.calls)


@pytest.mark.parametrize("decision", ["retry", "failed"])
async def test_a_call_that_was_in_flight_is_not_repeated_by_a_later_attempt(decision: str) -> None:
    """Its effect may be there; after a retry it is not asked about once more."""
    begun, calls, saver = asyncio.Event(), list[int](), InMemorySaver()

    @action(effect="external", idempotent="no")
    async def pay(amount: int) -> int:
        calls.append(amount)
        begun.set()
        if len(calls) == 1:
            await asyncio.Event().wait()
        return amount

    plan = make_plan({"id": "p", "action": "pay", "inputs": {"amount": 5}})
    runner = Runner(pay, saver=saver)
    running = asyncio.create_task(runner.run(plan))
    await begun.wait()
    runner.executor.cancel("run-1")
    await running
    (question,) = (await Runner(pay, saver=saver).run(plan, attempt=2)).interrupts
    result = await Runner(pay, saver=saver).run(plan, attempt=2, answers={question.id: {"decision": decision}})

    assert ("unknown", 2 if decision == "retry" else 1) == (question.kind, len(calls))
    assert ("succeeded" if decision == "retry" else "failed") == result.outcomes["p"].status
