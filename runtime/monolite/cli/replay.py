"""`monolite replay`: whether today's code still fits the runs that a file has recorded."""

from __future__ import annotations

import argparse
from pathlib import Path

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.loading import load
from monolite.cli.words import count, plain_lines
from monolite.errors import Misused
from monolite.host.rehearsal import Rehearsal, replay
from monolite.store.sqlite.inspector import inspect


def arguments(parser: argparse.ArgumentParser) -> None:
    given.add_file(parser)
    parser.add_argument(
        "words",
        metavar="[ID] MODULE",
        nargs="+",
        help="the run's id, if only one is meant; then modules, or paths of .py files",
    )
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Replay what a file holds, without any effect; the answer is a problem if code misfits."""
    id, modules = _told_apart(args.file, args.words)
    if not modules:
        msg = f"name the module that holds the code: monolite replay {args.file} {id} MODULE"
        raise Misused(msg)
    found = replay(args.file, [load(name) for name in modules], id=id)
    return Answer("\n".join(plain_lines(str(found))), found, problem=_problem(found))


def _told_apart(file: Path, words: list[str]) -> tuple[str, list[str]]:
    """Return the id, if the first word is that of a run, and the names of the modules."""
    first, *others = words
    known = inspect(file, lambda inspector: inspector.run_by_id(first))
    return (first, others) if known is not None else ("", words)


def _problem(found: Rehearsal) -> str | None:
    if found.ok:
        return None
    return f"{count(len(found.diverged), 'run')} would diverge; nothing was written"
