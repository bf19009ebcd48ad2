"""Other people's things as actions: LangGraph graphs and LangChain tools."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from langchain_core.tools import BaseTool
from langgraph.graph import StateGraph  # pyright: ignore[reportMissingTypeStubs]  # typed in its source, without a py.typed
from langgraph.pregel import Pregel  # pyright: ignore[reportMissingTypeStubs]  # typed in its source, without a py.typed
from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

from planner.catalog.decorator import DEFAULT_VERSION
from planner.catalog.signature import resolve_local, schema_slots
from planner.catalog.slot import JsonSchema, Slot
from planner.catalog.spec import ActionContext, ActionPolicy, ActionSpec, make_ref
from planner.catalog.typed_dicts import modern
from planner.errors import RegistrationError


def spec_from_graph(
    graph: object,
    *,
    name: str,
    version: str = DEFAULT_VERSION,
    description: str = "",
    tags: tuple[str, ...] = (),
    flow_id: str | None = None,
    policy: ActionPolicy | None = None,
) -> ActionSpec:
    """Make a flow of a LangGraph graph: a `StateGraph`, compiled or not, or an `@entrypoint`.

    Its slots come from its input and output schemas; it runs as one step, its own checkpoints nested under the step.

    Raises:
        RegistrationError: it is no graph, cannot be compiled, or was compiled with `checkpointer=False`.
    """
    flow = _compiled(graph, name)
    schema, result = _schemas(flow, name)
    inputs, single_input = _slots(schema, "input")
    outputs, single_output = _slots(result, "result")
    if not single_input and _takes_whole_state(flow):
        inputs = tuple(replace(slot, required=False) for slot in inputs)  # LangGraph lets any of them be absent
    if not single_output:
        outputs = tuple(replace(slot, required=False) for slot in outputs)
        result = {key: part for key, part in result.items() if key != "required"}

    async def call(values: Mapping[str, Any], context: ActionContext, resources: Mapping[str, Any]) -> Any:  # noqa: ARG001 -- the protocol of every action
        return await cast("Any", flow).ainvoke(values["input"] if single_input else dict(values))

    return ActionSpec(
        name=name,
        ref=make_ref("flow", name, version),
        kind="flow",
        version=version,
        inputs=inputs,
        outputs=outputs,
        description=description or _about(schema, graph),
        tags=tags,
        flow_id=flow_id,
        policy=policy or ActionPolicy(),
        call=call,
        returns=Slot("result", result),
        single_output=single_output,
    )


def spec_from_tool(tool: BaseTool) -> ActionSpec:
    """Make an action of a LangChain tool; its output `result` has no schema, since tools declare none.

    Raises:
        RegistrationError: the tool's name cannot be used in a plan.
    """
    declared = cast("Any", tool.tool_call_schema)  # without what the application injects
    schema = cast("JsonSchema", declared if isinstance(declared, dict) else declared.model_json_schema())
    name = re.sub(r"\s+", "_", tool.name)

    async def call(values: Mapping[str, Any], context: ActionContext, resources: Mapping[str, Any]) -> Any:  # noqa: ARG001 -- the protocol of every action
        return await tool.ainvoke(dict(values))

    return ActionSpec(
        name=name,
        ref=make_ref("action", name, DEFAULT_VERSION),
        kind="action",
        version=DEFAULT_VERSION,
        inputs=schema_slots(schema),
        outputs=(Slot("result"),),
        description=tool.description,
        tags=tuple(tool.tags or ()),
        call=call,
        returns=Slot("result"),
    )


def is_graph(value: object) -> bool:
    """Tell whether `value` is a LangGraph graph."""
    return isinstance(value, StateGraph | Pregel)


def _compiled(graph: object, name: str) -> Pregel[Any, Any, Any, Any]:
    flow = cast("Any", graph)
    if isinstance(graph, StateGraph):
        try:
            flow = flow.compile(name=name)
        except ValueError as error:
            raise RegistrationError(f"flow {name!r} cannot be compiled: {error}") from error
    if not isinstance(graph, StateGraph | Pregel):
        kind = type(graph).__name__
        raise RegistrationError(f"flow {name!r} is a {kind}; give a StateGraph, a compiled graph or an @entrypoint")
    if flow.checkpointer is False:
        raise RegistrationError(
            f"flow {name!r} was compiled with checkpointer=False, so it could not be resumed inside a run; "
            "compile it without the checkpointer argument"
        )
    return cast("Pregel[Any, Any, Any, Any]", flow)


def _schemas(flow: Pregel[Any, Any, Any, Any], name: str) -> tuple[JsonSchema, JsonSchema]:
    """Return the schemas of what a graph takes and gives."""
    builder = getattr(flow, "builder", None)
    try:
        if isinstance(builder, StateGraph):
            kinds = (modern(builder.input_schema), modern(builder.output_schema))  # pyright: ignore[reportUnknownMemberType]  # generic over any state
            return TypeAdapter(kinds[0]).json_schema(), TypeAdapter(kinds[1]).json_schema(mode="serialization")
        return flow.get_input_jsonschema(), flow.get_output_jsonschema()
    except (PydanticUserError, PydanticSchemaGenerationError) as error:
        first = str(error).splitlines()[0]
        raise RegistrationError(
            f"flow {name!r}: its state has no JSON Schema ({first}); annotate the keys that callers give and get with "
            "plain types, or give the StateGraph an input_schema and an output_schema"
        ) from error


def _takes_whole_state(flow: Pregel[Any, Any, Any, Any]) -> bool:
    builder: Any = getattr(flow, "builder", None)
    return builder is not None and builder.input_schema is builder.state_schema


def _slots(schema: JsonSchema, alone: str) -> tuple[tuple[Slot, ...], bool]:
    """Return a slot for each property, or one slot called `alone` for a schema that is no object."""
    if resolve_local(schema).get("properties"):
        return schema_slots(schema), False
    return (Slot(alone, schema),), True


def _about(schema: JsonSchema, graph: object) -> str:
    bound = getattr(graph, "builder", graph)
    text = schema.get("description") or inspect.getdoc(getattr(bound, "state_schema", None)) or ""
    return " ".join(str(text).split("\n\n", 1)[0].split())
