"""`python -m tests.chaos [--seconds N] [--seed S]`: let everything fail at random, and lose nothing."""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.campaign import Campaign


async def run(seconds: float, seed: int, *, forget: bool) -> int:
    """Run a campaign and return the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="gg-chaos-"))
    try:
        campaign = Campaign(folder, seed, forget=forget)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, campaign.ended.set)
        print(f"seed {seed}", flush=True)
        await campaign.run(seconds, lambda line: print(line, flush=True))
    finally:
        shutil.rmtree(folder)
    print(campaign.summary(), flush=True)
    if campaign.wrong:
        print(f"to repeat: .venv/bin/python -m tests.chaos --seconds {seconds:g} --seed {seed}", flush=True)
    return int(bool(campaign.wrong))


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    arguments.add_argument("--seconds", type=float, default=30.0, help="how long (default: 30)")
    arguments.add_argument("--seed", type=int, help="of all that is chosen (default: a new one, printed)")
    arguments.add_argument("--forget", action="store_true", help="flush Redis half way, to see that it is noticed")
    given = arguments.parse_args()
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    sys.exit(asyncio.run(run(given.seconds, seed, forget=given.forget)))


if __name__ == "__main__":
    main()
