"""`goalgraph runs`: what earlier runs left behind, listed, shown and asked."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from goalgraph.cli.exits import Exit
from goalgraph.settings import Settings
from goalgraph.stores import OpenStores
from storage.errors import ArchiveUnavailable, DataDirectoryError, OutboxFull, StorageUnavailable
from storage.memory import MemoryBlobStore, MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.records import Change, Entry, Kind
from tests.support.command_line import CommandLine


@dataclass
class Answer:
    columns: list[str]
    rows: list[list[object]]


@dataclass
class FakeArchive:
    """Answers SQL with what a test gives it."""

    answer: Answer = field(default_factory=lambda: Answer(["view"], [["runs_by_day"]]))
    asked: list[str] = field(default_factory=list)

    async def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> Answer:
        self.asked.append(sql)
        return self.answer


class Kept:
    """Stores that outlive the commands, as those of a data directory do."""

    def __init__(self) -> None:
        self.records, self.saver, self.archive = MemoryRecords(), InMemorySaver(), FakeArchive()
        self.runs = MemoryRuns(self.records)
        self.settings: list[Settings] = []
        self.failing: Exception | None = None

    @asynccontextmanager
    async def open(self, settings: Settings) -> AsyncGenerator[OpenStores]:
        self.settings.append(settings)
        if self.failing is not None:
            raise self.failing
        yield OpenStores(
            records=self.records,
            checkpointer=self.saver,
            blobs=MemoryBlobStore(),
            archive=self.archive,
            runs=self.runs,
        )


@pytest.fixture
def kept(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Kept:
    stores = Kept()
    for module in ("goalgraph.application", "goalgraph.cli.runs"):
        monkeypatch.setattr(f"{module}.open_stores", stores.open)
    command.file(".goalgraph/format", "")
    return stores


def run(command: CommandLine, airport: str = "OSL") -> str:
    """Run the plan and return the id of the run."""
    return command.json("run", command.plan, "-c", command.catalog, "-i", f"airport={airport}")["run_id"]


def test_a_run_is_listed(command: CommandLine, kept: Kept) -> None:
    run_id = run(command)
    failed = run(command, "XXX")

    listed = command.json("runs", "ls")
    result = command("runs", "ls")

    assert [(one["id"], one["status"]) for one in listed] == [(failed, "failed"), (run_id, "succeeded")]
    assert (listed[1]["goal"], listed[1]["usage"]["steps"]) == ("What is the weather where I land?", 2)
    assert (result.exit_code, result.stdout) == (Exit.OK, "")
    assert run_id[:13] in result.stderr
    assert "2 of 2" in result.stderr


def test_the_ids_of_a_list_can_be_given_to_the_other_commands(command: CommandLine, kept: Kept) -> None:
    ids = [run(command) for _ in range(5)]

    lines = command("runs", "ls").stderr.splitlines()[1:]

    assert [command.json("runs", "show", line.split()[0])["id"] for line in lines] == ids[::-1]


def test_a_list_fits_on_a_narrow_terminal(command: CommandLine, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    run(command)
    monkeypatch.setattr("goalgraph.live.terminal.PIPE_WIDTH", 80)
    monkeypatch.setenv("COLUMNS", "80")

    assert "What is the weather" in command("runs", "ls").stderr


def test_what_one_process_ran_another_finds(command: CommandLine) -> None:
    """In the real stores, of a data directory."""
    run_id = run(command)

    assert [one["id"] for one in command.json("runs", "ls")] == [run_id]
    assert command.json("runs", "show", run_id)["outputs"] == {"forecast": "rain in Oslo"}
    assert len(command.json("runs", "events", run_id)) == 6
    assert command.json("runs", "sql", "SELECT status, runs FROM gg_runs_per_day")["rows"] == [["succeeded", 1]]
    assert ["gg_runs"] in [row[:1] for row in command.json("runs", "sql")["rows"]]
    refused = command("runs", "sql", "DROP TABLE gg_records")
    assert (refused.exit_code, "SELECT" in refused.stderr) == (Exit.FAILED, True)


def test_with_a_key_nothing_can_be_read_without_it(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOALGRAPH_STORAGE__ENCRYPTION_KEY", "0123456789abcdef" * 2)
    run_id = run(command)
    assert command.json("runs", "show", run_id)["outputs"] == {"forecast": "rain in Oslo"}

    monkeypatch.delenv("GOALGRAPH_STORAGE__ENCRYPTION_KEY")
    result = command("runs", "show", run_id)
    written = b"".join(path.read_bytes() for path in Path(".goalgraph").rglob("*") if path.is_file())

    assert (result.exit_code, "no key is given" in result.stderr) == (Exit.FAILED, True)
    assert run_id.encode() in written
    assert [text for text in (b"rain in Oslo", b"What is the weather") if text in written] == []


def test_the_list_is_narrowed(command: CommandLine, kept: Kept) -> None:
    run_id = run(command)
    failed = run(command, "XXX")

    assert [one["id"] for one in command.json("runs", "ls", "--status", "succeeded")] == [run_id]
    assert [one["id"] for one in command.json("runs", "ls", "--limit", "1")] == [failed]
    assert command.json("runs", "ls", "--user", "eve") == []
    assert "no run here is waiting" in command("runs", "ls", "--status", "waiting").stderr


def test_an_empty_list_says_what_to_do(command: CommandLine) -> None:
    result = command("runs", "ls")

    assert (result.exit_code, command.json("runs", "ls")) == (Exit.OK, [])
    assert "goalgraph run" in result.stderr
    assert not (command.folder / ".goalgraph").exists(), "looking makes no folder"


def test_a_run_is_shown_with_its_steps(command: CommandLine, kept: Kept) -> None:
    run_id = run(command)

    shown = command.json("runs", "show", run_id)
    result = command("runs", "show", run_id)

    assert (shown["id"], shown["outputs"], shown["inputs"]) == (
        (run_id, {"forecast": "rain in Oslo"}, {"airport": "OSL"})
    )
    assert {step: facts["status"] for step, facts in shown["steps"].items()} == {
        "city": "succeeded",
        "weather": "succeeded",
    }
    assert shown["steps"]["city"]["seconds"] >= 0
    assert "rain in Oslo" in result.stderr
    assert "forecast_weather" in result.stderr


def test_a_failed_run_shows_what_failed(command: CommandLine, kept: Kept) -> None:
    result = command("runs", "show", run(command, "XXX"))

    assert result.exit_code == Exit.OK
    assert "KeyError: 'XXX'" in result.stderr


def test_a_run_that_has_not_ended_shows_where_it_is(
    command: CommandLine, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its events tell: the record knows the steps only at the end, and this process died."""

    async def crash() -> None:
        ended = await kept.records.latest("run", run_id)
        told = await kept.records.read("event", run_id)
        assert ended is not None
        columns = {**ended.columns, "status": "running", "finished_at": ""}
        fields = {"start": ended.fields["start"]}
        await kept.records.append(Change(kind="run", owner="half", at=ended.at, fields=fields, columns=columns))
        for one in told[:4]:
            at, known = one.at, (one.fields, one.columns)
            await kept.records.append(Change(kind="event", owner="half", at=at, fields=known[0], columns=known[1]))

    run_id = run(command)
    asyncio.run(crash())

    shown = command.json("runs", "show", "half")

    assert (shown["status"], {step: facts["status"] for step, facts in shown["steps"].items()}) == (
        ("running", {"city": "succeeded", "weather": "running"})
    )
    lately = command("runs", "show", "half")
    monkeypatch.setattr("goalgraph.cli.runs.LONG", 0.0)
    silent = command("runs", "show", "half")
    assert (lately.exit_code, "last heard of" in lately.stderr) == (Exit.OK, False)
    assert (silent.exit_code, "last heard of" in silent.stderr) == (Exit.OK, True)
    assert "goalgraph runs resume half --catalog WHERE" in silent.stderr


