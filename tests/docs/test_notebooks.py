"""The notebooks run from top to bottom, and are committed without what they leave behind."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.command_line import own_environment

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROMISED = {
    "01_first_plan": ["write_postcrd → write_postcard", "KeyError: 'ATLANTIS'", "buy_stamps post_cards post_cards"],
    "02_history_and_sql": [
        "the trips ended with: ['Good-bye, Lisbon!', 'Good-bye, Oslo!']",
        "XXX failed {}",
        "KeyError",
        "succeeded",
    ],
    "03_background_runs": [
        "waiting for ['parcel']",
        "gift-for-ada waiting",
        "parcel asks: May send_parcel run?",
        "called back: succeeded",
        "cancelled {'frame': 'undone'}",
        "failed at address with KeyError: 'Grace'",
        "returned a small frame\nbought a small frame\nsent a parcel to 1 Mill Lane\n",
    ],
    "04_skills_and_dialogue": [
        "['references/streets.md']\ntrusted: False\n",
        "ferries, line None: skipped: it has no `description`",
        "taxis, line 3: skipped: the front matter is not YAML",
        '<data name="skills">\n- quiet-trips  # How we choose hotels',
        '<data name="skill">\nskill quiet-trips\nTake a street that references/streets.md calls quiet',
        "Mill Lane is quiet. Station Square is not.\n</data>",
        '<data name="examples">\n{"goal": "A quiet hotel where I land"',
        "a worked example of 'old-habits' is not used: step 'bed': unknown action 'find_hostel'; closest: find_hotel",
        "it does not replace our 'planning-rules', because what is in this folder is not trusted",
        "obeys: False\noffered: False\nplan: None pay_out may be called by the roles accounting only\nrun: failed",
        "To go on I need: airport (text), guest (text).",
        "> My flight goes to OSL\nTo go on I need: guest (text).",
        '(hotel: what step 2 gives; nights: 2; guest: "Ada")',
        "['book: nights is now 3 (was 2)']",
        "8 messages; Say yes to run it",
        "> yes\nDone. booking: 3 nights in Hotel Mill Lane in Oslo for Ada",
        "Done. card: Dear Grace, I have 3 nights in Hotel Mill Lane in Oslo for Ada.",
        r'"Book me a room where I land → booking: \"3 nights in Hotel Mill Lane in Oslo for Ada\""',
        "12 messages, the first: user - Book me a room where I land",
        "SessionNotFound: there is no session 'my-trip' for this user",
        "roast_potatoes: potatoes, Roast, oven",
    ],
}
"""What the text of a notebook says, as its cells print it."""
DRAWN = {"01_first_plan", "03_background_runs", "04_skills_and_dialogue"}
"""Notebooks that draw a plan."""
SOCKETS = "goalgraph-"
"""The folder of this user for the sockets of private redis-servers; it stays."""


def left_in(folder: Path) -> list[str]:
    """What is there besides the folder for sockets."""
    return [entry.name for entry in folder.iterdir() if not entry.name.startswith(SOCKETS)]


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks() -> None:
    assert PROMISED.keys() == {path.stem for path in NOTEBOOKS}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
async def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    notebook = read(path)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    with TemporaryDirectory(prefix="gg-") as temporary:  # pytest's own folders are too deep for a socket's path
        await client.async_execute(env={**own_environment(), "PYTHONPATH": str(ROOT), "TMPDIR": temporary})
        left = left_in(Path(temporary))

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output["data"]["image/svg+xml"] for output in outputs if "image/svg+xml" in output.get("data", {})]
    printed = "".join(output["text"] for output in outputs if output.output_type == "stream")
    assert (path.stem in DRAWN) == any(picture.startswith("<svg") for picture in pictures)
    assert [said for said in PROMISED[path.stem] if said not in printed] == []
    assert left == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    assert [cell.outputs for cell in read(path).cells if cell.cell_type == "code" and cell.outputs] == []
