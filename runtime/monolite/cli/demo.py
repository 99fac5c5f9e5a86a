"""`monolite demo`: kill a run in the middle of its work, and watch it finish."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import anyio

import monolite
from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.display import BOLD, Display
from monolite.cli.experiment import RUN_ID, Experiment, Findings
from monolite.cli.loading import load_research
from monolite.cli.proof import AFTER, CUT_OFF, REPLAYED, Proof
from monolite.cli.stage import Stage
from monolite.cli.table import table
from monolite.cli.words import count
from monolite.errors import Misused

FOLDER = Path("demo")

QUERY = "SELECT at, kind, key, value FROM monolite_timeline"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="DIR",
        nargs="?",
        type=Path,
        default=Path(monolite.__file__).parent,
        help="the folder that the run reads (default: monolite's own source code)",
    )
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Kill, resume, compare; the answer is a problem if a promise was broken."""
    research, folder, stage = load_research(), args.folder.resolve(), Stage(FOLDER)
    if not folder.is_dir():
        msg = f"{args.folder} is not a folder; give one with text files in it"
        raise Misused(msg)
    if not research.text_files(folder):
        msg = f"{args.folder} holds no text files that could be read; give another folder"
        raise Misused(msg)
    stage.clear()
    out = sys.stderr if args.json else sys.stdout
    display = Display(out, color="NO_COLOR" not in os.environ)
    display.line(f"{RUN_ID} reads {folder}; its journal is {stage.database}", BOLD)
    signal.signal(signal.SIGTERM, _leave)
    findings = anyio.run(Experiment(research, folder, stage, display).run)
    problem = "; ".join(findings.problems) or None
    return Answer(_text(findings, stage), _document(findings, stage), problem=problem)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """End as an exception, so that the engine process does not outlive us."""
    sys.exit(128 + number)


def _text(findings: Findings, stage: Stage) -> str:
    proof = findings.proof
    head = (
        *("STEP", "TIMES", f"PROCESS {proof.killed} (KILLED)"),
        *(f"PROCESS {proof.resumed}", "EFFECTS EACH"),
    )
    parts = ["", table([head, *proof.rows()]), ""]
    if not findings.problems:
        parts += [*_story(proof), _report(findings.result, stage), ""]
    return "\n".join([*parts, *_look(stage)])


def _story(proof: Proof) -> list[str]:
    replayed, cut_off = count(len(proof.of(REPLAYED)), "step"), len(proof.of(CUT_OFF))
    lines = [f"{replayed} in the journal at the kill: none ran again."]
    if cut_off:
        lines.append(
            f"{count(cut_off, 'step')} cut off by the kill: run again under the same idempotency "
            "key (at least once)."
        )
    lines.append(f"{count(len(proof.of(AFTER)), 'step')} left to do: run once.")
    return lines


def _report(result: Any, stage: Stage) -> str:
    return (
        f"The report on {count(result.files, 'file')} and {count(result.lines, 'line')} was "
        f"written once: {stage.report}"
    )


def _look(stage: Stage) -> list[str]:
    return [
        "See for yourself:",
        f"  monolite show {stage.database} {RUN_ID}",
        f'  sqlite3 {stage.database} "{QUERY}"',
    ]


def _document(findings: Findings, stage: Stage) -> dict[str, Any]:
    proof = findings.proof
    return {
        "database": str(stage.database),
        "id": RUN_ID,
        "killed": proof.killed,
        "resumed": proof.resumed,
        "steps": proof.steps,
        "result": findings.result,
        "problems": findings.problems,
    }