def test_the_beginning_of_an_id_is_enough(command: CommandLine, kept: Kept) -> None:
    first, second = run(command), run(command)
    common = next(first[:at] for at in range(len(first), 0, -1) if second.startswith(first[:at]))

    assert command.json("runs", "show", first[: len(common) + 1])["id"] == first
    result = command("runs", "show", common)
    assert result.exit_code == Exit.USAGE
    assert first in result.stderr
    assert second in result.stderr


@pytest.mark.parametrize("way", ["show", "events"])
def test_a_run_that_is_not_there_is_an_error(command: CommandLine, kept: Kept, way: str) -> None:
    run_id = run(command)

    for arguments in (["nosuchrun"], [run_id, "--user", "eve"]):
        result = command("runs", way, *arguments)
        assert (result.exit_code, "there is no run" in result.stderr) == (Exit.USAGE, True)


def test_a_run_is_not_there_without_a_data_directory(command: CommandLine) -> None:
    assert command("runs", "show", "x").exit_code == Exit.USAGE
    assert command("runs", "sql", "SELECT 1").exit_code == Exit.FAILED


def test_events_are_listed_in_order(command: CommandLine, kept: Kept) -> None:
    run_id = run(command)

    told = command.json("runs", "events", run_id)
    later = command.json("runs", "events", run_id, "--after", "4")
    result = command("runs", "events", run_id)

    assert [event["phase"] for event in told] == [
        *("start", "step_start", "step_success", "step_start", "step_success", "success")
    ]
    assert [event["seq"] for event in later] == [5, 6]
    assert "step_success" in result.stderr
    assert "nothing after 6" in command("runs", "events", run_id, "--after", "6").stderr


