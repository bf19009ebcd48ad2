"""`goalgraph chat` at a real terminal, in a process of its own."""

import asyncio
import json
import signal

import pytest

from tests.cli.test_chat import FORECAST, holding
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.openai_server import serve, text
from tests.support.redis_server import RedisServer
from tests.support.talking import A_GOAL, WEATHER, Talk, wired
from tests.support.terminal import CTRL_C, CTRL_D, Terminal

PROMPT = "> "
GOAL = "What is the weather where I land?"


@pytest.fixture
def talk(command: CommandLine) -> Talk:
    return Talk(command)


async def statuses(talk: Talk) -> list[str]:
    """Where the runs are; a command has an event loop of its own."""
    return [run["status"] for run in await asyncio.to_thread(talk.command.json, "runs", "ls")]


async def left(terminal: Terminal) -> int:
    terminal.type("/quit")
    return await terminal.ended()


async def test_a_goal_is_planned_asked_about_left_taken_up_and_run(talk: Talk) -> None:
    async with serve() as server:
        server.replies.extend([text(A_GOAL), text(WEATHER)])
        model = ("--model", "m", "--base-url", server.url)
        async with talk.terminal(*model) as first:
            await first.until(PROMPT)
            first.type(GOAL)
            plan = await first.until("2. Forecast the weather of a city")
            await first.until("airport (string): ")
            assert await left(first) == 0
            await first.until("the same command takes the conversation up again")
        async with talk.terminal(*model) as second:
            said = await second.until("To go on I need: airport")
            await second.until("airport (string): ")
            second.type("SEA")
            await second.until("Say yes to run it")
            await second.until(PROMPT)
            second.type("yes")
            await second.until("2 of 2 steps done")
            await second.until("Done. answer: rain in Seattle")
            await second.until(PROMPT)
            assert await left(second) == 0

    assert ("asking the model" in plan, "1. Find the city" in plan, GOAL in said) == (True, True, True)
    assert len(server.requests) == 2
    assert await statuses(talk) == ["succeeded"]


async def test_a_form_is_left_for_a_command_or_words_and_asked_again_until_it_fits(talk: Talk) -> None:
    """And the end of the file leaves it open."""
    catalog = talk.catalog.read_text()
    talk.command.file(
        "talked_about.py",
        f'{catalog}\n\n@action\ndef count_days(month: int, of: list[int]) -> int:\n    """Count the days."""\n'
        "    return month + sum(of)\n",
    )
    async with talk.terminal() as terminal:
        await terminal.until(PROMPT)
        terminal.type("/plan count the days")
        await terminal.until("month (integer): ")
        terminal.type("/runs")
        await terminal.until("There are no runs yet.")
        await terminal.until("still open: To go on I need: month")
        await terminal.until("month (integer): ")
        terminal.type("")
        await terminal.until("of (array): ")
        terminal.type("1, 2")
        await terminal.until("To go on I need: month")
        await terminal.until("month (integer): ")
        terminal.type("May")
        await terminal.until("month: ")
        await terminal.until("month (integer): ")
        terminal.type("/say month = 5")
        await terminal.until("Say yes to run it")
        await terminal.until(PROMPT)
        terminal.type("yes")
        await terminal.until("Done: 8")
        await terminal.until(PROMPT)
        terminal.type(FORECAST)
        await terminal.until("city (string): ")
        await terminal.until_edited()
        terminal.type(CTRL_D, end="")
        assert await terminal.ended() == 0

    assert "Traceback" not in terminal.shown
    (shown,) = await asyncio.to_thread(talk.lines, "Oslo")
    assert shown["question"]["kind"] == "plan"


async def test_a_run_whose_process_was_killed_is_taken_up(talk: Talk) -> None:
    lease = {"GOALGRAPH_RUNS__LEASE": "1"}
    begun = talk.folder / "begun"
    async with talk.terminal(**lease) as first:
        await first.until(PROMPT)
        first.type("collect a report")
        await first.until("topic (string): ")
        first.type("rain")
        await first.until("Say yes to run it")
        await first.until(PROMPT)
        first.type("yes")
        await eventually(lambda: asyncio.to_thread(begun.exists), "the action has begun")
        first.process.kill()
        await first.ended()
    async with talk.terminal(**lease) as second:
        await second.until("It is still running")
        await second.until("Done: all about rain")
        await second.until(PROMPT)
        assert await left(second) == 0

    assert await statuses(talk) == ["succeeded"]


async def test_what_no_store_keeps_is_asked_again_to_go_on(talk: Talk) -> None:
    lease = {"GOALGRAPH_RUNS__LEASE": "1"}
    begun = talk.folder / "begun"
    async with talk.terminal(**lease) as first:
        await first.until(PROMPT)
        first.type("/plan unlock a vault")
        await first.until("name (string): ")
        first.type("blue")
        await first.until("password (string): ")
        await first.until_hidden()
        first.type("tr0ub4dor")
        await first.until("Say yes to run it")
        await first.until(PROMPT)
        first.type("yes")
        await eventually(lambda: asyncio.to_thread(begun.exists), "the action has begun")
        first.process.kill()
        await first.ended()
    async with talk.terminal(**lease) as second:
        await second.until("goes on when you give this again")
        await second.until("password (string): ")
        await second.until_hidden()
        second.type("tr0ub4dor-und-3")
        await second.until("unlocked with 15 letters")
        await second.until(PROMPT)
        assert await left(second) == 0

    assert await statuses(talk) == ["succeeded"]
    assert holding(talk, "tr0ub4dor") == []


