"""`monolite update`: send a request into a run and wait for its answer."""

from __future__ import annotations

import argparse
import secrets

import anyio
import msgspec

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.core.duration import seconds
from monolite.core.failure import RECORDED
from monolite.errors import MonoliteError
from monolite.host.client import Client
from monolite.store.sqlite.owner import owner_of

PATIENCE = "30s"
"""How long to wait for the answer; then the command ends, and the request stays in the file."""


def arguments(parser: argparse.ArgumentParser) -> None:
    given.add_file(parser)
    given.add_id(parser)
    parser.add_argument("name", metavar="NAME", help="the name of the update, or of the handler")
    parser.add_argument(
        "value",
        metavar="VALUE_JSON",
        nargs="?",
        default="null",
        help="its value (default: null); for an actor's handler, an array of arguments",
    )
    parser.add_argument(
        "--id",
        dest="message_id",
        metavar="MESSAGE_ID",
        help="an id of the request: asking again gives the same answer (default: a random one)",
    )
    parser.add_argument(
        "--timeout",
        type=given.duration,
        default=PATIENCE,
        help=f"how long to wait for the answer (default: {PATIENCE})",
    )
    given.add_json(parser)


def run(args: argparse.Namespace) -> Answer:
    """Put the request into the run's inbox and print what the run answers."""
    text = given.json_text(args.value, "VALUE_JSON")
    message_id = secrets.token_hex(12) if args.message_id is None else args.message_id
    try:
        answer = anyio.run(_update, args, text, message_id)
    except TimeoutError:
        return Answer(problem=_unanswered(args, message_id))
    except Exception as error:
        if isinstance(error, MonoliteError) or not _is_recorded(error):
            raise
        return Answer(problem=f"{args.name} raised {type(error).__name__}: {error}")
    return Answer(answer, msgspec.json.decode(answer))


async def _update(args: argparse.Namespace, text: str, message_id: str) -> str:
    async with Client(args.file) as client:
        with anyio.fail_after(seconds(args.timeout)):
            return await client.send_update(args.id, args.name, text, message_id)


def _is_recorded(error: Exception) -> bool:
    """Return whether an exception is the run's own, come back through the file."""
    return any(note.startswith(RECORDED) for note in getattr(error, "__notes__", ()))


def _unanswered(args: argparse.Namespace, message_id: str) -> str:
    why = f"{args.id} has not answered in {args.timeout}"
    if owner_of(args.file) is None:
        why += f", and no engine has the file open; run it with: monolite serve {args.file} MODULE"
    return f"{why}; to wait for the answer, ask again with --id {message_id}"
