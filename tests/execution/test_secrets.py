"""Secrets among the inputs stay out of everything that is stored or told."""

from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from pydantic import BaseModel, SecretStr
from typing_extensions import TypedDict

from planner.catalog import ActionContext, action
from planner.execution.secrets import secrets_in
from tests.support.running import Runner, make_plan

TOKEN = "s3\ncr'et"


class Box(BaseModel):
    key: SecretStr


@dataclass
class Case:
    box: Box


def test_secrets_are_found_in_models_dataclasses_and_containers() -> None:
    """However deep, also in what contains itself."""
    loop: list[Any] = [{"a": (Case(Box(key=SecretStr("one"))),)}, {SecretStr("two")}]
    loop.append(loop)

    assert {"one": "x", "two": "x"} == secrets_in({"x": loop, "plain": "three"})


async def test_errors_and_reports_hold_no_secret_however_it_is_written() -> None:
    """As it is, as `repr` writes it, and at the place where a long message is cut."""

    @action
    async def leak(token: str, ctx: ActionContext) -> int:
        ctx.report(0.5, f"using {token}")
        raise ValueError(f"{token} {token!r} " + "x" * 3980 + token)

    runner = Runner(leak)
    plan = make_plan({"id": "l", "action": "leak", "inputs": {"token": "${user.token}"}})
    result = await runner.run(plan, user_inputs={"token": SecretStr(TOKEN)})

    told = repr(runner.events) + repr(result)
    assert "cr'et" not in told
    assert "cr\\'et" not in told
    assert ["using <secret token>"] == [event.message for event in runner.events if event.phase == "step_progress"]


async def test_an_output_that_holds_a_secret_fails_its_step() -> None:
    """Outputs are stored; the message names the key, not the value."""

    @action
    async def echo(text: str) -> dict[str, list[str]]:
        return {"said": [text]}

    saver = InMemorySaver()
    plan = make_plan({"id": "e", "action": "echo", "inputs": {"text": "I am ${user.token}."}})
    result = await Runner(echo, saver=saver).run(plan, user_inputs={"token": SecretStr("hunter2")})

    assert ("failed", "UnstorableOutput") == (result.outcomes["e"].status, result.outcomes["e"].error_type)
    assert "'token'" in (result.outcomes["e"].error or "")
    assert "hunter2" not in repr([saver.storage, saver.writes, saver.blobs, result])


class State(TypedDict, total=False):
    token: str


async def test_a_flow_is_given_no_secret() -> None:
    """Its state is stored with its checkpoints."""
    saver = InMemorySaver()
    runner = Runner(saver=saver)
    runner.catalog.add_flow(StateGraph(State).add_node("n", lambda state: state).add_edge(START, "n"), name="flow")
    for text in ("${user.token}", "Bearer ${user.token}"):
        plan = make_plan({"id": "f", "action": "flow", "inputs": {"token": text}})
        result = await runner.run(plan, text, user_inputs={"token": SecretStr("hunter2")})
        assert "cannot be given a secret" in (result.outcomes["f"].error or "")

    assert "hunter2" not in repr([saver.storage, saver.writes, saver.blobs])


async def test_a_dry_run_shows_a_mask() -> None:
    """Alone and inside a text."""

    @action
    async def use(a: str, b: str) -> int:
        return 1

    plan = make_plan({"id": "u", "action": "use", "inputs": {"a": "${user.token}", "b": "Bearer ${user.token}"}})
    result = await Runner(use).run(plan, user_inputs={"token": SecretStr("hunter2")}, dry_run=True)

    assert result.preview is not None
    assert {"u": {"a": "**********", "b": "Bearer **********"}} == result.preview.bindings
