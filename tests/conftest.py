"""What holds for every test: it can be repeated, and it leaves nothing behind."""

import asyncio
import inspect
import os
import random
import resource
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis
import psutil
import pytest

ROOT = Path(__file__).parents[1]
CACHES = {".git", ".hypothesis", ".pytest_cache", ".ruff_cache", ".venv", "__pycache__"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EXIT_SECONDS = 5.0
"""How long a process that a test has ended may take to be gone."""

# `print_blob`: a failure prints the line that repeats it. No deadline, because two workers share the machine.
hypothesis.settings.register_profile("goalgraph", print_blob=True, deadline=None)
hypothesis.settings.load_profile("goalgraph")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="seed of `random` in every test (default: a new one, printed)")


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed before xdist copies the options to its workers, and let tests open many files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # chdb leaves some ten files open each time it is opened
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(2**32)


def pytest_report_header(config: pytest.Config) -> str:
    return f"random: --seed={config.option.seed}"


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a task, a child process or a file in the checkout."""
    random.seed(request.config.option.seed)
    if inspect.iscoroutinefunction(inspect.unwrap(request.function)):
        request.getfixturevalue("leaves_no_task")
    children = child_processes()
    written.clear()
    yield
    _, alive = psutil.wait_procs(child_processes() - children, timeout=EXIT_SECONDS)
    assert not alive, f"child processes left: {alive}"
    assert not written, f"written in the checkout: {sorted(written)}"


@pytest.fixture(autouse=True)
def own_data_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever opens the embedded stores without saying where has a folder of its own, made when it is used."""
    monkeypatch.setenv("GOALGRAPH_DATA_DIR", str(tmp_path_factory.getbasetemp() / f"data-{uuid4().hex}"))


@pytest.fixture
async def leaves_no_task() -> AsyncIterator[None]:
    tasks = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - tasks - {asyncio.current_task()}
    assert not left, f"tasks left: {left}"


def child_processes() -> set[psutil.Process]:
    """Our children, without the one that multiprocessing keeps for itself."""
    return {child for child in psutil.Process().children() if not is_multiprocessing_own(child)}


def is_multiprocessing_own(child: psutil.Process) -> bool:
    try:
        return any("multiprocessing.resource_tracker" in part for part in child.cmdline())
    except psutil.Error:  # it has just ended
        return False


written: set[str] = set()


def note_writing(event: str, arguments: tuple[Any, ...]) -> None:
    """Note a file of the checkout that this process opens to write; unlike a listing, it sees no other process's."""
    if event != "open" or not isinstance(arguments[0], str | bytes) or not (arguments[2] or 0) & WRITING:
        return
    path = Path(os.path.abspath(os.fsdecode(arguments[0])))  # noqa: PTH100 - Path.absolute keeps ".."
    if path.is_relative_to(ROOT) and not CACHES & set(path.relative_to(ROOT).parts):
        written.add(str(path))


sys.addaudithook(note_writing)
