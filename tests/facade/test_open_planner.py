"""`open_planner` and the stores that it opens: when, which parts of them are used, and that they are closed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from goalgraph import NodePlanner, RequestIdentity, Settings, action, open_planner
from goalgraph.settings import StorageSettings
from goalgraph.stores import OpenStores
from planner.execution import Runs
from storage.errors import StorageUnavailable
from storage.memory import MemoryBlobStore, MemoryRecords
from storage.memory_runs import MemoryRuns
from storage.protocols import Table

PLAN: dict[str, Any] = {"steps": [{"id": "g", "action": "greet", "inputs": {"name": "${user.name}"}}]}


@action
async def greet(name: str) -> str:
    """Greet somebody by name."""
    return f"hello {name}"


class NoArchive:
    """Nobody asks it here."""

    async def query(self, sql: str, parameters: object = None) -> Table:
        raise AssertionError(sql)


class Opened:
    """Counts how often the stores are open."""

    def __init__(self) -> None:
        records = MemoryRecords()
        self.stores = OpenStores(
            records=records,
            checkpointer=InMemorySaver(),
            blobs=MemoryBlobStore(),
            archive=NoArchive(),
            runs=MemoryRuns(records),
        )
        self.settings: list[Settings] = []
        self.open = 0
        self.failing = False

    @asynccontextmanager
    async def __call__(self, settings: Settings) -> AsyncGenerator[OpenStores]:
        self.settings.append(settings)
        if self.failing:
            raise StorageUnavailable("redis does not answer")
        self.open += 1
        try:
            yield self.stores
        finally:
            self.open -= 1

    async def runs(self) -> list[str]:
        """The ids of the runs that were recorded."""
        return [run.id for run in await Runs(self.stores.records).list(RequestIdentity())]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    stores = Opened()
    monkeypatch.setattr("goalgraph.application.open_stores", stores)
    return stores


async def run(planner: NodePlanner, run_id: str) -> None:
    assert (await planner.execute(PLAN, user_inputs={"name": "ann"}, run_id=run_id)).ok


async def test_runs_are_kept_in_the_stores(opened: Opened, tmp_path: Path) -> None:
    async with open_planner(actions=[greet], data_dir=tmp_path / "data") as planner:
        await run(planner, "r1")
        assert opened.open == 1

    assert (opened.open, await opened.runs()) == (0, ["r1"])
    assert [one.data_dir for one in opened.settings] == [tmp_path / "data"]
    assert await opened.stores.checkpointer.aget_tuple({"configurable": {"thread_id": "r1"}}) is not None


async def test_with_a_saver_there_is_nothing_to_open(opened: Opened) -> None:
    async with open_planner(actions=[greet], checkpointer=(saver := InMemorySaver())) as planner:
        await run(planner, "r1")

    assert (opened.settings, await opened.runs()) == ([], [])
    assert await saver.aget_tuple({"configurable": {"thread_id": "r1"}}) is not None


@pytest.mark.parametrize("way", ["data_dir", "settings"])
async def test_with_a_saver_and_a_place_the_records_go_there(opened: Opened, tmp_path: Path, way: str) -> None:
    settings = Settings(storage=StorageSettings(redis_url="redis://made-up"))
    given: dict[str, Any] = {"data_dir": tmp_path} if way == "data_dir" else {"settings": settings}
    async with open_planner(actions=[greet], checkpointer=(saver := InMemorySaver()), **given) as planner:
        await run(planner, "r1")

    assert await opened.runs() == ["r1"]
    assert await saver.aget_tuple({"configurable": {"thread_id": "r1"}}) is not None
    assert await opened.stores.checkpointer.aget_tuple({"configurable": {"thread_id": "r1"}}) is None


async def test_an_opening_is_opened_once(opened: Opened) -> None:
    opening = open_planner(actions=[greet])

    first, second = await opening, await opening
    await first.aclose()

    assert first is second
    assert (len(opened.settings), opened.open) == (1, 0)


async def test_two_planners_may_be_open(opened: Opened) -> None:
    async with open_planner(actions=[greet]) as one, open_planner(actions=[greet]) as other:
        await run(one, "r1")
        await run(other, "r2")

    assert (await opened.runs(), opened.open) == (["r2", "r1"], 0)


async def test_stores_that_cannot_be_opened_are_told_by_the_opening(opened: Opened) -> None:
    opened.failing = True

    with pytest.raises(StorageUnavailable, match="redis does not answer"):
        async with open_planner(actions=[greet]):
            pass


def test_storage_is_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "REDIS_URL": "redis://host",
        "IDLE_AFTER": "P2D",
        "ALLOWED_TYPES": '["app.models:User"]',
        "ENCRYPTION_KEY": "0123456789abcdef" * 2,
        "FSYNC": "always",
    }.items():
        monkeypatch.setenv(f"GOALGRAPH_STORAGE__{name}", value)

    storage = Settings().storage

    assert (storage.redis_url, storage.idle_after.days, storage.allowed_types) == (
        ("redis://host", 2, ("app.models:User",))
    )
    assert (storage.fsync, "0123456789abcdef" in repr(storage)) == ("always", False)
    assert storage.key == bytes.fromhex("0123456789abcdef" * 2)


@pytest.mark.parametrize("key", ["", "swordfish", "0" * 31, "g" * 32])
def test_a_key_that_is_none_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("GOALGRAPH_STORAGE__ENCRYPTION_KEY", key)

    with pytest.raises(ValueError, match="openssl rand -hex 32") as raised:
        Settings()
    assert not key or key not in str(raised.value)


def test_a_wrong_name_of_a_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOALGRAPH_STORAGE__REDIS", "redis://host")

    with pytest.raises(ValueError, match=r"storage.redis"):
        Settings()
