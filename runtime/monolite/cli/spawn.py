"""`monolite spawn`: start a run by the name of its workflow, without its code."""

from __future__ import annotations

import argparse
import secrets

import anyio

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.core.admission import CONFLICTS
from monolite.core.handle import Info
from monolite.core.place import DUPLICATES
from monolite.errors import Misused
from monolite.host.client import Client
from monolite.store.sqlite.owner import owner_of


def arguments(parser: argparse.ArgumentParser) -> None:
    given.add_file(parser)
    parser.add_argument("name", metavar="NAME", help="the name of the workflow")
    parser.add_argument(
        "args", metavar="ARGS_JSON", nargs="?", default="[]", help="its arguments, a JSON array"
    )
    parser.add_argument("--id", help="the run's id (default: a random one)")
    parser.add_argument(
        "--id-conflict",
        choices=CONFLICTS,
        default="attach",
        help="what to do if the id exists: join that run, fail, or start it anew",
    )
    parser.add_argument("--delay", type=given.duration, help="start it so much later")
    parser.add_argument("--queue", help="the queue in which it waits for its turn")
    parser.add_argument("--key", help="its key there, such as a tenant")
    parser.add_argument("--priority", type=int, help="higher goes first (default: 0)")
    parser.add_argument("--dedupe", metavar="KEY", help="what makes it the same as one that waits")
    parser.add_argument(
        "--on-duplicate",
        choices=DUPLICATES,
        default="attach",
        help="what to do then: join that one, fail, or take its place",
    )
    parser.add_argument(
        "--debounce", metavar="TIME", type=given.duration, help="let that one wait so long anew"
    )
    parser.add_argument("--create", action="store_true", help="make the file if there is none")
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Put the run into the file; it is durable when this returns, engine or no engine."""
    if not args.create and not args.file.exists():
        msg = f"{args.file} does not exist; add --create to make it, or check the path"
        raise Misused(msg)
    text = given.json_array(args.args, "ARGS_JSON")
    id = secrets.token_hex(12) if args.id is None else given.known_id(args.id)
    info = anyio.run(_spawn, args, text, id)
    hint = None
    if info.status == "queued" and owner_of(args.file) is None:
        hint = f"no engine has the file open; run it with: monolite serve {args.file} MODULE"
    return Answer(info.id, info, hint)


async def _spawn(args: argparse.Namespace, text: str, id: str) -> Info:
    async with Client(args.file, create=args.create) as client:
        handle = await client.spawn_by_name(
            args.name,
            text,
            id=id,
            id_conflict=args.id_conflict,
            delay=args.delay,
            queue=args.queue,
            key=args.key,
            priority=args.priority,
            dedupe=args.dedupe,
            on_duplicate=args.on_duplicate,
            debounce=args.debounce,
        )
        return await handle.describe()
