"""What users get: the wheel, installed where there is no checkout."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What would let the checkout, or a model of the person who runs the tests, into the environment of a user.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"} and not name.startswith(("GOALGRAPH_", "OPENAI_"))
}
PACKAGES = ("checkpointer", "goalgraph", "planner", "skills", "storage")

pytestmark = pytest.mark.timeout(420)  # the first one installs everything


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command outside the checkout, and without our settings."""
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=ENVIRONMENT
    )


def succeed(*command: str | Path, cwd: Path) -> str:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    succeed(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("goalgraph-*.whl")
    return built


@pytest.fixture(scope="session")
def user_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with nothing in it but the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("user") / "env"
    succeed(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    succeed(*pip, "-c", ROOT / "constraints.txt", wheel, cwd=folder.parent)
    return python


def first_python_block(markdown: str) -> str:
    """The first fenced block of Python."""
    block = re.search(r"^```python\n(.*?)^```$", markdown, re.DOTALL | re.MULTILINE)
    assert block, "there is no ```python block"
    return block[1]


def test_the_readme_example_runs_where_only_the_wheel_is_installed(user_python: Path, tmp_path: Path) -> None:
    example = tmp_path / "example.py"
    example.write_text(first_python_block((ROOT / "README.md").read_text(encoding="utf-8")), encoding="utf-8")

    succeed(user_python, example, cwd=tmp_path)


def test_the_installed_command_answers(user_python: Path, tmp_path: Path) -> None:
    assert "demo" in succeed(user_python.parent / "goalgraph", "--help", cwd=tmp_path)


def test_what_is_imported_is_the_wheel(user_python: Path, tmp_path: Path) -> None:
    for package in PACKAGES:
        path = succeed(user_python, "-c", f"import {package}; print({package}.__file__)", cwd=tmp_path)

        assert Path(path).is_relative_to(user_python.parents[1])


def test_the_wheel_holds_the_packages_with_their_data_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    in_checkout = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {name for name in names if ".dist-info/" not in name} == in_checkout
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.parametrize("name", [f"{package}/__init__.py" for package in PACKAGES if package != "goalgraph"])
def test_a_folder_of_the_users_that_hides_ours_is_named(name: str, user_python: Path, tmp_path: Path) -> None:
    hiding = tmp_path / name
    hiding.parent.mkdir()
    hiding.write_text("")

    done = run(user_python, "-c", "import goalgraph", cwd=tmp_path)

    assert done.returncode == 1
    assert "ImportError" in done.stderr.splitlines()[-1]
    assert str(hiding) in done.stderr.splitlines()[-1]


def test_a_module_of_the_users_that_hides_ours_is_named(user_python: Path, tmp_path: Path) -> None:
    (tmp_path / "storage.py").write_text("")

    done = run(user_python, "-c", "import goalgraph", cwd=tmp_path)

    assert "ImportError" in done.stderr.splitlines()[-1]
    assert str(tmp_path / "storage.py") in done.stderr.splitlines()[-1]


def test_a_folder_of_the_users_without_code_hides_nothing(user_python: Path, tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()

    succeed(user_python, "-c", "import goalgraph", cwd=tmp_path)
