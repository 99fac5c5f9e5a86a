"""`monolite terminate`: end a run at once; its code does not clean up."""

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
    parser.add_argument("--reason", default="", help="why, for those who wait for its result")
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Put the request into the run's inbox; it is durable when this returns."""
    return verdict(anyio.run(_terminate, args), args.id)


async def _terminate(args: argparse.Namespace) -> Accepted:
    async with Client(args.file) as client:
        return await client.handle(args.id).terminate(args.reason)
