"""The rules that keep the tree clean, each a function from a root folder to the places that break it."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

SOURCE = ("checkpointer", "goalgraph", "planner", "skills", "storage")
MODULE_LINES = 400
TEST_MODULE_LINES = 500
FUNCTION_LINES = 50
"""Of the body: the seeds' public methods have twenty keywords."""
AGENTS_LINES = 150

Rule = Callable[[Path], list[str]]

MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:home|Users|root|work|opt|mnt)/\w+")
REGISTRY_HOST = re.compile(r"\b(?:pypi\.org|pythonhosted\.org|(?:npmjs|yarnpkg)\.(?:org|com)|index[-]url)")
SUPPRESSION = re.compile(r"#\s*(?P<kind>noqa|type:\s*ignore|pyright:\s*ignore)\b(?P<rest>.*)")
NAMED_WITH_REASON = {
    "noqa": re.compile(r":\s*[A-Z]+\d+(?:\s*,\s*[A-Z]+\d+)*\s*[-—–#:]+\s*\w.{3,}"),
    "type": re.compile(r"\[[\w-]+(?:\s*,\s*[\w-]+)*\]\s*[-—–#:]+\s*\w.{3,}"),
}


def project_files(root: Path) -> list[Path]:
    """What is, or would be, committed; outside a repository every file."""
    listing = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        return sorted(path for path in root.rglob("*") if path.is_file())
    return sorted(path for name in listing.stdout.split("\0") if name and (path := root / name).is_file())


def python_files(root: Path, *folders: str) -> Iterator[tuple[str, str]]:
    """Path below `root` and text of each Python file in `folders`."""
    for path in project_files(root):
        name = path.relative_to(root).as_posix()
        if path.suffix == ".py" and name.split("/")[0] in folders:
            yield name, path.read_text(encoding="utf-8")


def modules_are_short(root: Path) -> list[str]:
    """A module fits on a few screens."""
    found: list[str] = []
    for folders, limit in (((*SOURCE, "benchmarks"), MODULE_LINES), (("tests",), TEST_MODULE_LINES)):
        for name, text in python_files(root, *folders):
            lines = len(text.splitlines())
            if lines > limit:
                found.append(f"{name}: {lines} lines, {limit} is the most")
    return found


def functions_are_short(root: Path) -> list[str]:
    """A function's body, without its signature and docstring, fits on one screen."""
    found: list[str] = []
    for name, text in python_files(root, *SOURCE, "benchmarks"):
        for node in ast.walk(ast.parse(text, name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
                lines = (node.end_lineno or node.lineno) - body[0].lineno + 1 if body else 0
                if lines > FUNCTION_LINES:
                    found.append(f"{name}:{node.lineno} {node.name}: {lines} lines, {FUNCTION_LINES} is the most")
    return found


def export_order(name: str) -> tuple[int, str]:
    """Constants, classes, functions: the order of ruff's RUF022, which would fight any other."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, name


def packages_say_what_they_are(root: Path) -> list[str]:
    """Each package's `__init__` has a docstring and a sorted `__all__`; `tests` has no `__init__` at all."""
    texts = dict(python_files(root, *SOURCE))
    found = [
        f"{name}: tests are no packages" for name, _ in python_files(root, "tests") if name.endswith("__init__.py")
    ]
    for package in sorted({name.rpartition("/")[0] for name in texts}):
        name = f"{package}/__init__.py"
        if name not in texts:
            found.append(f"{package}: has no __init__.py")
            continue
        tree = ast.parse(texts[name], name)
        if not ast.get_docstring(tree):
            found.append(f"{name}: has no docstring")
        exported = exported_names(tree)
        if exported is None:
            found.append(f"{name}: has no literal __all__")
        elif exported != sorted(set(exported), key=export_order):
            found.append(f"{name}: __all__ is not sorted (constants, classes, functions)")
    return found


def exported_names(tree: ast.Module) -> list[str] | None:
    """The literal `__all__` of a module, if it has one."""
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=value)
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value)
            ):
                return list(ast.literal_eval(value))
            case _:
                continue
    return None


