"""`--catalog`: every form that it takes, and a sentence for each that it does not."""

import pytest

from goalgraph.cli.catalogs import load_catalog
from goalgraph.cli.exits import CommandError
from tests.support.command_line import ACTIONS, CommandLine


def names(where: str) -> list[str]:
    return sorted(spec.name for spec in load_catalog(where))


ALL = ["find_city", "forecast_weather", "hang"]
MORE = """
from goalgraph import ActionCatalog
few = [find_city]
own = ActionCatalog([find_city, hang])
nothing = []
number = 3
"""


def test_the_actions_of_a_file_are_collected(command: CommandLine) -> None:
    assert names(str(command.catalog)) == ALL


def test_the_actions_of_a_module_in_the_working_folder_are_collected(command: CommandLine) -> None:
    command.file("my_actions_here.py", ACTIONS)

    assert names("my_actions_here") == ALL


@pytest.mark.parametrize(
    ("name", "found"), [("few", ["find_city"]), ("own", ["find_city", "hang"]), ("hang", ["hang"])]
)
def test_a_name_is_a_catalog_a_list_or_one_action(name: str, found: list[str], command: CommandLine) -> None:
    path = command.file("more.py", ACTIONS + MORE)

    assert names(f"{path}:{name}") == found


def test_the_one_catalog_of_a_module_is_taken_before_its_functions(command: CommandLine) -> None:
    assert names(str(command.file("more.py", ACTIONS + MORE))) == ["find_city", "hang"]


def test_a_file_beside_the_catalog_can_be_imported_by_it(command: CommandLine) -> None:
    command.file("pieces_of_it.py", ACTIONS)
    path = command.file("whole.py", "from pieces_of_it import find_city")

    assert names(str(path)) == ["find_city"]


def test_a_file_of_the_users_does_not_replace_our_packages(command: CommandLine) -> None:
    command.file("planner.py", "raise RuntimeError('the wrong planner')")

    assert names(str(command.catalog)) == ALL


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (None, ["--catalog", "goalgraph.demo"]),
        ("no_such_module", ["no module 'no_such_module'"]),
        ("no_such.module:name", ["no module 'no_such'"]),
        ("what is this", ["neither a module nor a Python file"]),
        ("nowhere.py", ["nowhere.py does not exist"]),
        ("./", ["is a folder"]),
        ("json", ["no ActionCatalog", "@action"]),
        ("json:dumps", ["is a function"]),
        ("json:absent", ["has no 'absent'"]),
        ("more.py:number", ["is a int"]),
        ("more.py:nothing", ["empty list"]),
        ("more.py:absent", ["has no 'absent'", "find_city"]),
        ("two.py", ["2 catalogs", "two.py:one", "two.py:other"]),
        ("broken.py", ["broken.py, line 2", "invalid syntax"]),
        ("raises.py", ["ZeroDivisionError", "raises.py, line 2"]),
        ("exits.py", ["ended the program", "__main__"]),
        ("untyped.py", ["untyped.py", "Thing"]),
        ("needs.py", ["ModuleNotFoundError", "no_such_library", "line 1"]),
        ("option.py", ["ValueError", "effect", "option.py, line 2"]),
    ],
)
def test_what_is_no_catalog_is_refused_with_a_sentence(
    where: str | None, words: list[str], command: CommandLine
) -> None:
    command.file("more.py", ACTIONS + MORE)
    command.file("two.py", "from goalgraph import ActionCatalog\none, other = ActionCatalog(), ActionCatalog()")
    command.file("broken.py", "x = 1\nx ==== 2")
    command.file("raises.py", "x = 0\n1 / x")
    command.file("exits.py", "import sys\nsys.exit(3)")
    command.file(
        "untyped.py", "from goalgraph import action\nclass Thing: ...\n@action\ndef make(of: Thing) -> str: ..."
    )
    command.file("needs.py", "import no_such_library")
    command.file("option.py", "from goalgraph import action\n@action(effect='loud')\ndef f() -> str: ...")

    with pytest.raises(CommandError) as refused:
        load_catalog(where)

    assert [word for word in words if word not in str(refused.value)] == []


def test_what_else_a_module_holds_may_be_as_odd_as_it_likes(command: CommandLine) -> None:
    """Clients and proxies that connect at the first look, and raise, stand beside the actions of real modules."""
    odd = """
class Odd:
    def __call__(self): ...
    def __getattr__(self, name):
        raise RuntimeError(name)
class Odder(Odd):
    @property
    def __class__(self):
        raise RuntimeError("class")
odd, odder = Odd(), Odder()
"""
    path = command.file("odd.py", ACTIONS + odd)

    assert names(str(path)) == ALL
    for name in ("odd", "absent"):
        with pytest.raises(CommandError):
            load_catalog(f"{path}:{name}")