async def test_ctrl_c_stops_the_model_then_the_run_and_at_the_prompt_the_conversation(talk: Talk) -> None:
    report = wired({"id": "r", "action": "collect_report", "inputs": {"topic": "rain"}}, output="r")
    async with serve() as server:
        reply = text(A_GOAL)
        reply.slow = True
        server.replies.extend([reply, text(report), text(A_GOAL), text(WEATHER)])
        async with talk.terminal("--model", "m", "--base-url", server.url) as terminal:
            await terminal.until(PROMPT)
            terminal.type(GOAL)
            await server.asked.wait()
            terminal.type(CTRL_C, end="")
            await terminal.until("stopped")
            await terminal.until(PROMPT)
            terminal.type("/plan collect a report")
            await terminal.until("Say yes to run it")
            await terminal.until(PROMPT)
            terminal.type("yes")
            await terminal.until("0 of 1 steps done, 1 running")
            terminal.type(CTRL_C, end="")
            await terminal.until("The run was stopped")
            await terminal.until(PROMPT)
            terminal.type("/history")
            await terminal.until("assistant: The run was stopped")
            await terminal.until(PROMPT)
            terminal.type(GOAL)
            await terminal.until("airport (string): ")
            terminal.type(CTRL_C, end="")
            ended = await terminal.ended()

    assert (ended, "Traceback" in terminal.shown) == (130, False)
    assert await statuses(talk) == ["cancelled"]
    (shown,) = await asyncio.to_thread(talk.lines, "SEA")
    assert shown["question"]["kind"] == "plan"


async def test_sigterm_at_the_prompt_keeps_what_is_open(talk: Talk) -> None:
    """Also when it comes at the moment at which reading begins."""
    async with talk.terminal() as terminal:
        await terminal.until(PROMPT)
        terminal.type(FORECAST)
        await terminal.until("city (string): ")
        terminal.process.terminate()
        ended = await terminal.ended()

    assert (ended, "Traceback" in terminal.shown) == (143, False)
    (shown,) = await asyncio.to_thread(talk.lines, "Oslo")
    assert shown["question"]["kind"] == "plan"


async def test_sigterm_during_a_run_stops_it_and_ends_the_conversation(talk: Talk) -> None:
    begun = talk.folder / "begun"
    async with talk.terminal() as terminal:
        await terminal.until(PROMPT)
        terminal.type("/plan collect a report")
        await terminal.until("topic (string): ")
        terminal.type("rain")
        await terminal.until("Say yes to run it")
        await terminal.until(PROMPT)
        terminal.type("yes")
        await eventually(lambda: asyncio.to_thread(begun.exists), "the action has begun")
        terminal.process.terminate()
        ended = await terminal.ended()

    assert ended == 143
    assert await statuses(talk) == ["cancelled"]


async def test_ctrl_c_ends_what_comes_from_a_pipe(talk: Talk) -> None:
    begun = talk.folder / "begun"
    async with talk.pipe("--json") as (process, say):
        say("/plan collect a report", "rain", "yes", "/history")
        await eventually(lambda: asyncio.to_thread(begun.exists), "the action has begun")
        process.send_signal(signal.SIGINT)
        stdout, stderr = await process.communicate()

    assert (process.returncode, b"Traceback" in stderr) == (130, False)
    *_, last = [json.loads(line) for line in stdout.splitlines()]
    assert last["execution"]["status"] == "cancelled"


async def test_a_secret_is_hidden_while_it_is_typed_and_stored_nowhere(talk: Talk) -> None:
    """A command in its place is one."""
    secret = "tr0ub4dor-und-3"
    async with talk.terminal() as terminal:
        await terminal.until(PROMPT)
        for answer in ("/drop", secret):
            terminal.type("open the account of an owner")
            await terminal.until("owner (string): ")
            terminal.type("ann")
            await terminal.until("password (string): ")
            await terminal.until_hidden()
            terminal.type(answer)
            if answer == "/drop":
                await terminal.until("The plan is dropped")
                await terminal.until(PROMPT)
        await terminal.until("Say yes to run it")
        await terminal.until(PROMPT)
        terminal.type("yes")
        await terminal.until(f"opened for ann with {len(secret)} letters")
        await terminal.until(PROMPT)
        terminal.type("/history")
        await terminal.until("opened for ann")
        await terminal.until(PROMPT)
        assert await left(terminal) == 0

    assert secret not in terminal.shown
    assert holding(talk, secret) == []
    assert holding(talk, "opened for ann") != []


async def test_a_store_that_dies_ends_it_with_one_sentence(talk: Talk) -> None:
    with RedisServer(talk.folder / "redis", tcp=True) as server:
        async with talk.terminal("--redis", server.url) as terminal:
            await terminal.until(PROMPT)
            terminal.type("/history")
            await terminal.until(PROMPT)
            server.kill()
            terminal.type("/history")
            ended = await terminal.ended()

    last = terminal.shown.rstrip().splitlines()[-1]
    assert (ended, "Traceback" in terminal.shown) == (1, False)
    assert last.startswith("error: ")
    assert str(server.port) in terminal.shown
