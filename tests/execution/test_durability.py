"""What survives: acknowledged outcomes, in the same order, without repeating or swapping a finished step."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy, interrupt

from planner.catalog import Semantic, action
from planner.errors import RunConflict
from planner.limits import Limits
from storage import MemoryBlobStore, StorageError
from tests.support.running import Runner, make_plan
from tests.support.savers import GatedSaver, step_of


class StoreDown(Exception):
    pass


async def test_a_dependent_waits_until_the_write_of_its_dependency_is_acknowledged() -> None:
    """LangGraph does not await `put_writes`; the next step and the success event do."""
    gate, began = asyncio.Event(), asyncio.Event()
    order: list[str] = []

    async def hold() -> None:
        began.set()
        await gate.wait()
        order.append("a acknowledged")

    @action
    async def note(name: str, after: Any = None) -> str:
        order.append(f"{name} runs")
        return name

    runner = Runner(note, saver=GatedSaver(lambda writes: hold() if step_of(writes) == "a" else None))
    plan = make_plan(
        {"id": "a", "action": "note", "inputs": {"name": "a"}},
        {"id": "b", "action": "note", "inputs": {"name": "b", "after": "${a}"}},
        {"id": "free", "action": "note", "inputs": {"name": "free"}},
    )
    async with asyncio.timeout(20):
        run = asyncio.create_task(runner.run(plan))
        await began.wait()
        await runner.until("step_success", "free")
        assert ["step_start"] == runner.phases("a")
        assert [] == runner.phases("b")
        gate.set()
        result = await run

    assert result.ok
    assert order.index("a acknowledged") < order.index("b runs")


async def test_a_refused_write_stops_the_run_before_another_step_starts() -> None:
    """The store's own error is raised; without it, the remaining steps would run after the first refusal."""
    ran: list[str] = []

    def refuse(writes: Sequence[tuple[str, Any]]) -> None:
        if step_of(writes) == "s1":
            raise StoreDown("fenced")

    @action
    async def note(name: str, after: Any = None) -> str:
        ran.append(name)
        return name

    runner = Runner(note, saver=GatedSaver(refuse))
    plan = make_plan(
        {"id": "s0", "action": "note", "inputs": {"name": "s0"}},
        *(
            {"id": f"s{at}", "action": "note", "inputs": {"name": f"s{at}", "after": f"${{s{at - 1}}}"}}
            for at in range(1, 8)
        ),
    )
    with pytest.raises(StoreDown, match="fenced"):
        await runner.run(plan)

    assert ["s0", "s1"] == ran
    assert "step_success" not in runner.phases("s1")


async def test_a_run_that_was_refused_a_write_goes_on_when_the_store_is_back() -> None:
    """What was acknowledged is not repeated; what was not, is."""
    ran: list[str] = []
    down = True

    def refuse(writes: Sequence[tuple[str, Any]]) -> None:
        if down and step_of(writes) == "b":
            raise StoreDown

    @action
    async def note(name: str, after: Any = None) -> str:
        ran.append(name)
        return name

    saver = GatedSaver(refuse)
    plan = make_plan(
        {"id": "a", "action": "note", "inputs": {"name": "a"}},
        {"id": "b", "action": "note", "inputs": {"name": "b", "after": "${a}"}},
        {"id": "c", "action": "note", "inputs": {"name": "c", "after": "${b}"}},
    )
    with pytest.raises(StoreDown):
        await Runner(note, saver=saver).run(plan)
    down = False
    result = await Runner(note, saver=saver).run(plan)

    assert result.ok
    assert ["a", "b", "b", "c"] == ran


