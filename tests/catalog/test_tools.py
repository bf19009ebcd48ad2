"""LangChain tools as actions."""

from typing import Annotated, Any

import pytest
from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool, tool
from pydantic import BaseModel, Field

from planner.catalog import ActionCatalog, ActionContext, ActionSpec
from planner.context import RequestIdentity

CONTEXT = ActionContext(
    run_id="r", step_id="s", attempt=1, idempotency_key="r:0:s", identity=RequestIdentity(), on_report=lambda *_: None
)


async def call(spec: ActionSpec, inputs: dict[str, Any]) -> Any:
    assert spec.call is not None
    return await spec.call(inputs, CONTEXT, {})


@tool
def forecast(city: str, days: Annotated[int, "how far ahead"] = 3) -> str:
    """Tell the weather."""
    return f"{city} {days}"


@tool
async def aforecast(city: str) -> str:
    """Tell the weather later."""
    return city


async def test_a_tool_is_an_action_with_the_inputs_it_declares() -> None:
    """Its output has no schema: tools declare none."""
    spec = ActionCatalog().add(forecast)

    assert ("forecast", "action", "Tell the weather.") == (spec.name, spec.kind, spec.description)
    assert [("city", "string", True), ("days", "number", False)] == [
        (slot.name, slot.type, slot.required) for slot in spec.inputs
    ]
    assert [("result", {})] == [(slot.name, slot.schema) for slot in spec.outputs]
    assert 3 == spec.inputs[1].default
    assert "Oslo 2" == await call(spec, {"city": "Oslo", "days": 2})


async def test_an_async_tool_is_awaited() -> None:
    """By its own coroutine."""
    assert "Oslo" == await call(ActionCatalog().add(aforecast), {"city": "Oslo"})


async def test_a_tool_with_a_json_schema_has_its_properties_as_inputs() -> None:
    """As MCP adapters make them."""
    schema = {"type": "object", "properties": {"q": {"type": "string"}, "n": {"type": "integer"}}, "required": ["q"]}

    async def find(**arguments: Any) -> str:
        return str(arguments)

    made = StructuredTool(name="find it", description="Finds.", args_schema=schema, coroutine=find, tags=["web"])
    spec = ActionCatalog().add(made)

    assert ("find_it", ("web",)) == (spec.name, spec.tags)
    assert [("q", True), ("n", False)] == [(slot.name, slot.required) for slot in spec.inputs]
    assert "{'q': 'rain'}" == await call(spec, {"q": "rain"})


def test_what_the_application_injects_is_no_input() -> None:
    """A plan must not be able to choose whose account is charged."""

    @tool
    def pay(amount: float, account: Annotated[str, InjectedToolArg]) -> str:
        """Pay."""
        return f"{amount} {account}"

    assert ["amount"] == [slot.name for slot in ActionCatalog().add(pay).inputs]


@pytest.mark.parametrize("name", ["a/b", "", "a:b"])
def test_a_tool_whose_name_no_plan_could_use_is_refused(name: str) -> None:
    """Spaces become underscores; anything else would break references."""
    with pytest.raises(ValueError, match="no action name"):
        ActionCatalog().add(StructuredTool(name=name, description="d", args_schema={"type": "object"}, func=print))


async def test_a_tool_class_with_nested_models_keeps_their_definitions() -> None:
    """Each slot can be checked alone."""

    class Place(BaseModel):
        name: str = Field(description="a city")

    class Arguments(BaseModel):
        places: list[Place]

    class Compare(BaseTool):
        name: str = "compare"
        description: str = "Compares places."
        args_schema: Any = Arguments

        def _run(self, places: list[Place]) -> str:
            return " ".join(place.name for place in places)

    spec = ActionCatalog().add(Compare())

    assert "Place" in spec.inputs[0].schema["$defs"]
    assert spec.inputs[0].validator.is_valid([{"name": "Oslo"}])
    assert not spec.inputs[0].validator.is_valid([{"name": 1}])
    assert "Oslo Bergen" == await call(spec, {"places": [{"name": "Oslo"}, {"name": "Bergen"}]})
