"""Arguments that several commands take, and how they are checked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import msgspec

from monolite.core.admission import check_id
from monolite.core.duration import seconds
from monolite.core.payload import check_text
from monolite.errors import Misused


def add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="the database file")


def add_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the run's id")


def add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "key", metavar="KEY", nargs="?", help="one activity, such as charge#1 (all that is blocked)"
    )


def add_token(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("token", metavar="TOKEN", help="the promise's token")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def positive(text: str) -> int:
    """Return a number from the command line that is at least 1."""
    if not text.isdecimal() or int(text) < 1:
        msg = f"must be a number of at least 1, not {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def duration(text: str) -> str:
    """Return a duration from the command line as it was written, such as "10s"."""
    try:
        seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def known_id(text: str) -> str:
    """Return an id that can be a run's; raise Misused if none can."""
    return check_id(text)


def json_text(text: str, where: str) -> str:
    """Return JSON from the command line as it is stored; raise PayloadInvalid if it is not JSON."""
    return check_text(text, where)


def json_array(text: str, where: str) -> str:
    """Return a JSON array from the command line; raise Misused if it is something else."""
    found: Any = msgspec.json.decode(json_text(text, where))
    if not isinstance(found, list):
        msg = f"{where} must be a JSON array, such as '[\"a\", 1]', not {text}"
        raise Misused(msg)
    return json_text(text, where)
