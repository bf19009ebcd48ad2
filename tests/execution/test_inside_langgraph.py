"""A planner used inside somebody's LangGraph node leaves that graph's thread alone."""

from typing import Any

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from planner.catalog import action
from tests.support.running import Runner, make_plan


class State(TypedDict):
    number: int


async def test_a_run_inside_a_node_has_a_thread_of_its_own() -> None:
    """With the same saver: the outer thread holds the outer graph only, and both can be resumed."""

    @action
    async def add(a: int) -> int:
        return a + 1

    saver = InMemorySaver()
    plan = make_plan({"id": "s", "action": "add", "inputs": {"a": "${user.n}"}}, outputs={"n": "${s}"})
    runner = Runner(add, saver=saver)

    async def node(state: State, config: RunnableConfig) -> State:
        result = await runner.run(plan, "inner", user_inputs={"n": state["number"]})
        return {"number": result.outputs["n"]}

    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    compiled = graph.compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "outer"}}

    assert {"number": 6} == await compiled.ainvoke({"number": 5}, config)
    assert {"outer", "inner"} == set(saver.storage)
    assert {"number": 6} == (await compiled.aget_state(config)).values
    outer = [found async for found in saver.alist(config)]
    assert all(found.config.get("configurable", {})["checkpoint_ns"] == "" for found in outer)
    assert all("s" not in found.checkpoint["channel_values"] for found in outer)


async def test_the_outer_graph_s_callbacks_are_not_told_of_the_run() -> None:
    """It runs in a context of its own: neither its thread nor its tracing is the caller's."""
    names: list[str] = []

    class Listener(AsyncCallbackHandler):
        async def on_chain_start(self, *_: Any, **facts: Any) -> None:
            names.append(facts.get("name") or "")

    @action
    async def add(a: int) -> int:
        return a + 1

    runner = Runner(add, saver=InMemorySaver())
    plan = make_plan({"id": "s", "action": "add", "inputs": {"a": 1}})

    async def node(state: State) -> State:
        return {"number": (await runner.run(plan, "inner")).outputs["result"]}

    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    answer = await graph.compile().ainvoke({"number": 5}, {"callbacks": [Listener()]})

    assert {"number": 2} == answer
    assert "node" in names
    assert "goalgraph_run" not in names
