"""What a person is advised to do when no plan was found."""

import pytest

from tests.support.command_line import CommandLine


@pytest.mark.parametrize("wants", [(), ("--want", "forecast")])
def test_other_words_are_no_help_when_the_model_cannot_be_used(command: CommandLine, wants: tuple[str, ...]) -> None:
    """What is wrong with it stands above the advice, and it was asked once."""
    result = command("plan", "forecast the weather", "-c", command.catalog, "--model", "m", *wants)

    assert result.stderr.count("asking the model") == 1
    assert "[model_unavailable]" in result.stderr or "GOALGRAPH_API_KEY or OPENAI_API_KEY" in result.stderr
    assert "The model gave no answer" in result.stderr
    assert "other words" not in result.stderr
