"""`monolite schedule`: list the schedules of a file, and steer them."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import anyio

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.table import table
from monolite.cli.words import count
from monolite.core.cron import moment
from monolite.core.schedule import CATCHUP, OVERLAPS, SKIP, check_name, parse_time, spec_of
from monolite.core.timetable import Schedule, ScheduleInfo
from monolite.errors import Misused
from monolite.host.client import Client
from monolite.host.scheduler import described
from monolite.store.sqlite.inspector import inspect

HEAD = ("NAME", "WORKFLOW", "WHEN", "NEXT", "LAST RUN", "STATUS", "SKIPPED", "MISSED")

WORDS = {"add": (1, 2), "backfill": (2, 2)}
"""How many words each action takes behind the name, at least and at most."""

USES = {
    "add": "schedule add FILE NAME WORKFLOW [ARGS_JSON] --cron '0 9 * * *'",
    "backfill": "schedule backfill FILE NAME START END",
    **{action: f"schedule {action} FILE NAME" for action in ("pause", "resume", "run", "delete")},
}

DONE = {"pause": "paused", "resume": "resumed", "delete": "deleted"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", metavar="ACTION", choices=("ls", *_ACTIONS), help=_SUMMARY)
    given.add_file(parser)
    parser.add_argument("name", metavar="NAME", nargs="?", help="the schedule (`ls`: all)")
    parser.add_argument(
        "words",
        metavar="WORD",
        nargs="*",
        help="`add`: WORKFLOW [ARGS_JSON]; `backfill`: START END, such as "
        "2026-11-01T09:00+01:00, without a zone in UTC",
    )
    parser.add_argument("--cron", help="`add`: five fields, or @hourly, @daily and so on")
    parser.add_argument("--every", type=given.duration, help="`add`: or a duration, such as 5m")
    parser.add_argument("--tz", default="UTC", help="`add`: the time zone of --cron (UTC)")
    parser.add_argument(
        "--overlap", choices=OVERLAPS, default=SKIP, help=f"`add`: while a run is open ({SKIP})"
    )
    parser.add_argument(
        "--catchup",
        type=given.duration,
        default=CATCHUP,
        help=f"`add`: how old a tick may be that was missed ({CATCHUP})",
    )
    parser.add_argument(
        "--jitter", type=given.duration, default="0s", help="`add`: delay each start by up to this"
    )
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """List from the file alone; all else is durable when this returns, engine or no engine."""
    if args.action == "ls":
        return _list(args)
    least, most = WORDS.get(args.action, (0, 0))
    if args.name is None or not least <= len(args.words) <= most:
        msg = f"schedule {args.action} is used like this: {USES[args.action]}"
        raise Misused(msg)
    check_name(args.name)
    return anyio.run(_act, args)


async def _act(args: argparse.Namespace) -> Answer:
    async with Client(args.file) as client:
        subject = client if args.action == "add" else client.scheduled(args.name)
        return await _ACTIONS[args.action](subject, args)


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


async def _add(client: Client, args: argparse.Namespace) -> Answer:
    workflow, *rest = args.words
    text = given.json_array(rest[0] if rest else "[]", "ARGS_JSON")
    spec = spec_of(
        cron=args.cron,
        every=args.every,
        anchor=None,
        tz=args.tz,
        overlap=args.overlap,
        catchup=args.catchup,
        jitter=args.jitter,
    )
    schedule = await client.schedule_by_name(args.name, workflow, text, spec)
    info = await schedule.describe()
    return Answer(f"next: {_time(info.next_at)}", info)


async def _control(schedule: Schedule, args: argparse.Namespace) -> Answer:
    act: Callable[[], Awaitable[Any]] = getattr(schedule, args.action)
    await act()
    done = DONE[args.action]
    return Answer(done, {"name": schedule.name, "done": done})


async def _run(schedule: Schedule, _args: argparse.Namespace) -> Answer:
    id = (await schedule.run_now()).id
    return Answer(id, {"name": schedule.name, "run": id})


async def _backfill(schedule: Schedule, args: argparse.Namespace) -> Answer:
    start, end = map(parse_time, args.words)
    ids = [run.id for run in await schedule.backfill(moment(start), moment(end))]
    hint = f"{count(len(ids), 'tick')}; those that have no run get one, in this order"
    data: dict[str, Any] = {"name": schedule.name, "runs": ids}
    return Answer("\n".join(ids), data, hint)


_ACTIONS: dict[str, Callable[[Any, argparse.Namespace], Awaitable[Answer]]] = {
    "add": _add,
    "pause": _control,
    "resume": _control,
    "run": _run,
    "backfill": _backfill,
    "delete": _control,
}

_SUMMARY = "ls, add, pause, resume, run (one now), backfill (ticks of the past) or delete"