def test_the_archive_is_asked(command: CommandLine, kept: Kept) -> None:
    kept.archive.answer = Answer(["day", "runs", "gone"], [["2026-11-20", 3, None]] * 300)

    result = command("runs", "sql", "SELECT day, runs FROM runs_by_day")

    assert kept.archive.asked == ["SELECT day, runs FROM runs_by_day"]
    assert (result.exit_code, "2026-11-20" in result.stderr, "100 more rows" in result.stderr) == (Exit.OK, True, True)
    assert command.json("runs", "sql", "SELECT 1")["rows"][0] == ["2026-11-20", 3, None]


@pytest.mark.parametrize("arguments", [[], ["--views"], ["SELECT 1", "--views"]])
def test_without_a_query_the_views_are_listed(command: CommandLine, kept: Kept, arguments: list[str]) -> None:
    result = command("runs", "sql", *arguments)

    assert "engine = 'View'" in kept.archive.asked[0]
    assert "runs_by_day" in result.stderr


@pytest.mark.parametrize(
    "error", [DataDirectoryError("another version wrote it; move it away"), StorageUnavailable("no answer")]
)
def test_stores_that_cannot_be_opened_are_one_sentence(command: CommandLine, kept: Kept, error: Exception) -> None:
    kept.failing = error
    given = (command.plan, "-c", command.catalog, "-i", "airport=OSL")

    for arguments in (["runs", "ls"], ["runs", "show", "x"], ["runs", "sql", "SELECT 1"], ["run", *given]):
        result = command(*arguments)
        assert (result.exit_code, result.stderr.strip()) == (Exit.FAILED, f"error: {error}")


