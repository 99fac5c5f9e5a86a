"""`python -m bench`: run workloads, each between two measurements of its floor."""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import traceback
from pathlib import Path

from bench import report, workloads
from bench.floor import fdatasyncs_per_s
from bench.machine import this_machine
from bench.workload import Figure, Readings, Scratch, Workload

SYNCS = 100
SYNCS_PER_S_MAX = 100_000
"""No disk syncs faster; a directory in memory does, and makes every figure meaningless."""


def main() -> int:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.markdown and arguments.quick:
        parser.error("--quick figures are not for publishing: leave out --markdown")
    machine = this_machine()
    figures: list[Figure] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="monolite-bench-", dir=arguments.dir) as directory:
        scratch = Scratch(Path(directory))
        if fdatasyncs_per_s(scratch.file(), SYNCS) > SYNCS_PER_S_MAX:
            _say(f"{directory} is not on a disk: name a directory that is with --dir")
            return 1
        for name in arguments.workload or workloads.NAMES:
            try:
                workload = workloads.load(name)
                figures += _run(workload, scratch, arguments.repeat, quick=arguments.quick)
            except Exception:  # noqa: BLE001 -- the figures of the others are worth having
                traceback.print_exc()
                failed.append(name)
    if arguments.json:
        arguments.json.write_bytes(report.json(figures, machine, quick=arguments.quick))
    write = report.markdown if arguments.markdown else report.table
    print(write(figures, machine))
    if failed:
        _say(f"no figures for {', '.join(failed)}: see above")
    return 1 if failed else 0


def _run(workload: Workload, scratch: Scratch, repeat: int, *, quick: bool) -> list[Figure]:
    """Take the readings: floor, workload, floor, workload, ..., floor."""
    size = workload.quick if quick else workload.full
    values: list[Readings] = []
    floors: list[Readings] = []

    def take_floor() -> None:
        if workload.floor is not None:
            gc.collect()
            floors.append(workload.floor(scratch, size))

    take_floor()
    for number in range(1, repeat + 1):
        _say(f"{workload.name}: {number} of {repeat}")
        gc.collect()
        values.append(workload.measure(scratch, size))
        take_floor()
    return [
        Figure(
            workload.name,
            spec,
            values=tuple(reading[spec.key] for reading in values),
            floors=tuple(reading[spec.key] for reading in floors),
        )
        for spec in workload.specs
    ]


def _say(line: str) -> None:
    print(f"bench: {line}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "workload",
        nargs="*",
        type=_workload,
        help=f"what to run, of {', '.join(workloads.NAMES)}; default: all",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes: a smoke test")
    parser.add_argument("--repeat", type=_positive, default=3, metavar="N", help="default: 3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every reading there")
    parser.add_argument("--markdown", action="store_true", help="print the table to paste")
    parser.add_argument(
        "--dir", type=Path, help="where files are made: on the disk to be measured; default: temp"
    )
    return parser


def _workload(name: str) -> str:
    if name not in workloads.NAMES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(workloads.NAMES)}")
    return name


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
