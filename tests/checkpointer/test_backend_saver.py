"""LangGraph over the seed's five methods: ours, and a class written to the original interface."""

import json
from collections.abc import AsyncGenerator, Callable
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from checkpointer import BackendSaver
from storage.errors import CorruptRecord, StorageUnavailable
from storage.seed_protocols import CheckpointerBackend
from storage.sessions import MemoryStorage
from tests.support.original_interfaces import PlainBackend

BACKENDS: dict[str, Callable[[], CheckpointerBackend]] = {"ours": MemoryStorage, "the original interface": PlainBackend}
CONFIG: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> CheckpointerBackend:
    return BACKENDS[request.param]()


async def test_langgraphs_suite_passes(backend: CheckpointerBackend) -> None:
    """All of it, the optional capabilities too."""

    @checkpointer_test(name=type(backend).__name__)
    async def factory() -> AsyncGenerator[BaseCheckpointSaver]:
        yield BackendSaver(backend)

    report = await validate(factory)

    assert [failure for result in report.results.values() for failure in result.failures] == []
    assert sum(result.tests_passed for result in report.results.values()) == 81


class State(TypedDict):
    said: Annotated[list[str], add]


def asking_graph(saver: BackendSaver) -> Any:
    """A graph with one question in its middle."""
    graph = StateGraph(State)
    graph.add_node("before", lambda state: {"said": ["before"]})
    graph.add_node("ask", lambda state: {"said": [interrupt("who?")]})
    graph.add_edge(START, "before")
    graph.add_edge("before", "ask")
    return graph.compile(checkpointer=saver)


async def test_a_run_is_resumed_by_a_saver_that_was_opened_later(backend: CheckpointerBackend) -> None:
    """Nothing but the backend carries it over."""
    await asking_graph(BackendSaver(backend)).ainvoke({"said": ["hello"]}, CONFIG)

    graph = asking_graph(BackendSaver(backend))
    assert (await graph.aget_state(CONFIG)).interrupts[0].value == "who?"
    assert await graph.ainvoke(Command(resume="me"), CONFIG) == {"said": ["hello", "before", "me"]}
    assert [state.values["said"][-1:] for state in [each async for each in graph.aget_state_history(CONFIG)]] == [
        ["me"],
        ["before"],
        ["hello"],
        [],
    ]


async def test_only_what_json_can_have_reaches_the_backend() -> None:
    """Whatever is in the state: bytes, sets, odd names."""
    backend = PlainBackend()
    saver = BackendSaver(backend)
    config: RunnableConfig = {"configurable": {"thread_id": "ü:\0/%", "checkpoint_ns": "a|b:1"}}
    checkpoint: Checkpoint = {**empty_checkpoint(), "channel_values": {"x": {b"\xff"}}, "channel_versions": {"x": "1"}}
    stored = await saver.aput(config, checkpoint, {"source": "loop"}, {"x": "1"})
    await saver.aput_writes(stored, [("x", {b"\0"})], "task")

    found = await BackendSaver(backend).aget_tuple(config)

    assert found is not None
    assert (found.checkpoint["channel_values"], found.pending_writes) == ({"x": {b"\xff"}}, [("task", "x", {b"\0"})])
    assert [each.config.get("configurable", {})["thread_id"] async for each in saver.alist(None)] == ["ü:\0/%"]
    assert all(name.isascii() and name.isprintable() for name in backend.checkpoints)


async def test_threads_of_others_in_the_same_backend_are_left_alone(backend: CheckpointerBackend) -> None:
    """Neither listed nor read nor deleted."""
    for name in ("t", "threads", "goalgraph"):
        await backend.put_checkpoint(name, "1", {"mine": True})
    saver = BackendSaver(backend)
    await asking_graph(saver).ainvoke({"said": []}, CONFIG)
    await saver.adelete_thread("t")

    assert [each async for each in saver.alist(None)] == []
    assert await saver.aget_tuple(CONFIG) is None
    assert await backend.get_checkpoint("t") is not None


async def test_a_backend_that_did_not_store_is_not_believed() -> None:
    """B3 of the seed: its `False` was ignored."""

    class Full(PlainBackend):
        async def put_checkpoint(self, *args: Any, **kwargs: Any) -> bool:
            return False

    with pytest.raises(StorageUnavailable, match="did not store"):
        await BackendSaver(Full()).aput(CONFIG, empty_checkpoint(), {}, {})


async def test_records_that_were_changed_are_corrupt_and_not_absent() -> None:
    """Also when they are something else altogether."""
    backend = PlainBackend()
    saver = BackendSaver(backend)
    await saver.aput(CONFIG, empty_checkpoint(), {}, {})
    (place,) = [name for name in backend.checkpoints if name.startswith("goalgraph:checkpoints")]
    for changed in ({"data": {"goalgraph": "&"}}, {"data": {"goalgraph": "AAAA"}}, {"data": {}}, {}):
        backend.checkpoints[place] = {own: json.dumps(changed) for own in backend.checkpoints[place]}

        with pytest.raises(CorruptRecord):
            await saver.aget_tuple(CONFIG)


async def test_a_fencing_token_is_refused() -> None:
    """Rather than ignored."""
    config: RunnableConfig = {"configurable": {"thread_id": "t", "__fencing_token": 1}}

    with pytest.raises(ValueError, match="cannot fence"):
        await BackendSaver(PlainBackend()).aput(config, empty_checkpoint(), {}, {})
