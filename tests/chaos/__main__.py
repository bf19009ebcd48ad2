"""`python -m tests.chaos [--what saver|runs|both] [--seconds N] [--seed S]`: let everything fail, and lose nothing."""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.campaign import Campaign
from tests.chaos.run_campaign import RunCampaign


async def run(what: str, given: argparse.Namespace, seed: int) -> int:
    """Run one campaign and return its exit code."""
    folder = Path(tempfile.mkdtemp(prefix="gg-chaos-"))
    try:
        if what == "saver":
            campaign = Campaign(folder, seed, forget=given.forget)
        else:
            campaign = RunCampaign(folder, seed, rate=given.rate, fence=not given.no_fence, calm=given.calm)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, campaign.ended.set)
        print(f"{what}: seed {seed}", flush=True)
        await campaign.run(given.seconds, lambda line: print(line, flush=True))
    finally:
        shutil.rmtree(folder)
    print(campaign.summary(), flush=True)
    if campaign.wrong:
        again = f".venv/bin/python -m tests.chaos --what {what} --seconds {given.seconds:g} --seed {seed}"
        more = (
            f" --rate {given.rate:g} --calm {given.calm:g}" + " --no-fence" * given.no_fence if what == "runs" else ""
        )
        print(f"to repeat: {again}{more}", flush=True)
    return int(bool(campaign.wrong))


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    arguments.add_argument("--what", choices=["saver", "runs", "both"], default="both", help="(default: both)")
    arguments.add_argument("--seconds", type=float, default=30.0, help="how long, each (default: 30)")
    arguments.add_argument("--seed", type=int, help="of all that is chosen (default: a new one, printed)")
    arguments.add_argument("--forget", action="store_true", help="saver: flush Redis half way, which has to be noticed")
    arguments.add_argument(
        "--no-fence", action="store_true", help="runs: no lease and no fence, which has to be noticed"
    )
    arguments.add_argument("--rate", type=float, default=5.0, help="runs: submitted in a second (default: 5)")
    arguments.add_argument(
        "--calm", type=float, default=2.5, help="runs: seconds between faults, at most (default: 2.5)"
    )
    given = arguments.parse_args()
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    campaigns = ["saver", "runs"] if given.what == "both" else [given.what]
    sys.exit(max([asyncio.run(run(what, given, seed)) for what in campaigns]))


if __name__ == "__main__":
    main()