def test_a_run_that_cannot_be_recorded_is_not_started(
    command: CommandLine, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise OutboxFull(1000, 1000)

    monkeypatch.setattr(kept.runs, "enter", full)

    result = command("run", command.plan, "-c", command.catalog, "-i", "airport=OSL")

    assert (result.exit_code, "an action prints" in result.stdout) == (Exit.FAILED, False)
    assert "was not started, because its record cannot be written: 1000 records" in result.stderr
    assert "Traceback" not in result.stderr


def test_planning_and_a_dry_run_open_no_stores(command: CommandLine, kept: Kept) -> None:
    given = ("-c", command.catalog, "-i", "airport=OSL")

    command("plan", "weather", *given, "--want", "forecast")
    command("run", command.plan, *given, "--dry-run")

    assert kept.settings == []


def test_options_go_before_settings(command: CommandLine, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOALGRAPH_STORAGE__REDIS_URL", "redis://settings")
    monkeypatch.setenv("GOALGRAPH_STORAGE__KEY_PREFIX", "mine")

    command("runs", "ls")
    command("runs", "ls", "--redis", "redis://option", "--archive", "http://option", "--data-dir", "elsewhere")

    storages = [one.storage for one in kept.settings]
    assert [(one.redis_url, one.archive_url, one.key_prefix) for one in storages] == [
        ("redis://settings", None, "mine"),
        ("redis://option", "http://option", "mine"),
    ]
    assert str(kept.settings[1].data_dir) == "elsewhere"


def test_hostile_texts_of_a_run_are_only_shown(command: CommandLine, kept: Kept) -> None:
    plan = json.loads(command.plan.read_text())
    plan["goal"] = "[red]x[/red] \x1b[2J"
    command.plan.write_text(json.dumps(plan))
    run_id = run(command)

    for arguments in (["ls"], ["show", run_id], ["events", run_id]):
        result = command("runs", *arguments)
        assert (result.exit_code, "\x1b" in result.stderr, "[red]x[/red]" in result.stderr) == (Exit.OK, False, True)


class HeldArchive(MemoryRecords):
    """Records of which some are in an archive that another process holds."""

    async def latest(self, kind: Kind, owner: str) -> Entry | None:
        found = await super().latest(kind, owner)
        if found is None:
            raise ArchiveUnavailable("the embedded archive is open in another process", 4711)
        return found

    async def owners(self, kind: Kind) -> AsyncIterator[str]:
        async for owner in super().owners(kind):
            yield owner
        raise ArchiveUnavailable("the embedded archive is open in another process", 4711)


def test_without_the_archive_what_is_live_is_shown(
    command: CommandLine, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = run(command)
    kept.records.__class__ = HeldArchive

    assert [one["id"] for one in command.json("runs", "ls")] == [run_id]
    assert command.json("runs", "show", run_id[:13])["id"] == run_id
    assert len(command.json("runs", "events", run_id[:13])) == 6
    for arguments in (["ls"], ["show", run_id[:13]], ["events", run_id[:13]]):
        result = command("runs", *arguments)
        assert result.exit_code == Exit.OK
        assert "older runs may be missing, because process 4711 holds the archive\n" in result.stderr
    assert "may be missing" not in command("runs", "ls", "--limit", "1").stderr
    absent = command("runs", "show", "nosuchrun")
    assert (absent.exit_code, "process 4711 holds the archive" in absent.stderr) == (Exit.FAILED, True)


@pytest.mark.parametrize("way", ["show", "events"])
@pytest.mark.parametrize("nothing", ["", " "])
def test_an_empty_id_names_no_run(command: CommandLine, kept: Kept, way: str, nothing: str) -> None:
    run(command)

    assert command("runs", way, nothing).exit_code == Exit.USAGE


def test_runs_of_nobody_else_are_promised(command: CommandLine, kept: Kept) -> None:
    run(command)

    assert "no runs of eve here" in command("runs", "ls", "--user", "eve").stderr
    assert "no runs of local of acme here" in command("runs", "ls", "--org", "acme").stderr


def test_looking_into_a_folder_does_not_make_it_ours(command: CommandLine) -> None:
    (command.folder / "empty").mkdir()

    result = command("runs", "ls", "--data-dir", "empty")

    assert (result.exit_code, "no runs in empty yet" in result.stderr) == (Exit.OK, True)
    assert list((command.folder / "empty").iterdir()) == []


def test_a_data_directory_is_a_folder(command: CommandLine) -> None:
    result = command("runs", "ls", "--data-dir", command.plan)

    assert (result.exit_code, "plan.json is not a folder" in result.stderr) == (Exit.USAGE, True)


def test_running_takes_the_same_places(command: CommandLine, kept: Kept) -> None:
    place = ("--data-dir", "else where", "--redis", "redis://:pass@option", "--archive", "http://option")
    result = command("run", command.plan, "-c", command.catalog, "-i", "airport=OSL", *place)

    (settings,) = kept.settings
    assert (str(settings.data_dir), settings.storage.redis_url) == ("else where", "redis://:pass@option")
    assert settings.storage.archive_url == "http://option"
    assert "--data-dir 'else where' --redis URL --archive http://option\n" in result.stderr


@pytest.mark.parametrize(
    ("called", "shown"),
    [("venv/bin/goalgraph", "venv/bin/goalgraph"), ("other.py", "goalgraph"), ("/x/goalgraph", "/x/goalgraph")],
)
def test_a_hint_names_the_program_as_it_was_called(
    command: CommandLine, kept: Kept, monkeypatch: pytest.MonkeyPatch, called: str, shown: str
) -> None:
    monkeypatch.setattr("sys.argv", [called])
    monkeypatch.setenv("PATH", "/nowhere")

    result = command("run", command.plan, "-c", command.catalog, "-i", "airport=OSL")

    assert f"see it again: {shown} runs show " in result.stderr
