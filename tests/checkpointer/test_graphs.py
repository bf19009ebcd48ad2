"""The saver under real graphs."""

import operator
from typing import Annotated, Any, Literal, TypedDict
from uuid import uuid4

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Command, Send, interrupt

from checkpointer import DualWriteSaver
from checkpointer.saver import FENCE
from storage.errors import Fenced

DURABILITIES: list[Literal["sync", "async", "exit"]] = ["sync", "async", "exit"]


class State(TypedDict, total=False):
    seen: Annotated[list[str], operator.add]
    messages: Annotated[list[AnyMessage], add_messages]


def thread() -> Any:
    return {"configurable": {"thread_id": str(uuid4())}}


def chain(*names: str) -> StateGraph[State]:
    builder = StateGraph(State)
    for before, name in zip((START, *names), names, strict=False):

        async def node(state: State, name: str = name) -> State:
            return {"seen": [name], "messages": [AIMessage(name)]}

        builder.add_node(name, node)
        builder.add_edge(before, name)
    return builder


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_a_graph_ends_with_its_state_in_the_saver(saver: DualWriteSaver, durability: Any) -> None:
    graph, config = chain("a", "b", "c").compile(checkpointer=saver), thread()

    result = await graph.ainvoke({"messages": [HumanMessage("hi")]}, config, durability=durability)

    state = await graph.aget_state(config)
    assert ["a", "b", "c"] == state.values["seen"]
    assert result["messages"] == state.values["messages"]
    history = [snapshot async for snapshot in graph.aget_state_history(config)]
    assert (1 if durability == "exit" else 5) == len(history)


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_an_interrupt_waits_for_its_answer(saver: DualWriteSaver, durability: Any) -> None:
    asked: list[str] = []

    async def ask(state: State) -> State:
        asked.append("asked")
        return {"seen": [interrupt("name?")]}

    graph = chain("a").add_node("ask", ask).add_edge("a", "ask").compile(checkpointer=saver)
    config = thread()

    waiting = await graph.ainvoke({"seen": []}, config, durability=durability)
    assert "name?" == waiting["__interrupt__"][0].value
    assert ("ask",) == (await graph.aget_state(config)).next

    done = await graph.ainvoke(Command(resume="Ada"), config, durability=durability)
    assert ["a", "Ada"] == done["seen"]
    assert 2 == len(asked)


async def test_a_failed_superstep_goes_on_where_it_failed(saver: DualWriteSaver) -> None:
    calls: list[str] = []

    def node(name: str) -> Any:
        async def run(state: State) -> State:
            calls.append(name)
            if name == "bad" and calls.count("bad") == 1:
                raise ValueError("once")
            return {"seen": [name]}

        return run

    builder = StateGraph(State)
    for name in ("good", "bad"):
        builder.add_node(name, node(name))
        builder.add_edge(START, name)
    graph, config = builder.compile(checkpointer=saver), thread()

    with pytest.raises(ValueError, match="once"):
        await graph.ainvoke({"seen": []}, config)
    result = await graph.ainvoke(None, config)

    assert {"good", "bad"} == set(result["seen"])
    assert (1, 2) == (calls.count("good"), calls.count("bad"))


async def test_state_is_updated_forked_and_travelled_back_to(saver: DualWriteSaver) -> None:
    graph, config = chain("a", "b").compile(checkpointer=saver), thread()
    await graph.ainvoke({"seen": []}, config)
    history = [snapshot async for snapshot in graph.aget_state_history(config)]
    after_a = next(snapshot for snapshot in history if snapshot.next == ("b",))

    forked = await graph.aupdate_state(after_a.config, {"seen": ["edited"]})
    result = await graph.ainvoke(None, forked)

    assert ["a", "edited", "b"] == result["seen"]
    assert ["a", "b"] == (await graph.aget_state(history[0].config)).values["seen"]


async def test_subgraphs_keep_their_own_checkpoints(saver: DualWriteSaver) -> None:
    async def ask(state: State) -> State:
        return {"seen": [interrupt("inner?")]}

    inner = chain("x").add_node("ask", ask).add_edge("x", "ask").compile(checkpointer=True)
    graph = chain("a").add_node("inner", inner).add_edge("a", "inner").compile(checkpointer=saver)
    config = thread()

    await graph.ainvoke({"seen": []}, config)
    state = await graph.aget_state(config, subgraphs=True)
    inner_state: Any = state.tasks[0].state  # a snapshot, because of `subgraphs`
    assert ["a", "x"] == inner_state.values["seen"]

    done = await graph.ainvoke(Command(resume="yes"), config)
    assert "yes" == done["seen"][-1]
    spaces = {one.config.get("configurable", {})["checkpoint_ns"] async for one in saver.alist(config)}
    assert 2 == len(spaces)


async def test_a_fencing_token_reaches_nested_graphs(saver: DualWriteSaver) -> None:
    tokens: list[int] = []

    async def look(state: State) -> State:
        tokens.append(get_config().get("configurable", {})[FENCE])
        return {"seen": ["looked"]}

    inner = StateGraph(State).add_node("look", look).add_edge(START, "look").add_edge("look", END).compile()
    graph = StateGraph(State).add_node("inner", inner).add_edge(START, "inner").compile(checkpointer=saver)
    config = thread()
    config["configurable"][FENCE] = 5

    await graph.ainvoke({"seen": []}, config)
    assert [5] == tokens

    config["configurable"][FENCE] = 4
    with pytest.raises(Fenced):
        await graph.ainvoke({"seen": []}, config, durability="sync")
    assert not any([FENCE in (one.metadata or {}) async for one in saver.alist(config)])


async def test_sends_fan_out_and_are_resumed(saver: DualWriteSaver) -> None:
    def fan(state: State) -> list[Send]:
        return [Send("work", {"seen": [str(number)]}) for number in range(5)]

    async def work(state: State) -> State:
        return {"seen": [f"done {state.get('seen', ['?'])[0]}"]}

    builder = StateGraph(State).add_node("work", work).add_conditional_edges(START, fan, ["work"])
    graph, config = builder.compile(checkpointer=saver), thread()

    result = await graph.ainvoke({"seen": []}, config)

    assert [f"done {number}" for number in range(5)] == result["seen"]
    assert result["seen"] == (await graph.aget_state(config)).values["seen"]