async def test_a_finished_run_is_returned_again_without_calling_anything() -> None:
    """Outcomes and values come from the saver, failures too."""
    calls: list[int] = []

    @action
    async def once(a: int) -> int:
        calls.append(a)
        if a < 0:
            raise ValueError("negative")
        return a

    saver = InMemorySaver()
    good = make_plan({"id": "s", "action": "once", "inputs": {"a": 1}}, outputs={"x": "${s}"})
    bad = make_plan({"id": "s", "action": "once", "inputs": {"a": -1}})
    first = [await Runner(once, saver=saver).run(plan, name) for plan, name in ((good, "g"), (bad, "b"))]
    second = [await Runner(once, saver=saver).run(plan, name) for plan, name in ((good, "g"), (bad, "b"))]

    assert [1, -1] == calls
    assert [(one.ok, one.status, one.outputs) for one in first] == [(one.ok, one.status, one.outputs) for one in second]
    assert first[0].outcomes == second[0].outcomes


async def test_a_run_id_belongs_to_one_plan() -> None:
    """Another plan under the same id is a conflict, also while the first is under way."""
    release = asyncio.Event()

    @action
    async def wait(a: int) -> int:
        async with asyncio.timeout(10):
            await release.wait()
        return a

    runner = Runner(wait, saver=InMemorySaver())
    one, two = (make_plan({"id": "w", "action": "wait", "inputs": {"a": at}}) for at in (1, 2))
    running = asyncio.create_task(runner.run(one))
    await runner.until("step_start")
    with pytest.raises(RunConflict):
        await runner.run(two)
    joined = asyncio.create_task(runner.run(one))
    release.set()

    assert (await running) is (await joined)
    with pytest.raises(RunConflict):
        await runner.run(two)


async def test_resumed_steps_keep_the_version_they_were_planned_with() -> None:
    """A21: a newer version that is registered between two lives of a run does not take over half of it."""
    saver = GatedSaver(lambda writes: None)
    crash = True

    @action(name="f", version="1.0")
    async def old(a: Any) -> str:
        if crash and a == "second":
            raise _Crash
        return "old"

    @action(name="f", version="2.0")
    async def new(a: Any) -> str:
        return "new"

    plan = make_plan(
        {"id": "a", "action": "f", "inputs": {"a": "first"}},
        {"id": "b", "action": "f", "inputs": {"a": "second"}, "after": ["a"]},
        outputs={"both": ["${a}", "${b}"]},
    )
    with pytest.raises(_Crash):
        await Runner(old, saver=saver).run(plan)
    crash = False
    result = await Runner(old, new, saver=saver).run(plan)

    assert {"both": ["old", "old"]} == result.outputs


class _Crash(BaseException):
    """Ends the run like a bug of ours would; an `Exception` would be an outcome."""


async def test_only_unfinished_items_of_a_mapped_step_are_repeated() -> None:
    """Items are tasks of their own."""
    ran: list[int] = []
    crash = True

    @action(max_concurrency=1)
    async def work(a: int) -> int:
        ran.append(a)
        if crash and a == 3:
            raise _Crash
        return a * 10

    saver = InMemorySaver()
    plan = make_plan(
        {"id": "m", "action": "work", "for_each": [1, 2, 3, 4], "inputs": {"a": "${item}"}}, outputs={"all": "${m}"}
    )
    with pytest.raises(_Crash):
        await Runner(work, saver=saver).run(plan)
    crash = False
    result = await Runner(work, saver=saver).run(plan)

    assert {"all": [10, 20, 30, 40]} == result.outputs
    assert {1: 1, 2: 1, 3: 2, 4: 1} == Counter(ran)


async def test_an_action_that_must_not_run_twice_waits_for_a_decision_when_found_in_flight() -> None:
    """It wrote its intent first; nobody can say whether it took effect, so a person has to."""
    crash = True
    ran: list[int] = []

    @action(idempotent="no", effect="external")
    async def pay() -> int:
        ran.append(1)
        if crash:
            raise _Crash
        return 1

    saver = InMemorySaver()
    plan = make_plan({"id": "p", "action": "pay"})
    with pytest.raises(_Crash):
        await Runner(pay, saver=saver).run(plan)
    crash = False
    result = await Runner(pay, saver=saver).run(plan)

    assert [1] == ran
    assert ("waiting", ["unknown"]) == (result.status, [question.kind for question in result.interrupts])
    assert (await Runner(pay, saver=saver).run(plan, "fresh")).ok