def tests_wait_for_events(root: Path) -> list[str]:
    """No test waits for time to pass, not even in a script that it starts."""
    return [
        f"{name}:{number} waits for time, not for an event"
        for name, text in python_files(root, "tests")
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(r"\bsleep\s*\(", line)
    ]


def tests_always_run(root: Path) -> list[str]:
    """No test is skipped or expected to fail."""
    return [
        f"{name}:{node.lineno} uses {node.attr}"
        for name, text in python_files(root, "tests")
        for node in ast.walk(ast.parse(text, name))
        if isinstance(node, ast.Attribute)
        and node.attr in {"skip", "skipif", "skipIf", "skipUnless", "xfail", "importorskip", "skipTest"}
    ]


def broad_excepts_say_why(root: Path) -> list[str]:
    """`except Exception` has its reason in a comment on the same line."""
    found: list[str] = []
    for name, text in python_files(root, *SOURCE, "benchmarks", "tests"):
        commented = {token.start[0] for token in comments(text)}
        found += [
            f"{name}:{node.lineno} catches everything and does not say why"
            for node in ast.walk(ast.parse(text, name))
            if isinstance(node, ast.ExceptHandler) and catches_all(node.type) and node.lineno not in commented
        ]
    return found


def catches_all(caught: ast.expr | None) -> bool:
    """Whether an `except` with this expression takes any error."""
    match caught:
        case None | ast.Name(id="Exception" | "BaseException"):
            return True
        case ast.Tuple(elts=several):
            return any(catches_all(one) for one in several)
        case _:
            return False


def comments(text: str) -> list[tokenize.TokenInfo]:
    """The comments of a module; text inside strings is none."""
    return [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT]


def suppressions_say_why(root: Path) -> list[str]:
    """Each suppression names its rule and then gives a reason."""
    return [
        f"{name}:{token.start[0]} wants a rule and a reason: {token.string}"
        for name, text in python_files(root, *SOURCE, "benchmarks", "tests")
        for token in comments(text)
        for hit in SUPPRESSION.finditer(token.string)
        if not NAMED_WITH_REASON["noqa" if hit["kind"] == "noqa" else "type"].match(hit["rest"])
    ]


def nothing_of_this_machine(root: Path) -> list[str]:
    """No path of one machine and no registry's host in what is committed."""
    found: list[str] = []
    for path in project_files(root):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a picture
        found += [
            f"{path.relative_to(root).as_posix()}:{number} names {hit.group()}"
            for number, line in enumerate(lines, 1)
            if (hit := MACHINE_PATH.search(line) or REGISTRY_HOST.search(line))
        ]
    return found


def only_settings_read_the_environment(root: Path) -> list[str]:
    """Lower packages take values; `goalgraph/settings.py` reads the environment once."""
    variables = {"environ", "environb", "getenv", "getenvb"}
    found: list[str] = []
    for name, text in python_files(root, *SOURCE):
        if name == "goalgraph/settings.py":
            continue
        for node in ast.walk(ast.parse(text, name)):
            match node:
                case ast.Attribute(value=ast.Name(id="os"), attr=attr) if attr in variables:
                    found.append(f"{name}:{node.lineno} reads os.{attr}")
                case ast.ImportFrom(module="os", names=names) if variables & {alias.name for alias in names}:
                    found.append(f"{name}:{node.lineno} imports the environment from os")
                case _:
                    continue
    return found


def the_guides_exist(root: Path) -> list[str]:
    """Users have a change log, contributors a guide that can be read in one go."""
    found = [f"{name} is missing" for name in ("AGENTS.md", "CHANGELOG.md") if not (root / name).is_file()]
    if not found:
        lines = len((root / "AGENTS.md").read_text(encoding="utf-8").splitlines())
        found += [f"AGENTS.md: {lines} lines, {AGENTS_LINES} is the most"] if lines > AGENTS_LINES else []
    return found


RULES: list[Rule] = [
    modules_are_short,
    functions_are_short,
    packages_say_what_they_are,
    tests_wait_for_events,
    tests_always_run,
    broad_excepts_say_why,
    suppressions_say_why,
    nothing_of_this_machine,
    only_settings_read_the_environment,
    the_guides_exist,
]
