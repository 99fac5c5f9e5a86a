"""`monolite serve`: run the workflows of a file until told to stop."""

from __future__ import annotations

import argparse
import logging
import signal
from types import ModuleType

import anyio

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.loading import load
from monolite.cli.words import count
from monolite.core import entry as e
from monolite.core.definition import Workflow
from monolite.errors import Misused
from monolite.host.runtime import SHUTDOWN_GRACE_S, Runtime
from monolite.store.sqlite.inspector import inspect
from monolite.store.sqlite.store import SYNCHRONOUS

log = logging.getLogger("monolite.serve")


def arguments(parser: argparse.ArgumentParser) -> None:
    given.add_file(parser)
    parser.add_argument(
        "modules",
        metavar="MODULE",
        nargs="+",
        help="the workflows' code: package.module, or the path of a .py file",
    )
    parser.add_argument(
        "--takeover", action="store_true", help="take the file from an engine that is stuck"
    )
    parser.add_argument(
        "--durability",
        choices=tuple(SYNCHRONOUS),
        default="full",
        help="full: a commit survives a power cut (default); normal: a crash of the process",
    )


def run(args: argparse.Namespace) -> Answer:
    """Serve until SIGINT or SIGTERM, then let running activities finish, and close."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if str(args.file) == ":memory:":
        msg = "serve needs a file: what is in memory would be gone with this process"
        raise Misused(msg)
    anyio.run(_serve, args, [load(name) for name in args.modules])
    return Answer()


async def _serve(args: argparse.Namespace, modules: list[ModuleType]) -> None:
    runtime = Runtime(args.file, actors=modules, durability=args.durability, takeover=args.takeover)
    async with runtime:
        _announce(args, modules)
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                log.info(
                    "%s: stopping, at most %g s", signal.Signals(number).name, SHUTDOWN_GRACE_S
                )
                break
        # Whoever asks a second time does not want to wait; everything that counts is committed.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    log.info("closed %s", args.file)


def _announce(args: argparse.Namespace, modules: list[ModuleType]) -> None:
    values = [value for module in modules for value in vars(module).values()]
    names = sorted({value.name for value in values if isinstance(value, Workflow)})
    counts = inspect(args.file, lambda inspector: inspector.counts())
    open_runs = sum(n for status, n in counts.items() if status not in e.ENDED)
    log.info("serving %s: %s, %s", args.file, ", ".join(names), count(open_runs, "open run"))