class Talk(TypedDict, total=False):
    topic: str
    log: Annotated[list[str], lambda old, new: [*old, *new]]
    answer: str


def _flow(ran: list[str], *, ask: bool = False, crash: Any = None) -> Any:
    def first(state: Talk) -> Any:
        ran.append("first")
        return {"log": ["first"]}

    def second(state: Talk) -> Any:
        if crash and crash.pop():
            raise _Crash
        ran.append("second")
        answer = interrupt({"ask": state.get("topic", "")}) if ask else "done"
        return {"log": ["second"], "answer": answer}

    graph = StateGraph(Talk)
    graph.add_node("first", first)
    graph.add_node("second", second)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.add_edge("second", END)
    return graph


async def test_a_flow_goes_on_inside_itself_after_a_crash() -> None:
    """Its own checkpoints are nested under the step: the node that had finished does not run again."""
    ran: list[str] = []
    saver = InMemorySaver()
    crash = [False, True]
    plan = make_plan({"id": "f", "action": "talk", "inputs": {"topic": "x"}}, outputs={"log": "${f.log}"})
    first, second = Runner(saver=saver), Runner(saver=saver)
    for runner in (first, second):
        runner.catalog.add_flow(_flow(ran, crash=crash), name="talk")
    with pytest.raises(_Crash):
        await first.run(plan)
    result = await second.run(plan)

    assert {"log": ["first", "second"]} == result.outputs
    assert ["first", "second"] == ran


async def test_each_attempt_of_a_flow_is_resumed_as_the_attempt_it_was() -> None:
    """Retries inside a step would go back to the first attempt's checkpoints after a crash."""
    ran: list[str] = []
    fail, crash = [True], [True]

    def first(state: Talk) -> Any:
        ran.append("first")
        return {"log": ["first"]}

    def second(state: Talk) -> Any:
        if fail and fail.pop():
            raise ConnectionError("again")
        if crash and crash.pop():
            raise _Crash
        ran.append("second")
        return {"log": ["second"]}

    saver = InMemorySaver()
    plan = make_plan({"id": "f", "action": "talk", "inputs": {"topic": "x"}}, outputs={"log": "${f.log}"})
    lives = [Runner(saver=saver), Runner(saver=saver)]
    for runner in lives:
        graph = StateGraph(Talk)
        graph.add_node("first", first)
        graph.add_node("second", second)
        graph.add_edge(START, "first")
        graph.add_edge("first", "second")
        runner.catalog.add_flow(graph, name="talk", retry=RetryPolicy(max_attempts=3, initial_interval=0, jitter=False))
    with pytest.raises(_Crash):
        await lives[0].run(plan)
    result = await lives[1].run(plan)

    assert {"log": ["first", "second"]} == result.outputs
    assert ["first", "first", "second"] == ran
    assert 2 == result.outcomes["f"].attempts


async def test_what_a_flow_asks_makes_the_run_wait_and_its_answer_resumes_it() -> None:
    """`GraphInterrupt` is not a failure; answers go by interrupt id, so two flows may ask at once."""
    ran: list[str] = []
    runner = Runner(saver=InMemorySaver())
    runner.catalog.add_flow(_flow(ran, ask=True), name="talk")

    @action
    async def join(a: str, b: str) -> str:
        return f"{a}+{b}"

    runner.catalog.add(join)
    plan = make_plan(
        {"id": "f", "action": "talk", "inputs": {"topic": "one"}},
        {"id": "g", "action": "talk", "inputs": {"topic": "two"}},
        {"id": "j", "action": "join", "inputs": {"a": "${f.answer}", "b": "${g.answer}"}},
    )
    waiting = await runner.run(plan)

    assert ("waiting", False) == (waiting.status, waiting.ok)
    assert {"f": {"ask": "one"}, "g": {"ask": "two"}} == {one.step_id: one.value for one in waiting.interrupts}
    answers = {one.id: one.value["ask"].upper() for one in waiting.interrupts}
    result = await runner.run(plan, answers=answers)

    assert {"result": "ONE+TWO"} == result.outputs
    assert 2 == ran.count("first")


