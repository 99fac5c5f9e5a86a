"""`monolite blocked`: what waits for somebody's decision, why, and what to type next."""

from __future__ import annotations

import argparse
import shlex

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.table import table
from monolite.cli.words import PAYLOAD_CHARS, clip, one_line
from monolite.core.attempts import BLAMES_MAX
from monolite.host.report import summary
from monolite.store.sqlite.inspector import Inspector, inspect

LISTED_MAX = 1_000

HEAD = ("ID", "KEY", "WHY", "NEXT")

Row = dict[str, str | None]


def arguments(parser: argparse.ArgumentParser) -> None:
    given.add_file(parser)
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """List what is blocked, from the file alone."""
    rows = inspect(args.file, lambda inspector: _rows(inspector, args))
    hint = None if rows else "nothing is blocked"
    lines = [_line(row) for row in rows]
    return Answer(table([HEAD, *lines]) if lines else "", rows, hint)


def _rows(inspector: Inspector, args: argparse.Namespace) -> list[Row]:
    file = shlex.quote(str(args.file))
    found: list[Row] = []
    for id, key, number, error in inspector.blocked(LISTED_MAX):
        why = f"attempt {number}: {summary(error)}"
        following = f"monolite retry {file} {_word(id)} {_word(key)}"
        found.append({"id": id, "key": key, "why": why, "next": following})
    for id, count, waiting_on in inspector.quarantined(BLAMES_MAX):
        # The engine says it in the row as soon as it has opened the file.
        why = (waiting_on or f"its process died in {count} executions").partition("; monolite ")[0]
        following = f"monolite retry {file} {_word(id)}"
        found.append({"id": id, "key": None, "why": why, "next": following})
    return found


def _word(text: str) -> str:
    """Return text as a shell takes it; "#" within a word is nothing special."""
    return (
        text if shlex.quote(text.replace("#", "")) == text.replace("#", "") else shlex.quote(text)
    )


def _line(row: Row) -> tuple[str, ...]:
    why = clip(one_line(row["why"] or ""), PAYLOAD_CHARS)
    return (row["id"] or "", row["key"] or "", why, row["next"] or "")
