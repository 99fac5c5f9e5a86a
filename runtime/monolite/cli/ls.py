"""`monolite ls`: which runs there are, and what each waits for."""

from __future__ import annotations

import argparse

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.state import age_s, info_of, waiting_on
from monolite.cli.table import table
from monolite.cli.words import PAYLOAD_CHARS, age, clip
from monolite.core import entry as e
from monolite.core.entry import Run
from monolite.host.clock import SystemClock
from monolite.store.protocol import RunFilter
from monolite.store.sqlite.inspector import Inspector, inspect
from monolite.store.sqlite.owner import Owner, owner_of

STATUSES = (
    *(e.QUEUED, e.RUNNING, e.WAITING, e.PAUSED, e.BLOCKED, e.DIVERGED),
    *(e.COMPLETED, e.FAILED, e.CANCELLED, e.TERMINATED),
)

LIMIT = 100

HEAD = ("ID", "NAME", "STATUS", "AGE", "WAITING ON")


def arguments(parser: argparse.ArgumentParser) -> None:
    given.add_file(parser)
    parser.add_argument("--status", choices=STATUSES, help="only runs of this status")
    parser.add_argument("--name", help="only runs of this workflow")
    parser.add_argument(
        "--limit",
        type=given.positive,
        default=LIMIT,
        help=f"at most so many, newest first ({LIMIT})",
    )
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """List runs from the file alone."""
    runs = inspect(args.file, lambda inspector: _matching(inspector, args))
    more = len(runs) > args.limit
    runs = runs[: args.limit]
    hint = f"there are more than {args.limit}; see them with --limit" if more else None
    if not runs:
        hint = "no run matches"
    owner, now_us = owner_of(args.file), SystemClock().now_us()
    text = table([HEAD, *(_row(run, owner, now_us) for run in runs)])
    return Answer(text, [info_of(run) for run in runs], hint)


def _matching(inspector: Inspector, args: argparse.Namespace) -> list[Run]:
    where = RunFilter(status=args.status, name=args.name, limit=args.limit + 1)
    # Engine and clients number the runs apart, so that numbers tell the order only roughly.
    return sorted(inspector.runs(where), key=lambda run: run.created_us, reverse=True)


def _row(run: Run, owner: Owner | None, now_us: int) -> tuple[str, ...]:
    waiting = clip(waiting_on(run, owner), PAYLOAD_CHARS)
    return (run.id, run.name, info_of(run).status, age(age_s(run, now_us)), waiting)
