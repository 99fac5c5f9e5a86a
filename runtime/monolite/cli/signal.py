"""`monolite signal`: send a message into a run."""

from __future__ import annotations

import argparse

import anyio

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.verdict import verdict
from monolite.core.entry import Accepted
from monolite.host.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    given.add_file(parser)
    given.add_id(parser)
    parser.add_argument("name", metavar="NAME", help="the name of the signal")
    parser.add_argument(
        "value", metavar="VALUE_JSON", nargs="?", default="null", help="its value (default: null)"
    )
    parser.add_argument(
        "--id",
        dest="message_id",
        metavar="MESSAGE_ID",
        help="an id of the message: sending it again has no further effect",
    )
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Put the message into the run's inbox; it is durable when this returns."""
    text = given.json_text(args.value, "VALUE_JSON")
    return verdict(anyio.run(_signal, args, text), args.id)


async def _signal(args: argparse.Namespace, text: str) -> Accepted:
    async with Client(args.file) as client:
        return await client.send_signal(args.id, args.name, text, args.message_id)
