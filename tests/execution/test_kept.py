"""A later attempt of a run that failed: what succeeded is kept while it holds, and the rest runs."""

from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from planner.catalog import ActionCatalog, ActionContext, action
from planner.execution import StepOutcome
from planner.execution.kept import kept_from
from planner.limits import Limits
from storage.memory import MemoryBlobStore
from tests.support.ledger import Crash
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
