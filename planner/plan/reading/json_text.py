"""JSON as people and models write it: read leniently, every change to the text recorded, nothing guessed in silence."""

import ast
import codecs
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from types import EllipsisType
from typing import Any

from json_repair.json_parser import JSONParser

from planner.limits import Limits
from planner.plan.mending.patches import Patch
from planner.plan.reading.json_values import Fault, Repeats, count_keys

MENDABLE_CHARS = 32_000
"""Longer broken texts are not given to json_repair."""

LOOKS = 20
"""How often json_repair may look at each character, on average: plans need 2; a hostile text of 32,000 took 100 s."""

ATTEMPTS = 64
"""How many brackets in prose are tried as the beginning of JSON."""

Wanted = Callable[[Any], bool]

_STRING = r'"(?:[^"\\]++|\\.)*+"'
_SINGLE_QUOTED = r"(?<=[\[{,:\s])'(?:[^'\\\n]++|\\.)*+'(?=\s*[,:}\]])"
_TOKEN = re.compile(rf'(?P<string>{_STRING}|{_SINGLE_QUOTED})|(?P<quote>")|(?P<bracket>[\[\]{{}}])', re.DOTALL)
# here and in a fence nothing is looked at twice: an open string takes the rest, as does an open fence
_TRAILING_COMMA = re.compile(r'(?P<string>"(?:[^"\\]++|\\.)*+"?+)|,(?=\s*+[}\]])', re.DOTALL)
_FENCE = re.compile(r"```[^\n`]*+\n(.*?)(?:^[^\S\n]*+```|\Z)", re.DOTALL | re.MULTILINE)
_KEY = re.compile(r"""["'][\w.-]+["']\s*:""")
_AFTER_KEY = re.compile(r"""["']\s*:\s*\Z""")
_OPENING = re.compile(r"[\[{]")
_ODD_ESCAPE = re.compile(r"""(?<!\\)(?:\\\\)*\\[^\\'"abfnrtvxuUN0-7\n]""")
_PAIRS = {"}": "{", "]": "["}

