"""The facade: the seed's signatures, what is filled in from where, and what is never run."""

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from goalgraph import (
    ActionCatalog,
    CandidatePlan,
    NodeContext,
    NodePlanner,
    PlannerService,
    RequestIdentity,
    RunOrigin,
    action,
    open_planner,
)
from planner.drafting import ScriptedModel
from planner.events import ExecutionEvent

CALLED: list[str] = []


@action
async def greet(name: str) -> str:
    """Greet somebody by name."""
    CALLED.append(name)
    return f"hello {name}"


@action(roles=["admin"])
async def wipe() -> str:
    """Delete everything."""
    CALLED.append("wipe")
    return "gone"


GREET: dict[str, Any] = {"steps": [{"id": "g", "action": "greet", "inputs": {"name": "${user.name}"}}]}
WIPE: dict[str, Any] = {"steps": [{"id": "w", "action": "wipe"}]}


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLED.clear()


def _planner(*answers: Any, context: Any = None) -> NodePlanner:
    return NodePlanner(PlannerService(ActionCatalog([greet, wipe]), ScriptedModel(list(answers))), context)


SEED: dict[str, dict[str, Any]] = {
    "plan": {"user_inputs": None, "external_slots": None, "flow_ids": None, "instruction": None, "allow_partial": True,
             "preferred_external_keys": None, "memory_snippets": None, "artifact_snippets": None, "on_event": None},
    "plan_with_context": {"on_event": None},
    "parse_inputs": {"instruction": None},
    "execute": {"user_inputs": None, "on_event": None, "identity": None, "visibility": "normal", "importance": "normal",
                "session_id": None, "agent_id": None, "app_id": None, "tags": None, "origin": None},
    "plan_and_execute": {"allow_partial": False, "planning_events_cb": None, "execution_events_cb": None,
                         "visibility": "normal", "importance": "normal", "origin": None, "tags": None},
    "execute_background": {"on_complete": None, "exec_id": None, "user_inputs": None, "on_event": None, "origin": None},
    "plan_and_execute_background": {"allow_partial": False, "on_complete": None, "exec_id": None, "tags": None},
}  # fmt: skip


@pytest.mark.parametrize("method", SEED)
def test_the_methods_have_the_seed_s_keywords_and_defaults(method: str) -> None:
    """Added keywords come after."""
    parameters = inspect.signature(getattr(_planner(), method)).parameters

    assert SEED[method] == {name: parameters[name].default for name in SEED[method]}


def test_the_service_calls_execution_execute_plan() -> None:
    """The seed's service and node planner differ in that name only."""
    service, planner = PlannerService(ActionCatalog()), _planner()

    assert inspect.signature(service.execute_plan) == inspect.signature(planner.execute)


async def test_allow_partial_returns_the_plan_and_never_runs_it() -> None:
    """A11: the second value is `None`, and the first says what is missing."""
    planned, result = await _planner(GREET).plan_and_execute(goal="greet", allow_partial=True)

    assert result is None
    assert CALLED == []
    assert planned.plan is not None
    assert {"name": ["g.name"]} == planned.missing_inputs


async def test_without_allow_partial_there_is_no_plan_and_the_model_was_told_what_is_missing() -> None:
    """A13: the missing key is in the second prompt."""
    model = ScriptedModel([GREET, GREET, GREET])
    planner = NodePlanner(PlannerService(ActionCatalog([greet]), model))
    planned, result = await planner.plan_and_execute(goal="greet")

    assert (None, None) == (planned.plan, result)
    assert "name" in model.calls[1].messages[-1].content


async def test_what_the_call_does_not_say_comes_from_the_node() -> None:
    """And what it says wins; any object with the attributes will do."""
    node = SimpleNamespace(
        identity=RequestIdentity(user_id="ann"),
        session_id="s",
        agent_id="a",
        app_id=None,
        graph_id="g",
        node_id="n",
        run_id=None,
    )
    service = PlannerService(ActionCatalog([greet]))
    requests: list[Any] = []
    original = service.executor.execute

    async def spy(request: Any, **options: Any) -> Any:
        requests.append(request)
        return await original(request, **options)

    service.executor.execute = spy  # looks at what arrives, then goes on
    planner = NodePlanner(service, node)
    plan = CandidatePlan.from_dict(GREET)
    await planner.execute(plan, user_inputs={"name": "x"}, session_id="mine")
    await NodePlanner(service).execute(plan, user_inputs={"name": "x"})

    first, second = (request.context for request in requests)
    assert ("ann", "mine", "a", RunOrigin.agent) == (
        first.identity.user_id,
        first.session_id,
        first.agent_id,
        first.origin,
    )
    assert ("graph:g", "node:n") == first.tags
    assert ("local", RunOrigin.user, ()) == (second.identity.user_id, second.origin, second.tags)


async def test_an_action_outside_the_caller_s_roles_is_neither_offered_nor_run() -> None:
    """The plan is refused even when the model writes it, or somebody hands it over."""
    planner = _planner(WIPE, WIPE, WIPE)
    planned, result = await planner.plan_and_execute(goal="wipe everything")
    handed = await planner.execute(CandidatePlan.from_dict(WIPE))
    admin = await planner.execute(CandidatePlan.from_dict(WIPE), identity=RequestIdentity(roles=["admin"]))

    assert (None, None) == (planned.plan, result)
    assert handed.validation is not None
    assert ["forbidden_action"] == [issue.kind for issue in handed.validation.issues]
    assert admin.ok
    assert CALLED == ["wipe"]


class State(TypedDict):
    name: str


