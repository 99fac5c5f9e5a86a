"""`monolite doctor`: whether the file is sound, and whether anything in it needs help."""

from __future__ import annotations

import argparse

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.checkup import Checkup, Stuck, checkup
from monolite.cli.table import table
from monolite.cli.words import age, clip, count, size
from monolite.host.clock import SystemClock
from monolite.store.sqlite.inspector import inspect
from monolite.store.sqlite.owner import owner_of

REASON_CHARS = 160


def arguments(parser: argparse.ArgumentParser) -> None:
    given.add_file(parser)
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Check a file; the answer is a problem if it or something in it needs help."""
    now_us = SystemClock().now_us()
    owner = owner_of(args.file)
    found = inspect(args.file, lambda i: checkup(i, args.file, owner, now_us))
    problem = "; ".join(found.problems) or None
    return Answer(_text(found), found, problem=problem)


def _text(found: Checkup) -> str:
    rows = [
        ("file", found.file),
        ("format", f"{found.format}, file id {found.file_id}, {found.journal_mode} mode"),
        ("size", _sizes(found)),
        ("check", "ok" if not found.defects else "; ".join(found.defects)),
        ("engine", found.engine or f"none; opened {count(found.epoch, 'time')} so far"),
        ("runs", _counts(found)),
    ]
    if found.oldest_open is not None:
        oldest = found.oldest_open
        waiting = f": {oldest.waiting_on}" if oldest.waiting_on else ""
        rows.append(("oldest open", f"{oldest.id}, {age(oldest.age_s)}{waiting}"))
    if found.undelivered:
        rows.append(("inboxes", f"{count(found.undelivered, 'message')} to deliver"))
    rows += [("stuck", _stuck(run)) for run in found.stuck]
    rows += [("next", step) for step in found.next_steps]
    return table(rows)


def _sizes(found: Checkup) -> str:
    log = f", and a log of {size(found.log_bytes)}" if found.log_bytes else ", no log"
    return size(found.file_bytes) + log


def _counts(found: Checkup) -> str:
    return ", ".join(f"{n:,} {status}" for status, n in found.counts.items()) or "none"


def _stuck(run: Stuck) -> str:
    return f"{run.id} ({run.name}), {run.trouble}: {clip(run.reason, REASON_CHARS)}"
