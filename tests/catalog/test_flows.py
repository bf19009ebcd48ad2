"""LangGraph graphs as flows."""

from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel

from planner.catalog import ActionCatalog, ActionContext, ActionSpec
from planner.context import RequestIdentity
from planner.errors import DuplicateAction, RegistrationError

CONTEXT = ActionContext(
    run_id="r", step_id="s", attempt=1, idempotency_key="r:0:s", identity=RequestIdentity(), on_report=lambda *_: None
)


class Question(TypedDict):
    text: str


class Answer(TypedDict):
    answer: str


class Talk(Question, Answer):
    """Answers a question.

    And more words.
    """

    notes: object


def answer(state: Any) -> dict[str, str]:
    return {"answer": state["text"].upper()}


def triage(state_schema: type[Any] = Talk, **schemas: Any) -> StateGraph[Any, Any, Any, Any]:
    graph = StateGraph(state_schema, **schemas)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph


def add_flow(graph: object, **options: Any) -> ActionSpec:
    return ActionCatalog().add_flow(graph, name="triage", **options)


@pytest.mark.parametrize("compiled", [False, True])
def test_slots_come_from_the_graphs_own_schemas(*, compiled: bool) -> None:
    """What it takes is required; LangGraph leaves out of the output what no node gave."""
    graph = triage(input_schema=Question, output_schema=Answer)
    spec = add_flow(graph.compile() if compiled else graph)

    assert ("flow:triage@0.1.0", "flow") == (spec.ref, spec.kind)
    assert [("text", "string", True)] == [(slot.name, slot.type, slot.required) for slot in spec.inputs]
    assert [("answer", "string", False)] == [(slot.name, slot.type, slot.required) for slot in spec.outputs]
    assert "Answers a question." == spec.description


def test_a_graph_without_an_input_schema_may_be_given_any_part_of_its_state() -> None:
    """LangGraph does not ask for the keys that its nodes fill, so the planner must not either."""
    spec = add_flow(triage())

    assert {"answer": False, "notes": False, "text": False} == {slot.name: slot.required for slot in spec.inputs}


async def test_a_flow_is_called_with_its_inputs_by_name() -> None:
    """And returns the graph's output."""
    spec = add_flow(triage(input_schema=Question, output_schema=Answer))

    assert spec.call is not None
    assert {"answer": "WHY"} == await spec.call({"text": "why"}, CONTEXT, {})


async def test_an_entrypoint_of_one_value_has_one_input_and_one_result() -> None:
    """What is no object has no parts to name."""

    @entrypoint()
    async def double(value: int) -> int:
        return 2 * value

    spec = add_flow(double)

    assert [("input", "number")] == [(slot.name, slot.type) for slot in spec.inputs]
    assert [("result", "number")] == [(slot.name, slot.type) for slot in spec.outputs]
    assert spec.call is not None
    assert 6 == await spec.call({"input": 3}, CONTEXT, {})


async def test_an_entrypoint_of_a_model_has_an_input_for_each_field() -> None:
    """The model's own defaults hold."""

    class Order(BaseModel):
        item: str
        count: int = 1

    @entrypoint()
    async def place(order: Order) -> Order:
        return Order.model_validate(order)

    spec = add_flow(place)

    assert {"item": True, "count": False} == {slot.name: slot.required for slot in spec.inputs}
    assert ["item", "count"] == [slot.name for slot in spec.outputs]
    assert spec.call is not None
    assert Order(item="tea") == await spec.call({"item": "tea"}, CONTEXT, {})


def test_a_flow_takes_the_options_of_an_action() -> None:
    """The same rules for both."""
    options: dict[str, Any] = {"version": "3", "description": "Mine.", "tags": ["talk"], "flow_id": "support"}
    spec = add_flow(triage(), **options, effect="external", retry=2, timeout=5, roles=["agent"], approval=True)

    assert ("3", "Mine.", ("talk",), "support") == (spec.version, spec.description, spec.tags, spec.flow_id)
    assert ("external", 2, True) == (spec.policy.effect, spec.policy.retry.max_attempts, spec.policy.approval)


def test_a_graph_that_could_not_be_resumed_is_refused() -> None:
    """`checkpointer=False` keeps its checkpoints from being nested under the step."""
    with pytest.raises(RegistrationError, match="checkpointer=False"):
        add_flow(triage().compile(checkpointer=False))

    assert "triage" == add_flow(triage().compile(checkpointer=InMemorySaver())).name


@pytest.mark.parametrize(
    ("graph", "words"), [(StateGraph(Talk), "cannot be compiled"), (print, "give a StateGraph"), ({}, "is a dict")]
)
def test_what_is_no_graph_that_runs_is_refused(graph: object, words: str) -> None:
    """With the name of the flow."""
    with pytest.raises(RegistrationError, match=f"'triage'.*{words}"):
        add_flow(graph)


def test_a_state_without_a_schema_is_refused_with_the_way_out() -> None:
    """Only the keys that callers give and get need one."""

    class Socket: ...

    class Connection(TypedDict):
        text: str
        socket: Socket

    with pytest.raises(RegistrationError, match="input_schema"):
        add_flow(triage(Connection))

    assert ["text"] == [
        slot.name for slot in add_flow(triage(Connection, input_schema=Question, output_schema=Question)).inputs
    ]


def test_a_graph_may_be_added_without_a_name_of_its_own() -> None:
    """`add` names it as LangGraph does; one name is one action."""
    catalog = ActionCatalog()

    assert "support" == catalog.add(triage().compile(name="support")).name
    with pytest.raises(DuplicateAction):
        catalog.add(triage().compile(name="support"))
