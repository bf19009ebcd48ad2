"""The picture of a plan in the README. `python -m tests.support.plan_picture` draws it again."""

import asyncio
from pathlib import Path

import goalgraph.demo
from goalgraph.cli.catalogs import load_catalog
from goalgraph.cli.demo import QUESTION, WANTS
from planner.service import PlannerService

PICTURE = Path(__file__).parents[2] / "docs" / "plan.svg"


async def draw() -> str:
    """The demo's plan, as it is found without a model."""
    catalog = load_catalog(goalgraph.demo.__name__)
    planned = await PlannerService(catalog).plan(goal=QUESTION, wants=WANTS)
    assert planned.plan is not None
    return planned.plan.draw(catalog=catalog).svg


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(asyncio.run(draw()), encoding="utf-8")
