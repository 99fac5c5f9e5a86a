"""`python -m tests.simulation.disk`: the store under power cuts, and the controls that must fail."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.simulation.chain import Circumstances, cut_power
from tests.simulation.vfs import simulated

CIRCUMSTANCES = {
    "full": Circumstances(),
    "failing-syncs": Circumstances(failing_syncs=True),
    "normal": Circumstances(durability="normal"),
    "lying": Circumstances(lies=True),
}

CONTROLS = ("normal", "lying")
"""These have to lose something, or the simulation proves nothing."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.disk")
    parser.add_argument("--cuts", type=int, default=2_000, help="how often the power fails")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--under", choices=CIRCUMSTANCES, default="full")
    options = parser.parse_args()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, simulated() as vfs:
        tally = cut_power(
            vfs,
            Path(directory),
            cuts=options.cuts,
            seed=options.seed,
            circumstances=CIRCUMSTANCES[options.under],
        )
    print(
        f"{options.under}: {tally}\n{tally.cuts / (time.monotonic() - began_s):.0f} cuts a second"
    )  # noqa: T201 - a command prints
    for loss in tally.losses[:10]:
        print(f"  {loss}")  # noqa: T201
    if options.under in CONTROLS:
        return 0 if tally.failed else 1
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
