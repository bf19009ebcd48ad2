"""The chaos run finds nothing wrong in five seconds, ends when it is told to, and would notice a loss."""

from tests.chaos.model import Doubled, Missing, ThreadModel, Wrong
from tests.support.chaos_process import chaos
from tests.support.steps import Step, step


async def test_nothing_is_lost_while_everything_fails_and_ctrl_c_ends_it() -> None:
    code, said = await chaos("--what", "saver", "--seconds", "600", "--seed", "7", interrupt_after=b"5 s")

    assert code == 0, said
    assert "seed 7" in said
    assert "lost = 0, duplicated = 0, wrong = 0, bug = 0" in said


async def test_a_loss_is_noticed() -> None:
    """Redis is flushed behind everybody's back while the archive is away."""
    code, said = await chaos("--what", "saver", "--seconds", "4", "--seed", "7", "--forget")

    assert code == 1, said
    assert "lost = 0" not in said
    assert "to repeat: .venv/bin/python -m tests.chaos --what saver --seconds 4 --seed 7" in said


def written(model: ThreadModel) -> Step:
    """Store the next step, with its write."""
    number, _, root = model.begin()
    state = model.steps[number]
    state.sure = state.write_asked = state.write_sure = True
    return step(model.name, number, root=root, written=True)


def kind_of(model: ThreadModel, *found: Step) -> str | None:
    """What the model says to a list."""
    try:
        model.check_list(found)
    except Wrong as error:
        return error.kind
    return None


def test_the_model_tells_loss_from_doubling_and_from_wrong_content() -> None:
    model = ThreadModel("t")
    first, second = written(model), written(model)

    assert kind_of(model, second, first) is None
    assert kind_of(model, second) == Missing.kind
    assert kind_of(model, second, second, first) == Doubled.kind
    assert kind_of(model, first, second) == Wrong.kind
    assert kind_of(model, second, Step(0, "another value", first.root, first.writes)) == Wrong.kind
    assert kind_of(model, second, step("t", 0, root=0)) == Missing.kind  # its write
    assert kind_of(model, step("t", 9, root=0), second, first) == Wrong.kind
    model.delete()
    assert kind_of(model) is None
    assert kind_of(model, second) == Wrong.kind


def test_the_model_takes_what_is_in_doubt_either_way_until_it_was_seen() -> None:
    model = ThreadModel("t")
    first = written(model)
    number, _, root = model.begin()
    doubtful = step("t", number, root=root)

    assert kind_of(model, first) is None
    assert kind_of(model, doubtful, first) is None
    assert kind_of(model, first) == Missing.kind