async def test_large_outputs_go_to_the_blob_store_and_come_back_on_resume() -> None:
    """The record keeps a reference; dependents get the value, also in another life of the run."""
    crash = True

    @action
    async def make() -> dict[str, Any]:
        return {"text": "x" * 5000}

    @action
    async def count(data: dict[str, Any]) -> int:
        if crash:
            raise _Crash
        return len(data["text"])

    saver, blobs = InMemorySaver(), MemoryBlobStore()
    limits = Limits(blob_bytes=1000)
    plan = make_plan({"id": "m", "action": "make"}, {"id": "c", "action": "count", "inputs": {"data": "${m.result}"}})
    with pytest.raises(_Crash):
        await Runner(make, count, saver=saver, limits=limits, blobs=blobs).run(plan)
    crash = False
    result = await Runner(make, count, saver=saver, limits=limits, blobs=blobs).run(plan)

    assert {"result": 5000} == result.outputs
    assert result.outcomes["m"].value is None
    assert 1 == len(result.outcomes["m"].blobs)
    assert {"text": "x" * 5000} == result.step_outputs["m"]["result"]


class Image:
    def __init__(self, pixels: bytes) -> None:
        self.pixels = pixels


async def test_a_value_with_a_codec_crosses_steps_and_lives() -> None:
    """Without a codec its type would be refused when the action is registered."""
    crash = True

    async def draw() -> Image:
        return Image(b"\x00\xff")

    async def size(image: Image) -> int:
        if crash:
            raise _Crash
        return len(image.pixels)

    saver, blobs = InMemorySaver(), MemoryBlobStore()
    plan = make_plan({"id": "d", "action": "draw"}, {"id": "s", "action": "size", "inputs": {"image": "${d}"}})

    def runner() -> Runner:
        made = Runner(saver=saver, blobs=blobs)
        made.catalog.add_codec(Image, lambda image: image.pixels, Image)
        made.catalog.add(draw)
        made.catalog.add(size)
        return made

    with pytest.raises(_Crash):
        await runner().run(plan)
    crash = False
    result = await runner().run(plan)

    assert {"result": 2} == result.outputs
    assert isinstance(result.step_outputs["d"]["result"], Image)


async def test_what_is_stored_of_a_run_holds_no_input_and_no_secret() -> None:
    """Inputs may be secret, so a run is started with references and times only."""
    from pydantic import SecretStr

    @action
    async def use(token: str, note: Annotated[str, Semantic("note")]) -> int:
        return len(token)

    saver = InMemorySaver()
    plan = make_plan({"id": "u", "action": "use", "inputs": {"token": "${user.token}", "note": "${user.note}"}})
    await Runner(use, saver=saver).run(plan, user_inputs={"token": SecretStr("hunter2"), "note": "private"})

    stored = repr([saver.storage, saver.writes, saver.blobs])
    assert "hunter2" not in stored
    assert "private" not in stored


@pytest.mark.parametrize("attempts", [1, 3])
async def test_a_blob_store_that_fails_is_not_a_failure_of_the_action(attempts: int) -> None:
    """The run breaks off without recording the step, and goes on when the store is back."""
    down = True

    class Store(MemoryBlobStore):
        async def put(self, content: bytes) -> str:
            if down:
                raise OSError("disk full")
            return await super().put(content)

    calls: list[int] = []

    @action(retry=RetryPolicy(max_attempts=attempts, initial_interval=0, jitter=False, retry_on=Exception))
    async def make() -> str:
        calls.append(1)
        return "x" * 2000

    saver, blobs, limits = InMemorySaver(), Store(), Limits(blob_bytes=1000)
    plan = make_plan({"id": "m", "action": "make"})
    with pytest.raises(StorageError, match="disk full"):
        await Runner(make, saver=saver, blobs=blobs, limits=limits).run(plan)
    assert 1 == len(calls)
    down = False
    result = await Runner(make, saver=saver, blobs=blobs, limits=limits).run(plan)

    assert {"result": "x" * 2000} == result.outputs
