"""The chaos run of plans finds nothing wrong; without lease and fence it would; and its checks notice each fault."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from tests.chaos.run_checks import Line, RunStory, check
from tests.chaos.run_plan import HOLDING_NEEDS
from tests.support.chaos_process import RunWorkers, chaos, run_workers
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.steps import open_saver


async def test_runs_end_as_if_nothing_had_failed() -> None:
    """With this seed a worker is killed and one is stopped, Redis is killed, and the queue is flushed."""
    arguments = ["--what", "runs", "--seconds", "6", "--seed", "141", "--calm", "0.5", "--rate", "3"]
    code, said = await chaos(*arguments)

    assert code == 0, said
    assert "not ended = 0, ended twice = 0, forked = 0, repeated = 0, zombie = 0, wrong = 0, callback = 0" in said


async def disturbed(workers: RunWorkers, *, fence: bool) -> list[str]:
    """Stop a worker within a step until another one has ended its run, and return what it calls when it wakes up."""
    first, second = await workers.start(fence=fence), await workers.start(fence=fence)
    await first.ask("submit", run="r", plan="holding")
    await eventually(lambda: workers.calls(first), "the first worker is at the first item")
    first.freeze()
    await eventually(lambda: workers.calls(second), "the second worker takes the run over")
    workers.journal.released.touch()
    await eventually(lambda: workers.told("r"), "the second worker ends the run")
    before = len(workers.journal.read())
    first.thaw()
    await first.ask("idle")
    return await workers.calls(first, after=before)


async def test_a_process_that_wakes_up_does_not_go_on_with_a_run_that_another_has_ended(
    redis: RedisServer, archive: str, tmp_path: Path
) -> None:
    """Row 10: its write is refused, it begins no further step, and nobody is shown an error."""
    async with run_workers(redis.url, archive, tmp_path) as workers:
        assert await disturbed(workers, fence=True) == []
        async with open_saver(redis.url, archive) as saver:
            story = await workers.story(saver)

        assert list(check(story, HOLDING_NEEDS, {"last": 1})) == []
        assert story.duplicates < story.lives
        assert workers.complaints == []


async def test_without_lease_and_fence_it_goes_on_and_that_is_noticed(
    redis: RedisServer, archive: str, tmp_path: Path
) -> None:
    """The control: what keeps runs safe is what the chaos run tests."""
    async with run_workers(redis.url, archive, tmp_path) as workers:
        assert await disturbed(workers, fence=False) == ["hold:1", "then", "last"]
        async with open_saver(redis.url, archive) as saver:
            story = await workers.story(saver)

        found = {kind for kind, _ in check(story, HOLDING_NEEDS, {"last": 1})}
        assert {"zombie", "ended twice", "forked"} <= found


# -------------------------------------------------------------------------------------------------------- the checks

NEEDS = {"a": frozenset[str](), "b": frozenset({"a"}), "c": frozenset({"b"})}
EVENTS = (("start", None), *((phase, step) for step in "abc" for phase in ("step_start", "step_success")))
END = ("success", None)
CHECKPOINTS = (("", "1", None), ("", "2", "1"))
TOLD = Line("told", 1, status="succeeded")


def take(pid: int, token: int) -> Line:
    return Line("take", pid, token=token)


def calls(pid: int, names: str) -> list[Line]:
    return [Line("call", pid, name) for name in names]


def kinds_of(
    *lines: Line,
    status: str | None = "succeeded",
    outputs: int = 1,
    ends: Collection[str] = ("succeeded",),
    events: Sequence[tuple[str, str | None]] = (*EVENTS, END),
    checkpoints: Sequence[tuple[str, str, str | None]] = CHECKPOINTS,
) -> set[str]:
    story = RunStory("r", lines, status, {"x": outputs}, events, checkpoints)
    return {kind for kind, _ in check(story, NEEDS, {"x": 1}, ends)}


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        pytest.param([take(1, 5), *calls(1, "abc"), TOLD], set[str](), id="undisturbed"),
        pytest.param([take(1, 5), *calls(1, "ab"), take(2, 6), *calls(2, "bc"), TOLD], set[str](), id="in flight"),
        pytest.param(
            [take(1, 5), *calls(1, "a"), take(2, 6), *calls(2, "ab"), *calls(1, "b"), *calls(2, "c"), TOLD],
            set[str](),
            id="one late call",
        ),
        pytest.param([take(2, 6), take(1, 5), *calls(2, "abc"), TOLD], set[str](), id="a late note of a take"),
        pytest.param([take(1, 5), *calls(1, "ab"), take(2, 6), *calls(2, "abc"), TOLD], {"repeated"}, id="finished"),
        pytest.param([take(1, 5), *calls(1, "aabc"), TOLD], {"repeated"}, id="twice in one life"),
        pytest.param(
            [take(1, 5), *calls(1, "a"), take(2, 6), *calls(1, "bc"), *calls(2, "abc"), TOLD], {"zombie"}, id="zombie"
        ),
        pytest.param([take(1, 5), *calls(1, "abc")], {"callback"}, id="nobody was told"),
        pytest.param(
            [take(1, 5), *calls(1, "abc"), TOLD, Line("told", 1, status="failed")], {"callback"}, id="told wrongly"
        ),
    ],
)
def test_the_checks_tell_what_was_in_flight_from_what_was_finished(lines: list[Line], found: set[str]) -> None:
    assert kinds_of(*lines) == found


def test_the_checks_notice_what_the_stores_say() -> None:
    lines = [take(1, 5), *calls(1, "abc"), TOLD]

    stopped = [*lines[:2], Line("told", 1, status="cancelled")]
    assert kinds_of(*stopped, status="cancelled", ends={"cancelled"}, events=(*EVENTS, ("cancelled", None))) == set()
    assert kinds_of(*lines, status="failed") == {"wrong", "callback"}
    assert kinds_of(*lines[:2], TOLD) == {"wrong"}
    assert kinds_of(*lines, status="running") == {"not ended", "callback"}
    assert kinds_of(take(1, 5), status=None) == {"not ended"}
    assert kinds_of(*lines, outputs=2) == {"wrong"}
    assert kinds_of(*lines, events=(*EVENTS, END, ("failure", None))) == {"ended twice"}
    assert kinds_of(*lines, events=EVENTS) == {"wrong"}
    assert kinds_of(*lines, events=(*EVENTS, ("step_start", "a"), END)) == {"repeated"}
    assert kinds_of(*lines, checkpoints=(*CHECKPOINTS, ("", "3", "1"))) == {"forked"}
