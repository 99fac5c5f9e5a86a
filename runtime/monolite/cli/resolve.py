"""`monolite resolve`: give a promise its value."""

from __future__ import annotations

import argparse

import anyio
import msgspec

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.verdict import verdict
from monolite.core.entry import Accepted
from monolite.core.promise import read_token
from monolite.host.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    given.add_file(parser)
    given.add_token(parser)
    parser.add_argument(
        "value", metavar="VALUE_JSON", nargs="?", default="null", help="its value (default: null)"
    )
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Put the answer into the file; it is durable when this returns. The first one counts."""
    text = given.json_text(args.value, "VALUE_JSON")
    id, _ = read_token(args.token)
    return verdict(anyio.run(_resolve, args, text), id)


async def _resolve(args: argparse.Namespace, text: str) -> Accepted:
    async with Client(args.file) as client:
        return await client.resolve(args.token, msgspec.Raw(text.encode()))
