"""Start-up: what a user waits for before anything runs, each time in a new process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import perf_counter

from bench.workload import Readings, Scratch, Size, Spec, Workload, WrongResult

COMMAND = str(Path(sys.executable).with_name("monolite"))
"""The command as pip installs it: beside the interpreter."""


def _best_ms(command: list[str], runs: int) -> float:
    """Return the shortest of some runs: everything longer is the machine's business."""
    times: list[float] = []
    for _ in range(runs):
        start = perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append((perf_counter() - start) * 1000)
    return min(times)


def _measure(_scratch: Scratch, size: Size) -> Readings:
    if not Path(COMMAND).exists():
        raise WrongResult(f"there is no {COMMAND}; install the checkout: pip install -e .")
    return {
        "import": _best_ms([sys.executable, "-c", "import monolite"], size.count),
        "help": _best_ms([COMMAND, "--help"], size.count),
    }


def _floor(_scratch: Scratch, size: Size) -> Readings:
    bare = _best_ms([sys.executable, "-c", "pass"], size.count)
    return {"import": bare, "help": bare}


WORKLOAD = Workload(
    name="startup",
    specs=(
        Spec("import", "python -c 'import monolite'", "ms", "python -c pass", pick=min),
        Spec("help", "monolite --help", "ms", "python -c pass", pick=min),
    ),
    full=Size(5),
    quick=Size(2),
    measure=_measure,
    floor=_floor,
)
