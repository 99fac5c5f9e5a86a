"""`monolite set-result`: let a run go on with a result for what is blocked."""

from __future__ import annotations

import argparse

import anyio
import msgspec

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.verdict import verdict
from monolite.core.entry import Accepted
from monolite.host.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    given.add_file(parser)
    given.add_id(parser)
    parser.add_argument("value", metavar="VALUE_JSON", help="the result of the activity")
    parser.add_argument("--key", help="which activity, such as charge#1, if several are blocked")
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Put the result into the run's inbox; it is durable when this returns."""
    text = given.json_text(args.value, "VALUE_JSON")
    return verdict(anyio.run(_decide, args, text), args.id)


async def _decide(args: argparse.Namespace, text: str) -> Accepted:
    async with Client(args.file) as client:
        value = msgspec.Raw(text.encode())
        return await client.handle(args.id).set_result(value, args.key)
