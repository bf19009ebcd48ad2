"""Quick actions are called by name, and not before the user agreed where that is asked for."""

import threading
from typing import Any

import pytest

from planner.dialogue.quick_actions import Confirmation, QuickActionContext, QuickActionRegistry, QuickActionSpec
from planner.errors import NotConfirmed, UnknownQuickAction
from tests.support.conversations import Agency, talking

REPORT = QuickActionSpec("report", "Send the\nreport.")
WIPE = QuickActionSpec("wipe", "Delete everything.", requires_confirmation=True)
SEND = QuickActionSpec("send", "Send a mail.", action_ref="action:send@1")


class Handler:
    """Notes what it was given, and where."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, threading.Thread]] = []

    def __call__(self, *, context: QuickActionContext) -> str:
        self.calls.append((context.argument, threading.current_thread()))
        return f"done: {context.argument}"


class AsyncHandler(Handler):
    """The same, and awaited."""

    async def __call__(self, *, context: QuickActionContext) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]  # async
        return super().__call__(context=context)


def given(argument: str = "now") -> QuickActionContext:
    return QuickActionContext(user_message=f"/report {argument}", argument=argument)


async def later(*, context: QuickActionContext) -> str:
    return f"later: {context.argument}"


def returns_awaitable(*, context: QuickActionContext) -> Any:
    return later(context=context)


async def test_the_seeds_registry_has_what_it_was_made_of() -> None:
    """By id, and `None` for what it does not have."""
    registry = QuickActionRegistry({"report": REPORT, "send": SEND}, {"report": later})

    assert (registry.get_spec("report"), registry.get_handler("report")) == (REPORT, later)
    assert (registry.get_spec("send"), registry.get_handler("send")) == (SEND, None)
    assert (registry.get_spec("other"), registry.get_handler("other")) == (None, None)
    assert registry.describe() == ["report: Send the report.", "send: Send a mail."]


@pytest.mark.parametrize(("handler", "answer"), [(later, "later: now"), (returns_awaitable, "later: now")])
async def test_a_handler_is_awaited(handler: Any, answer: str) -> None:
    """Whether it is a coroutine function or only returns something to wait for."""
    assert await QuickActionRegistry({"report": REPORT}, {"report": handler}).run("report", given()) == answer


async def test_a_sync_handler_holds_up_nobody() -> None:
    """It runs in a thread; an async object does not."""
    sync, concurrent = Handler(), AsyncHandler()
    for handler in (sync, concurrent):
        assert await QuickActionRegistry({"report": REPORT}, {"report": handler}).run("report", given()) == "done: now"

    assert sync.calls[0][1] is not threading.main_thread()
    assert concurrent.calls[0][1] is threading.main_thread()


async def test_without_agreement_nothing_is_done() -> None:
    """The seed never read `requires_confirmation` (reference A36)."""
    handler = Handler()
    registry = QuickActionRegistry({"wipe": WIPE}, {"wipe": handler})
    with pytest.raises(NotConfirmed, match="'wipe' was not done"):
        await registry.run("wipe", given())

    assert handler.calls == []
    assert await registry.run("wipe", given(), confirmed=True) == "done: now"


@pytest.mark.parametrize("action_id", ["other", "send"])
async def test_what_nobody_does_cannot_be_run(action_id: str) -> None:
    """An action of the catalog runs as a plan, under its own rules, never from here."""
    with pytest.raises(UnknownQuickAction, match="closest"):
        await QuickActionRegistry({"send": SEND}).run(action_id, given())


WRONG: dict[str, tuple[QuickActionSpec, str]] = {
    "two words": (QuickActionSpec("do it", "x"), "one word"),
    "a slash": (QuickActionSpec("/do", "x"), "one word"),
    "no id": (QuickActionSpec("", "x"), "one word"),
    "taken": (QuickActionSpec("REPORT", "x"), "already"),
    "built in": (QuickActionSpec("Yes", "x"), "already"),
}


@pytest.mark.parametrize(("spec", "reason"), WRONG.values(), ids=WRONG.keys())
def test_an_id_has_to_be_a_command_of_its_own(spec: QuickActionSpec, reason: str) -> None:
    """Or nobody could call it."""
    with pytest.raises(ValueError, match=reason):
        QuickActionRegistry({"report": REPORT}, {"report": later}).add(spec, later)


def test_what_nothing_does_is_refused_when_it_is_added() -> None:
    """Not when a user asks for it; nor is a handler without an action taken."""
    with pytest.raises(ValueError, match="nothing does"):
        QuickActionRegistry({"report": REPORT})
    with pytest.raises(ValueError, match="not listed: other"):
        QuickActionRegistry(handlers={"other": later})
    with pytest.raises(ValueError, match="listed as"):
        QuickActionRegistry({"other": REPORT}, {"other": later})


async def test_a_handler_asks_about_what_it_found_and_does_exactly_that() -> None:
    """What is found by a few letters may be something else a moment later."""
    there, wiped = ["disk-1"], list[str]()

    async def wipe(*, context: QuickActionContext) -> str | Confirmation:
        if context.confirmed:
            wiped.append(context.argument)
            return f"wiped {context.argument}"
        found = [name for name in there if name.startswith(context.argument)]
        return Confirmation(f"Wipe {found[0]}?", found[0]) if found else "There is none."

    registry = QuickActionRegistry({"wipe": QuickActionSpec("wipe", "Wipe a disk.")}, {"wipe": wipe})
    async with talking(Agency(), model=False, quick_actions=registry) as talk:
        nothing = await talk("/wipe x")
        asked = await talk("/wipe d")
        there.insert(0, "disk-0")
        await talk("no")
        await talk("/wipe disk-1")
        done = await talk("yes")

    assert (nothing.question, nothing.message_to_user) == (None, "There is none.")
    assert asked.question is not None
    assert (asked.question.kind, asked.question.argument) == ("confirm", "disk-1")
    assert (asked.message_to_user or "").startswith("Wipe disk-1?\n")
    assert (wiped, done.message_to_user) == (["disk-1"], "wiped disk-1")
