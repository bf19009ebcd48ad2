"""What a person is advised to do when no plan was found."""

from tests.support.command_line import CommandLine


def test_other_words_are_no_help_when_the_model_cannot_be_used(command: CommandLine) -> None:
    """What is wrong with it stands above the advice, and it was asked once."""
    result = command("plan", "forecast the weather", "-c", command.catalog, "--model", "m")

    assert result.stderr.count("asking the model") == 1
    assert "GOALGRAPH_API_KEY or OPENAI_API_KEY" in result.stderr
    assert "The model gave no answer" in result.stderr
    assert "other words" not in result.stderr
