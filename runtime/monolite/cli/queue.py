"""`monolite queue`: what waits in the queues of a file, and changing how much of it may run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import anyio
import msgspec

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.table import table
from monolite.cli.words import count
from monolite.core.admission import check_id
from monolite.core.queue import Breaker, Rate
from monolite.errors import Misused
from monolite.host.client import Client
from monolite.host.queue_handle import DEAD_MAX, QueueHandle, QueueInfo
from monolite.host.queue_port import queue_infos
from monolite.store.sqlite.inspector import inspect
from monolite.store.sqlite.owner import owner_of

ACTIONS = ("ls", "pause", "resume", "limit", "drain", "dead", "retry")

HEAD = ("QUEUE", "WAITING", "RUNNING", "DEAD", "CONCURRENCY", "PER KEY", "RATE", "BREAKER", "STATE")

NO_LIMIT = "none"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", metavar="ACTION", choices=ACTIONS, help=", ".join(ACTIONS))
    given.add_file(parser)
    parser.add_argument("name", metavar="NAME", nargs="?", help="the queue (ls: all of them)")
    limits = parser.add_argument_group("limits, for `limit`; 'none' takes one away")
    limits.add_argument("--concurrency", metavar="N", help="how much runs at once in all")
    limits.add_argument("--per-key", metavar="N", help="how much runs at once under one key")
    limits.add_argument("--rate", metavar="N/TIME", help="how many start in a time, as in 100/1m")
    limits.add_argument(
        "--breaker", metavar="N/TIME", help="failures in a row that stop it, and how long"
    )
    parser.add_argument(
        "--limit",
        type=given.positive,
        default=DEAD_MAX,
        help=f"dead, retry: at most so many ({DEAD_MAX})",
    )
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Look at queues from the file alone, or change one by a commit of our own."""
    changes = _changes(args)
    if changes and args.action != "limit":
        raise Misused(f"`queue {args.action}` changes no limits; use `queue limit`")
    if args.action == "ls":
        return _list(args.file, args.name)
    if args.name is None:
        raise Misused(f"`queue {args.action}` needs the NAME of a queue; see them with `queue ls`")
    if args.action == "limit" and not changes:
        raise Misused("say which limit: --concurrency, --per-key, --rate or --breaker")
    return anyio.run(_act, args, changes)


async def _act(args: argparse.Namespace, changes: dict[str, Any]) -> Answer:
    async with Client(args.file) as client:
        queue = await client.queue(check_id(args.name, "name of a queue"))
        if args.action == "limit":
            await queue.limit(**changes)
        elif args.action == "pause":
            await queue.pause()
        elif args.action == "resume":
            await queue.resume()
        elif args.action == "drain":
            await queue.drain()
        elif args.action == "dead":
            return await _dead(queue, args.limit)
        else:
            ids = await queue.retry_dead(limit=args.limit)
            return Answer(f"queued {count(len(ids), 'run')} again", ids)
        return _shown([await queue.describe()])


async def _dead(queue: QueueHandle, limit: int) -> Answer:
    dead = await queue.dead(limit=limit)
    if not dead:
        return Answer(data=[], hint=f"no run of {queue.name} is dead")
    rows = [(x.id, x.name, f"{x.updated_at:%Y-%m-%d %H:%M:%S}", x.error or "") for x in dead]
    return Answer(table([("ID", "NAME", "FAILED AT", "ERROR"), *rows]), dead)


def _list(file: Path, name: str | None) -> Answer:
    owned = owner_of(file) is not None
    infos = inspect(file, lambda inspector: queue_infos(inspector, owned=owned))
    found = [info for info in infos if name in (None, info.name)]
    if name is not None and not found:
        known = ", ".join(info.name for info in infos) or "none"
        raise Misused(f"there is no queue {name!r} in {file}; there are: {known}")
    return _shown(found)


def _shown(infos: list[QueueInfo]) -> Answer:
    if not infos:
        return Answer(data=[], hint="there are no queues; declare them with Runtime(queues=[...])")
    return Answer(table([HEAD, *map(_row, infos)]), [_plain(info) for info in infos])


def _row(info: QueueInfo) -> tuple[str, ...]:
    limits = _plain(info)
    shown = (limits[x] for x in ("concurrency", "per_key", "rate", "breaker"))
    state = "paused" if info.paused else "workers only" if info.workers else "open"
    return (
        info.name,
        *map(str, (info.waiting, info.running, info.dead)),
        *("-" if x is None else str(x) for x in shown),
        state,
    )


def _plain(info: QueueInfo) -> dict[str, Any]:
    """Return what is known of a queue as plain data, its limits as they are typed here."""
    plain: dict[str, Any] = msgspec.structs.asdict(info)
    rate, breaker = info.rate, info.breaker
    plain["rate"] = None if rate is None else f"{rate.limit}/{_span(rate.per_us)}"
    plain["breaker"] = None if breaker is None else f"{breaker.failures}/{_span(breaker.pause_us)}"
    return plain


def _span(span_us: int) -> str:
    """Return a time as it is typed: in its largest unit if it is a whole number of those."""
    for unit_us, letter in ((3_600_000_000, "h"), (60_000_000, "m")):
        if span_us % unit_us == 0:
            return f"{span_us // unit_us}{letter}"
    return f"{span_us / 1_000_000:g}s"


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    """Return the limits that the command line gives."""
    changes: dict[str, Any] = {}
    for name in ("concurrency", "per_key"):
        text = vars(args)[name]
        if text is not None:
            changes[name] = None if text == NO_LIMIT else _number(text, name)
    if args.rate is not None:
        changes["rate"] = None if args.rate == NO_LIMIT else Rate(*_pair(args.rate, "rate"))
    if args.breaker is not None:
        pair = None if args.breaker == NO_LIMIT else _pair(args.breaker, "breaker")
        changes["breaker"] = None if pair is None else Breaker(*pair)
    return changes


def _number(text: str, name: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise Misused(f"--{name.replace('_', '-')} must be a number or 'none', not {text!r}")
    return int(text)


def _pair(text: str, name: str) -> tuple[int, str]:
    number, slash, span = text.partition("/")
    try:
        if slash:
            return _number(number, name), given.duration(span)
    except argparse.ArgumentTypeError as error:
        raise Misused(f"--{name}: {error}") from None
    raise Misused(f"--{name} must be like 100/1m, or 'none', not {text!r}")