_CUT = Fault(
    (),
    "undecodable",
    "the text ends before the plan does, so values or steps may be missing; return the whole plan, shorter if need be",
)
_MISMATCHED = Fault(
    (), "undecodable", "the brackets do not match, so it is not clear what belongs to what; return the whole plan again"
)
_LOST = Fault(
    (), "undecodable", "parts of the JSON are broken or given twice and could not be kept; return the whole plan again"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read from a text, before it was looked at as data."""

    value: Any = None
    found: bool = False
    faults: tuple[Fault, ...] = ()
    patches: tuple[Patch, ...] = ()
    repeats: Repeats = field(default_factory=Repeats)


@dataclass(slots=True)
class _Brackets:
    """The brackets of a text that is perhaps no JSON."""

    open: list[str] = field(default_factory=list[str])
    depth: int = 0
    matched: bool = True
    in_string: bool = False


def read_json(source: str | bytes, limits: Limits, wanted: Wanted) -> Reading:
    """Read the one JSON value in `source` that is `wanted`; where it is uncertain what was meant, there is a fault."""
    if (fault := _too_large(source, limits)) is not None:
        return Reading(faults=(fault,))
    text, patches = _plain_text(source)
    reading = _strict(text, limits)
    if isinstance(reading.value, str):
        inner = _strict(reading.value.strip(), limits)
        if inner.found and wanted(inner.value):
            patches.append(Patch(path=(), before=text, after=reading.value, reason="the JSON was inside a JSON string"))
            reading = inner
    if not reading.found and not reading.faults:
        reading = _embedded(text, wanted)
    if not reading.found and not reading.faults:
        reading = _mended(_region(text), limits, wanted)
    return replace(reading, patches=(*patches, *reading.patches))


def _too_large(source: str | bytes, limits: Limits) -> Fault | None:
    size = len(source)
    if isinstance(source, str) and size <= limits.plan_bytes < size * 4:
        size = len(source.encode("utf-8", "surrogatepass"))
    if size <= limits.plan_bytes:
        return None
    bound = f"the text has {size} bytes, {limits.plan_bytes} are allowed (limit 'plan_bytes')"
    return Fault((), "over_budget", f"{bound}; write less")


def _plain_text(source: str | bytes) -> tuple[str, list[Patch]]:
    """Decode bytes; those that are no UTF-8 become lone surrogates, which the data is searched for later."""
    text = source if isinstance(source, str) else _decode(source)
    patches: list[Patch] = []
    for mended, reason in (
        (text.removeprefix("\ufeff"), "a byte order mark was left out"),
        (text.replace("\x00", ""), "NUL characters were left out"),
        (text.rpartition("</think>")[2], "the reasoning before the answer was left out"),
    ):
        if mended != text:
            patches.append(Patch(path=(), before=text, after=mended, reason=reason))
    text = text.removeprefix("\ufeff").replace("\x00", "").rpartition("</think>")[2]
    return text, patches


def _decode(source: bytes) -> str:
    marks = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}  # before UTF-16, whose mark begins alike
    marks |= {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    for mark, encoding in marks.items():
        if source.startswith(mark):
            return source.decode(encoding, "replace")
    return source.decode("utf-8", "surrogateescape")


def _strict(text: str, limits: Limits) -> Reading:
    if (fault := _too_deep(text, limits)) is not None:
        return Reading(faults=(fault,))
    repeats = Repeats()
    try:
        value = _decoder(repeats).decode(text)
    except (ValueError, RecursionError):
        return Reading()
    return Reading(value, found=True, repeats=repeats)


def _decoder(repeats: Repeats) -> json.JSONDecoder:
    # strict=False takes raw line breaks inside strings, which models write and nobody can misread
    return json.JSONDecoder(object_pairs_hook=repeats.note, parse_int=_integer, strict=False)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= 400 else float("inf")  # int() refuses more than 4,300 digits


def _too_deep(text: str, limits: Limits) -> Fault | None:
    """Find the depth before a recursive parser meets it."""
    if text.count("{") + text.count("[") <= limits.nesting:
        return None
    depth = _brackets(text).depth
    if depth <= limits.nesting:
        return None
    bound = f"lists and objects are nested {depth} deep, {limits.nesting} are allowed (limit 'nesting')"
    return Fault((), "over_budget", f"{bound}; flatten them")


def _brackets(text: str) -> _Brackets:
    seen = _Brackets()
    for token in _TOKEN.finditer(text):
        if token["quote"]:
            seen.in_string = True  # it is never closed
            break
        match token["bracket"]:
            case "{" | "[" as bracket:
                seen.open.append(bracket)
                seen.depth = max(seen.depth, len(seen.open))
            case "}" | "]" as bracket:
                seen.matched = bool(seen.open) and seen.open.pop() == _PAIRS[bracket] and seen.matched
            case _:
                pass
    return seen


def _embedded(text: str, wanted: Wanted) -> Reading:
    """Find whole JSON between fences or in prose."""
    found: list[Reading] = []
    at = 0
    for _ in range(ATTEMPTS):
        start = _OPENING.search(text, at)
        if start is None:
            break
        at = start.start()
        if _AFTER_KEY.search(text[max(0, at - 40) : at]):
            return Reading()  # what is inside broken JSON must not be taken for the whole
        repeats = Repeats()
        try:
            value, at = _decoder(repeats).raw_decode(text, at)
        except (ValueError, RecursionError):
            at = _end_of_value(text, at)
            continue
        if wanted(value) and all(value != other.value for other in found):
            found.append(Reading(value, found=True, repeats=repeats))
    if not found:
        return Reading()
    last = _with_patch(found[-1], text, "the text around the JSON was left out")
    if len(found) == 1:
        return last
    several = Fault((), "undecodable", f"the text holds {len(found)} different plans; return exactly one")
    return replace(last, faults=(several,))


def _end_of_value(text: str, start: int) -> int:
    """Find where the bracket at `start` is closed, or the end of the text."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token["quote"]:
            break
        if token["bracket"]:
            depth += 1 if token["bracket"] in "[{" else -1
            if depth == 0:
                return token.end()
    return len(text)


def _region(text: str) -> str:
    """Narrow a text to where its JSON seems to be."""
    fences = [block for block in _FENCE.findall(text) if _OPENING.search(block)]
    inner = max(fences, key=len) if fences else text
    start = _OPENING.search(inner)
    return inner[start.start() :].rstrip() if start else ""


def _mended(region: str, limits: Limits, wanted: Wanted) -> Reading:
    """Mend broken JSON; a value that had to be invented or may be cut off is a fault beside what could be read."""
    if not region:
        return Reading()
    if (fault := _too_deep(region, limits)) is not None:
        return Reading(faults=(fault,))
    for reading, reason in _guesses(region, limits):
        if reading.found and wanted(reading.value):
            return _with_patch(reading, region, reason)
    return Reading()


def _guesses(region: str, limits: Limits) -> Iterator[tuple[Reading, str]]:
    """Read `region` in ever bolder ways."""
    closed = region[: max(region.rfind("}"), region.rfind("]")) + 1]
    yield _strict(closed, limits), "the text around the JSON was left out"
    yield _strict(_without_commas(closed), limits), "trailing commas were left out"
    if len(region) > MENDABLE_CHARS * 8:
        return
    yield _python(closed), "Python literals were read as JSON"
    brackets = _brackets(region)
    whole = not brackets.open and not brackets.in_string
    if not whole and brackets.matched and not brackets.in_string:
        closing = "".join("}" if bracket == "{" else "]" for bracket in reversed(brackets.open))
        reading = _strict(_without_commas(region + closing), limits)
        # where only braces lack after the list of steps, the steps are all there
        faults = () if "[" not in brackets.open and region.endswith(("}", "]", '"')) else (_CUT,)
        yield replace(reading, faults=(*reading.faults, *faults)), "closing brackets were added"
    if len(region) <= MENDABLE_CHARS and _raw_depth(region) <= limits.nesting * 2:
        faults = () if whole and brackets.matched else (_CUT,) if brackets.matched else (_MISMATCHED,)
        yield _json_repair(closed if whole else region, faults), "broken JSON was mended"


def _python(text: str) -> Reading:
    if _ODD_ESCAPE.search(text):
        return Reading()  # Python would warn about it, and nobody knows what was meant
    try:
        tree = ast.parse(text, mode="eval")
        value = ast.literal_eval(tree)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return Reading()
    nodes = list(ast.walk(tree))
    if any(isinstance(node, ast.Set) or _is_binary(node) for node in nodes):
        return Reading()
    keys = [[ast.dump(key) for key in node.keys if key] for node in nodes if isinstance(node, ast.Dict)]
    faults = () if all(len(names) == len(set(names)) for names in keys) else (_LOST,)
    return Reading(value, found=True, faults=faults)


def _is_binary(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bytes | complex | EllipsisType)


def _json_repair(text: str, faults: tuple[Fault, ...]) -> Reading:
    try:
        value: Any = _BoundedParser(text).parse()
    except Exception:  # noqa: BLE001 -- it is made of heuristics; a text that breaks them is a text that cannot be read
        return Reading()
    # it drops and joins what it cannot place without a word, so that a mended plan may be another plan
    kept = len(_KEY.findall(text)) <= count_keys(value) and _skeleton(text) == _skeleton(_show(value))
    return Reading(value, found=True, faults=faults if kept or faults else (_LOST,))


class _BoundedParser(JSONParser):
    """json_repair's parser, which has no bound of its own."""

    def __init__(self, text: str) -> None:
        super().__init__(text, None, logging=False)
        self.looks = len(text) * LOOKS + 1_000

    def get_char_at(self, count: int = 0) -> str | None:
        self._look(1)
        return super().get_char_at(count)

    def skip_to_character(self, character: str | list[str], idx: int = 0) -> int:
        found = super().skip_to_character(character, idx)
        self._look((found - idx) // 8)  # it goes through a string faster than it takes single characters
        return found

    def parenthesized_is_explicit_tuple(self) -> bool:
        self._look((len(self.json_str) - self.index) // 8)
        return super().parenthesized_is_explicit_tuple()

    def _look(self, characters: int) -> None:
        self.looks -= characters
        if self.looks < 0:
            raise ValueError("too much work")


def _skeleton(text: str) -> str:
    """Return what must not change when commas, colons and quotes are mended."""
    words = text.replace("None", "null").replace("True", "true").replace("False", "false")
    return re.sub(r"""[\s,:'"\\]""", "", words)


def _raw_depth(text: str) -> int:
    """Return the depth that json_repair may recurse to, which does not always see strings where we do."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}(]", text):
        depth = max(0, depth + (1 if bracket in "[{(" else -1))
        deepest = max(deepest, depth)
    return deepest


def _without_commas(text: str) -> str:
    return _TRAILING_COMMA.sub(lambda token: token["string"] or "", text)


def _with_patch(reading: Reading, before: str, reason: str) -> Reading:
    patch = Patch(path=(), before=before, after=_show(reading.value), reason=reason)
    return replace(reading, patches=(*reading.patches, patch))


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
