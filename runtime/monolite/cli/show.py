"""`monolite show`: what a run was asked, what it did, and what came of it."""

from __future__ import annotations

import argparse
from datetime import datetime

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.portrait import CHILDREN_MAX, Portrait, portrait
from monolite.cli.state import waiting_on
from monolite.cli.table import table
from monolite.cli.timeline import timeline
from monolite.cli.words import PAYLOAD_CHARS, age, one_line, payload, plain, plain_lines
from monolite.core.failure import Failure
from monolite.host.clock import SystemClock
from monolite.host.report import when
from monolite.store.sqlite.inspector import inspect
from monolite.store.sqlite.owner import Owner, owner_of

INDENT = "  "


def arguments(parser: argparse.ArgumentParser) -> None:
    given.add_file(parser)
    given.add_id(parser)
    parser.add_argument(
        "--full", action="store_true", help="payloads in full, and failures with their tracebacks"
    )
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Tell a run's story from the file alone."""
    found = inspect(args.file, lambda inspector: portrait(inspector, args.id))
    now = when(SystemClock().now_us())
    sections = [
        _head(found, owner_of(args.file), now, full=args.full),
        _timeline(found, full=args.full),
        _failures(found) if args.full else "",
    ]
    hint = None
    if found.failures and not args.full:
        hint = "see the tracebacks with --full"
    return Answer("\n\n".join(filter(None, sections)), found.document(), hint)


def _head(found: Portrait, owner: Owner | None, now: datetime, *, full: bool) -> str:
    info, width = found.info, None if full else PAYLOAD_CHARS
    waiting = waiting_on(found.run, owner)
    rows = [
        ("status", info.status + (f": {waiting}" if waiting else "")),
        ("spawned", _when(info.created_at, now)),
        ("updated", _when(info.updated_at, now)),
    ]
    if info.generation > 1 or info.version > 1:
        rows.append(("generation", f"{info.generation}, version {info.version}"))
    if info.parent is not None:
        rows.append(("parent", info.parent))
    if info.attributes:
        rows.append(("attributes", payload(info.attributes, width)))
    rows.append(("input", payload(found.input, width)))
    rows += [(f"view {name}", payload(value, width)) for name, value in found.views.items()]
    rows += [("child", f"{child.id} ({child.status})") for child in found.children]
    if len(found.children) == CHILDREN_MAX:
        rows.append(("", f"only the first {CHILDREN_MAX} children are shown"))
    rows += _ending(found, width)
    return f"{plain(info.id)} ({plain(info.name)})\n{table(rows, indent=INDENT)}"


def _ending(found: Portrait, width: int | None) -> list[tuple[str, str]]:
    if found.info.error is not None:
        return [("error", one_line(found.info.error))]
    if found.info.status == "completed":
        return [("result", payload(found.result, width))]
    return []


def _when(at: datetime, now: datetime) -> str:
    ago = age(max(0.0, (now - at).total_seconds()))
    return f"{at:%Y-%m-%d %H:%M:%S} UTC, {ago} ago"


def _timeline(found: Portrait, *, full: bool) -> str:
    rows = timeline(found.history, found.history[0].at, full=full)
    return table(rows, indent=INDENT)


def _failures(found: Portrait) -> str:
    stories = (
        "\n".join([f"failure of {plain(at)}", *_story(failed, INDENT)])
        for at, failed in found.failures
    )
    return "\n\n".join(stories)


def _story(failed: Failure, indent: str) -> list[str]:
    """Return a failure and its causes, each with the traceback that was recorded."""
    lines = [indent + one_line(failed.summary())]
    lines += [indent + INDENT + line for line in plain_lines(failed.traceback)]
    if failed.cause is not None:
        lines += [f"{indent}caused by", *_story(failed.cause, indent + INDENT)]
    return lines
