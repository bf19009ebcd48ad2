"""The tree keeps the house rules, and each rule notices when it is broken."""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

from tests.house import rules

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: rules.Rule) -> None:
    assert rule(ROOT) == []


def word(reversed_word: str) -> str:
    """What a rule looks for in text, spelt so that this file does not break the rule."""
    return reversed_word[::-1]


LONG_BODY = "\n    pass" * (rules.FUNCTION_LINES + 1)
NAP = f"{word('peels')}(1)"
HOUSE = word("/emoh/")

VIOLATIONS: list[tuple[rules.Rule, str, str]] = [
    (rules.modules_are_short, "planner/long.py", "pass\n" * 401),
    (rules.modules_are_short, "tests/test_long.py", "pass\n" * 501),
    (rules.functions_are_short, "storage/long.py", f"def f():{LONG_BODY}\n"),
    (rules.functions_are_short, "storage/long.py", f"class C:\n  async def f(self):{LONG_BODY}\n"),
    (rules.packages_say_what_they_are, "planner/plan/steps.py", '"""No __init__ beside it."""\n'),
    (rules.packages_say_what_they_are, "skills/__init__.py", '__all__ = ["Skill"]\n'),
    (rules.packages_say_what_they_are, "skills/__init__.py", '"""Skills."""\n'),
    (rules.packages_say_what_they_are, "skills/__init__.py", '"""Skills."""\n__all__: list[str] = ["b", "a"]\n'),
    (rules.packages_say_what_they_are, "skills/__init__.py", '"""Skills."""\n__all__ = ["load", "Skill"]\n'),
    (rules.packages_say_what_they_are, "tests/unit/__init__.py", ""),
    (rules.tests_wait_for_events, "tests/test_nap.py", f"time.{NAP}\n"),
    (rules.tests_wait_for_events, "tests/test_nap.py", f'SCRIPT = "import time; time.{NAP}"\n'),
    (rules.tests_always_run, "tests/test_off.py", "@pytest.mark.skipif(True)\ndef test(): ...\n"),
    (rules.tests_always_run, "tests/test_off.py", "pytest.importorskip('redis')\n"),
    (rules.tests_always_run, "tests/test_off.py", "@pytest.mark.xfail\ndef test(): ...\n"),
    (rules.broad_excepts_say_why, "planner/x.py", "try:\n  f()\nexcept Exception:\n  # too late here\n  pass\n"),
    (rules.broad_excepts_say_why, "planner/x.py", "try:\n  f()\nexcept:\n  pass\n"),
    (rules.broad_excepts_say_why, "planner/x.py", "try:\n  f()\nexcept (OSError, BaseException) as e:\n  pass\n"),
    (rules.suppressions_say_why, "planner/x.py", "x = 1  # noqa\n"),
    (rules.suppressions_say_why, "planner/x.py", "x = 1  # noqa: E501\n"),
    (rules.suppressions_say_why, "planner/x.py", "x = 1  # noqa - because of the weather\n"),
    (rules.suppressions_say_why, "planner/x.py", "x = 1  # type: ignore\n"),
    (rules.suppressions_say_why, "planner/x.py", "x = 1  # type: ignore[arg-type]\n"),
    (rules.suppressions_say_why, "tests/x.py", "x = 1  # pyright: ignore[reportAny]\n"),
    (rules.suppressions_say_why, "tests/x.py", "x = 1  # pyright: ignore  # because of the weather\n"),
    (rules.nothing_of_this_machine, "README.md", f"cd {HOUSE}someone/goalgraph\n"),
    (rules.nothing_of_this_machine, "requirements.txt", f"--{word('lru-xedni')} https://example.com\n"),
    (rules.nothing_of_this_machine, "x.lock", f"https://files.{word('gro.detsohnohtyp')}/x\n"),
    (rules.only_settings_read_the_environment, "storage/x.py", "import os\nurl = os.environ['URL']\n"),
    (rules.only_settings_read_the_environment, "goalgraph/x.py", "import os\nurl = os.getenv('URL')\n"),
    (rules.only_settings_read_the_environment, "planner/x.py", "from os import environ\n"),
    (rules.the_guides_exist, "README.md", ""),
    (rules.the_guides_exist, "AGENTS.md", "one\n"),
]


@pytest.mark.parametrize(("rule", "name", "text"), VIOLATIONS)
def test_a_rule_notices_when_it_is_broken(rule: rules.Rule, name: str, text: str, tmp_path: Path) -> None:
    write(tmp_path, name, text)

    assert len(rule(tmp_path)) >= 1


def test_a_long_guide_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, "CHANGELOG.md", "")
    write(tmp_path, "AGENTS.md", "line\n" * (rules.AGENTS_LINES + 1))

    assert len(rules.the_guides_exist(tmp_path)) == 1


KEPT = '''"""Everything here is allowed."""

import os.path

__all__ = ["LIMIT", "Plan", "Step", "load"]

TEXT = "# noqa, pytest.skip and /homeless are only text here"
try:
    import this  # noqa: F401 - shows the form of a reason
except (ImportError, OSError):
    pass
try:
    pass
except Exception:  # noqa: BLE001 - an action may raise anything
    pass
x: int = ""  # type: ignore[assignment] - shows the form of a reason
y: int = ""  # pyright: ignore[reportAssignmentType]  # shows the other form
'''


def test_clean_code_breaks_no_rule(tmp_path: Path) -> None:
    for name in ("planner/__init__.py", "tests/test_clean.py"):
        write(tmp_path, name, KEPT)
    write(tmp_path, "goalgraph/settings.py", "import os\nhome = os.environ\n")
    write(tmp_path, "goalgraph/__init__.py", '"""Ours."""\n__all__: list[str] = []\n')
    write(tmp_path, "AGENTS.md", "")
    write(tmp_path, "CHANGELOG.md", "")

    assert [found for rule in rules.RULES for found in rule(tmp_path)] == []


def missing_exports(module: ModuleType) -> list[str]:
    """Names in `__all__` that the module does not have."""
    return [f"{module.__name__}.{name}" for name in module.__all__ if not hasattr(module, name)]


@pytest.mark.parametrize("package", rules.SOURCE)
def test_every_exported_name_exists(package: str) -> None:
    top = importlib.import_module(package)
    below = [entry.name for entry in pkgutil.walk_packages(top.__path__, f"{package}.") if entry.ispkg]

    assert [name for module in (package, *below) for name in missing_exports(importlib.import_module(module))] == []


def test_a_name_that_is_exported_but_absent_is_noticed() -> None:
    module = ModuleType("ghostly")
    module.__dict__["__all__"] = ["ghost"]

    assert missing_exports(module) == ["ghostly.ghost"]


@pytest.mark.parametrize("package", rules.SOURCE)
def test_every_package_is_marked_as_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
