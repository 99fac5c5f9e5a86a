"""`monolite reject`: give a promise an error instead of a value."""

from __future__ import annotations

import argparse

import anyio

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.verdict import verdict
from monolite.core.entry import Accepted
from monolite.core.promise import read_token
from monolite.host.client import Client


def arguments(parser: argparse.ArgumentParser) -> None:
    given.add_file(parser)
    given.add_token(parser)
    parser.add_argument("reason", metavar="REASON", help="why; whoever awaits the promise gets it")
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Put the refusal into the file; it is durable when this returns. The first answer counts."""
    id, _ = read_token(args.token)
    return verdict(anyio.run(_reject, args), id)


async def _reject(args: argparse.Namespace) -> Accepted:
    async with Client(args.file) as client:
        return await client.reject(args.token, args.reason)
