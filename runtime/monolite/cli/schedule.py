"""`monolite schedule`: list the schedules of a file, and steer them."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import anyio
import msgspec

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.table import table
from monolite.cli.words import count
from monolite.core.cron import moment
from monolite.core.schedule import check_name, parse_time
from monolite.core.timetable import Schedule, ScheduleInfo
from monolite.errors import Misused
from monolite.host.client import Client
from monolite.host.scheduler import described
from monolite.store.sqlite.inspector import inspect

HEAD = ("NAME", "WORKFLOW", "WHEN", "NEXT", "LAST RUN", "STATUS", "SKIPPED", "MISSED")

DONE = {"pause": "paused", "resume": "resumed", "delete": "deleted"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", metavar="ACTION", choices=(*_ACTIONS, "ls"), help=_SUMMARY)
    given.add_file(parser)
    parser.add_argument("name", metavar="NAME", nargs="?", help="the schedule (`ls`: all)")
    parser.add_argument(
        "start",
        metavar="START",
        nargs="?",
        help="for `backfill`: the first moment, such as 2026-11-01T09:00+01:00; UTC without zone",
    )
    parser.add_argument("end", metavar="END", nargs="?", help="for `backfill`: the last moment")
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """List from the file alone; all else is durable when this returns, engine or no engine."""
    if args.action == "ls":
        return _list(args)
    if args.name is None:
        raise Misused(f"schedule {args.action} needs the NAME of a schedule; see `schedule ls`")
    if (args.end is None) == (args.action == "backfill"):
        raise Misused("START and END go with `schedule backfill`, and it needs both")
    check_name(args.name)
    return anyio.run(_act, args)


async def _act(args: argparse.Namespace) -> Answer:
    async with Client(args.file) as client:
        return await _ACTIONS[args.action](client.scheduled(args.name), args)


def _list(args: argparse.Namespace) -> Answer:
    found = inspect(
        args.file, lambda inspector: [described(row, inspector) for row in inspector.schedules()]
    )
    shown = [info for info in found if args.name in (None, info.name)]
    hint = None if shown else "no schedule matches"
    return Answer(table([HEAD, *map(_row, shown)]), shown, hint)


def _row(info: ScheduleInfo) -> tuple[str, ...]:
    return (
        info.name,
        info.workflow,
        info.when,
        "paused" if info.paused else _time(info.next_at),
        info.last_run or "",
        info.last_status or "",
        str(info.skipped),
        str(info.missed),
    )


def _time(at: datetime | None) -> str:
    return "never" if at is None else at.isoformat()


async def _control(schedule: Schedule, args: argparse.Namespace) -> Answer:
    act: Callable[[], Awaitable[Any]] = getattr(schedule, args.action)
    await act()
    done = DONE[args.action]
    return Answer(done, {"name": schedule.name, "done": done})


async def _run(schedule: Schedule, _args: argparse.Namespace) -> Answer:
    id = (await schedule.run_now()).id
    return Answer(id, {"name": schedule.name, "run": id})


async def _backfill(schedule: Schedule, args: argparse.Namespace) -> Answer:
    start, end = parse_time(args.start), parse_time(args.end)
    ids = [run.id for run in await schedule.backfill(moment(start), moment(end))]
    hint = f"{count(len(ids), 'tick')}; those that have no run get one, in this order"
    data: dict[str, Any] = {"name": schedule.name, "runs": ids}
    return Answer("\n".join(ids), msgspec.to_builtins(data), hint)


_ACTIONS: dict[str, Callable[[Schedule, argparse.Namespace], Awaitable[Answer]]] = {
    "pause": _control,
    "resume": _control,
    "run": _run,
    "backfill": _backfill,
    "delete": _control,
}

_SUMMARY = "ls, pause, resume, run (one now), backfill (ticks of the past) or delete"
