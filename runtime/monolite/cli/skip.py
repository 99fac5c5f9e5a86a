"""`monolite skip`: let a run go on without what is blocked."""

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
    given.add_key(parser)
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Put the decision into the run's inbox; it is durable when this returns."""
    return verdict(anyio.run(_decide, args), args.id)


async def _decide(args: argparse.Namespace) -> Accepted:
    async with Client(args.file) as client:
        return await client.handle(args.id).skip(args.key)
