"""Settings and options that are wrong are named, one line for each, and nothing is opened."""

from datetime import timedelta

import pytest

from goalgraph.cli.exits import Exit
from goalgraph.settings import Settings, StorageSettings
from tests.support.command_line import CommandLine

STORAGE = "GOALGRAPH_STORAGE__"
WRONG = [
    (f"{STORAGE}KEY_PREFIX", "", "must not be empty or have braces"),
    (f"{STORAGE}KEY_PREFIX", "{x}", "must not be empty or have braces"),
    (f"{STORAGE}ALLOWED_TYPES", '["foo"]', "write 'package.module:Name'"),
    (f"{STORAGE}ALLOWED_TYPES", "a.b:C,foo", "write 'package.module:Name'"),
    (f"{STORAGE}ALLOWED_TYPES", "[foo", "write package.module:Name"),
    (f"{STORAGE}ENGINE", "Nonsense", "has to be a ReplacingMergeTree"),
    (f"{STORAGE}ARCHIVE_URL", "redis://host", "write clickhouse://user:password@host:8123/database"),
    (f"{STORAGE}IDLE_AFTER", "-P1D", "greater than 0 seconds"),
    (f"{STORAGE}IDLE_AFTER", "PT0S", "greater than 0 seconds"),
    (f"{STORAGE}IDLE_AFTER", "soon", "write P7D for seven days"),
    (f"{STORAGE}OUTBOX_LIMIT", "0", "greater than 0"),
    ("GOALGRAPH_STORAGE", "foo", "write its parts one by one: GOALGRAPH_STORAGE__NAME=VALUE"),
    ("GOALGRAPH_STORAGE", '"foo"', "valid dictionary"),
    ("GOALGRAPH_LIMITS__STEPS", "many", "valid integer"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG)
def test_a_wrong_setting_is_named(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)

    for arguments in (["runs", "ls"], ["run", command.plan, "-c", command.catalog], ["plan", "x"], ["demo"]):
        result = command(*arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (Exit.USAGE, 1)
        assert result.stderr.startswith(f"error: the setting {name} is wrong: ")
        assert said in result.stderr
    assert not (command.folder / ".goalgraph").exists()


def test_each_wrong_setting_has_a_line(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{STORAGE}FSYNC", "sometimes")
    monkeypatch.setenv("GOALGRAPH_MODEL_TIMEOUT", "long")

    lines = command("runs", "ls").stderr.splitlines()

    assert ["FSYNC" in lines[0] or "FSYNC" in lines[1], len(lines)] == [True, 2]


@pytest.mark.parametrize("text", ["a.b:C, d.e:F", '["a.b:C", "d.e:F"]'])
def test_types_are_named_with_commas_or_as_json(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(f"{STORAGE}ALLOWED_TYPES", text)

    assert Settings().storage.allowed_types == ("a.b:C", "d.e:F")


def test_what_is_right_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOALGRAPH_STORAGE", '{"allowed_types": ["a.b:C"], "engine": "ReplacingMergeTree"}')
    monkeypatch.setenv(f"{STORAGE}IDLE_AFTER", "PT12H")

    assert Settings().storage == StorageSettings(
        allowed_types=("a.b:C",), engine="ReplacingMergeTree", idle_after=timedelta(hours=12)
    )


def test_an_option_is_checked_as_its_setting_is(command: CommandLine) -> None:
    result = command("runs", "ls", "--archive", "nonsense")

    assert (result.exit_code, "write clickhouse://" in result.stderr) == (Exit.USAGE, True)


def test_a_refusal_names_the_setting(command: CommandLine) -> None:
    result = command("run", command.plan, "-c", command.catalog, "-i", "airport=OSL", "--redis", "http://u:pass@host")

    assert (result.exit_code, result.stderr.count("\n"), "pass" in result.stderr) == (Exit.USAGE, 1, False)
    assert "write redis://host:6379/0 (the setting GOALGRAPH_STORAGE__REDIS_URL)" in result.stderr