async def test_a_planner_can_be_made_inside_any_node(subtests: pytest.Subtests) -> None:
    """From the config or the runtime that LangGraph hands to the node."""
    seen: list[NodePlanner] = []
    service = PlannerService(ActionCatalog([greet]), checkpointer=(saver := InMemorySaver()))

    async def by_config(state: State, config: RunnableConfig) -> State:
        planner = NodePlanner.from_config(service, config)
        seen.append(planner)
        result = await planner.execute(CandidatePlan.from_dict(GREET), user_inputs={"name": state["name"]})
        return {"name": result.outputs["result"]}

    async def by_runtime(state: State, runtime: Runtime[Any]) -> State:
        seen.append(NodePlanner.from_config(service, runtime))
        return state

    graph = StateGraph(State)
    graph.add_node("by_config", by_config)
    graph.add_node("by_runtime", by_runtime)
    graph.add_edge(START, "by_config")
    graph.add_edge("by_config", "by_runtime")
    config: RunnableConfig = {
        "configurable": {"thread_id": "t1", "user_id": "ann", "roles": ["admin"], "agent_id": "a"}
    }
    answer = await graph.compile(checkpointer=saver).ainvoke({"name": "bob"}, config)

    assert {"name": "hello bob"} == answer
    with subtests.test("config"):
        caller = seen[0].caller
        assert ("ann", ("admin",), "t1", "a", "by_config") == (
            caller.identity.user_id, caller.identity.roles, caller.session_id, caller.agent_id, caller.node_id,
        )  # fmt: skip
    with subtests.test("runtime"):
        assert ("t1", "by_runtime") == (seen[1].caller.session_id, seen[1].caller.node_id)


async def test_a_planner_does_not_plan_the_flow_that_asks() -> None:
    """A17: the graph that the node belongs to is not offered."""
    catalog = ActionCatalog([greet])
    graph = StateGraph(State)
    graph.add_node("n", lambda state: state)
    graph.add_edge(START, "n")
    catalog.add_flow(graph, name="outer")
    model = ScriptedModel([GREET])
    await NodePlanner(PlannerService(catalog, model), NodeContext(graph_id="outer")).plan(goal="greet")

    prompt = "".join(message.content for message in model.calls[0].messages)
    assert "greet(" in prompt
    assert "outer" not in prompt


async def test_open_planner_closes_and_can_be_awaited(tmp_path: Path) -> None:
    """Both forms give the same planner; closing it waits for nobody, and leaves nothing under way."""
    async with open_planner(actions=[greet]) as planner:
        plan = CandidatePlan.from_dict(GREET)
        assert (await planner.execute(plan, user_inputs={"name": "ann"})).ok

    opened = await open_planner(actions=[greet], catalog=ActionCatalog([wipe]), data_dir=tmp_path / "data")
    events: list[ExecutionEvent] = []
    handle = await opened.execute_background(plan, user_inputs={"name": "bob"}, on_event=events.append)
    await opened.aclose()

    assert handle.done()


async def test_a_typed_goal_needs_no_model() -> None:
    """`wants` names the outputs; what is missing is asked for."""
    async with open_planner(actions=[greet]) as planner:
        planned, result = await planner.plan_and_execute(goal="greet", user_inputs={"name": "ann"}, wants=["greet"])

    assert planned.ok
    assert result is not None
    assert {"greet": "hello ann"} == result.outputs


async def test_a_plan_that_was_only_guessed_from_words_runs_only_when_the_caller_says_so() -> None:
    """Without a model and without wants, the words of the goal give a draft."""
    async with open_planner(actions=[greet]) as planner:
        drafted, not_run = await planner.plan_and_execute(goal="Greet somebody by name", user_inputs={"name": "ann"})
        called = list(CALLED)
        _, run = await planner.plan_and_execute(
            goal="Greet somebody by name", user_inputs={"name": "ann"}, run_drafts=True
        )

    assert (True, True, None, []) == (drafted.draft, drafted.ok, not_run, called)
    assert run is not None
    assert (True, ["ann"]) == (run.ok, CALLED)


def test_a_config_names_its_graph_and_run() -> None:
    """They become tags of the runs."""
    config: RunnableConfig = {
        "configurable": {"thread_id": "t"},
        "metadata": {"graph_id": "g", "langgraph_node": "n", "run_id": "r"},
    }
    planner = NodePlanner.from_config(PlannerService(ActionCatalog()), config)

    assert ["graph:g", "node:n", "run:r"] == planner.caller.tags


@pytest.mark.parametrize("method", ["plan_and_execute", "plan_and_execute_background"])
@pytest.mark.parametrize(("on_failure", "expected"), [("keep", []), ("compensate", ["ann"])])
async def test_what_becomes_of_a_failure_is_said_where_a_goal_is_planned_and_run(
    method: str, on_failure: str, expected: list[str]
) -> None:
    undone: list[str] = []

    def take_back(name: str) -> None:
        undone.append(name)

    @action(effect="write", undo=take_back)
    async def note(name: str) -> str:
        return name

    @action
    async def send(text: str) -> str:
        raise ValueError("no")

    steps = [
        {"id": "n", "action": "note", "inputs": {"name": "${user.name}"}},
        {"id": "s", "action": "send", "inputs": {"text": "${n.result}"}},
    ]
    service = PlannerService(ActionCatalog([note, send]), ScriptedModel([{"steps": steps}]))
    call: Any = getattr(service, method)
    _, run = await call(goal="send a note", user_inputs={"name": "ann"}, on_failure=on_failure)
    result = run if method == "plan_and_execute" else await run.wait()

    assert ("failed", expected) == (result.status, undone)
    await service.aclose()
