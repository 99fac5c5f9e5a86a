"""`python -m tests.simulation.disk`: power cuts on the store, and the controls that must fail."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.chain import Circumstances, cut_power
from tests.simulation.scratch import scratch
from tests.simulation.vfs import simulated

CIRCUMSTANCES = {
    "full": Circumstances(),
    "failing-syncs": Circumstances(failing_syncs=True),
    "normal": Circumstances(durability="normal", spares_opening=True),
    "lying": Circumstances(lies=True, spares_opening=True),
}

CONTROLS = ("normal", "lying")
"""These have to lose something, or the simulation proves nothing."""

LOSSES_SHOWN = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.disk")
    parser.add_argument("--cuts", type=int, default=2_000, help="how often the power fails")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--under", choices=CIRCUMSTANCES, default="full")
    options = parser.parse_args()
    began_s = time.monotonic()
    with scratch() as directory, simulated() as vfs:
        tally = cut_power(
            vfs,
            directory,
            cuts=options.cuts,
            seed=options.seed,
            circumstances=CIRCUMSTANCES[options.under],
        )
    rate = tally.cuts / (time.monotonic() - began_s)
    lines = [f"{options.under}: {tally}", f"{rate:.0f} cuts a second"]
    sys.stdout.write("\n".join([*lines, *tally.losses[:LOSSES_SHOWN], ""]))
    if options.under in CONTROLS:
        return 0 if tally.failed else 1
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
