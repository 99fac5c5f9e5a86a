"""`monolite serve`: run the workflows of a file until told to stop."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import signal
import threading
from types import ModuleType

import anyio

from monolite.cli import arguments as given
from monolite.cli.answer import Answer
from monolite.cli.loading import load, served_by
from monolite.cli.words import count
from monolite.core import entry as e
from monolite.errors import Misused
from monolite.host.runtime import SHUTDOWN_GRACE_S, Runtime
from monolite.store.sqlite.inspector import inspect
from monolite.store.sqlite.store import SYNCHRONOUS

log = logging.getLogger("monolite.serve")

STOPS = (signal.SIGINT, signal.SIGTERM)
"""The signals that ask a process to stop."""

IDLE_S = 0.5
"""How long threads that have nothing to do may take to end."""


GC_THRESHOLDS = (50_000, 20, 50)
"""How many new objects start Python's search for unreachable cycles, in place of 700: runs that
wait are objects that live for long, and looking through them over and over took a fifth of the
time of many short workflows."""


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
    parser.add_argument(
        "--grace",
        metavar="DURATION",
        type=given.duration,
        default=f"{SHUTDOWN_GRACE_S:g}s",
        help="how long running activities may go on when it is told to stop (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> Answer:
    """Serve until SIGINT or SIGTERM, then let running activities finish, and close."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if str(args.file) == ":memory:":
        msg = "serve needs a file: what is in memory would be gone with this process"
        raise Misused(msg)
    modules = [load(name) for name in args.modules]
    _collect_less_often()
    anyio.run(_serve, args, modules)
    _leave_threads()
    return Answer()


async def _serve(args: argparse.Namespace, modules: list[ModuleType]) -> None:
    runtime = Runtime(
        args.file,
        actors=modules,
        durability=args.durability,
        takeover=args.takeover,
        shutdown_grace=args.grace,
    )
    async with runtime:
        with anyio.open_signal_receiver(*STOPS) as signals:
            _announce(args, modules)
            asked = signal.Signals(await anext(signals))
        # A second one ends the process at once. What counts is committed, the rest runs again.
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)
        log.info("%s: stopping; activities may go on for %s", asked.name, args.grace)
    log.info("closed %s", args.file)


def _collect_less_often() -> None:
    """Leave the program's own code and constants out of the search for cycles, and search less."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _leave_threads() -> None:
    """End the process if an activity is still running in a thread, which nobody can stop.

    The interpreter would wait for it, for ever perhaps. It runs again next time.
    """
    others = [t for t in threading.enumerate() if t is not threading.main_thread() and not t.daemon]
    for thread in others:
        thread.join(IDLE_S / len(others))
    if any(thread.is_alive() for thread in others):
        log.warning("an activity did not end in time; it is left behind, and runs again next time")
        os._exit(0)


def _announce(args: argparse.Namespace, modules: list[ModuleType]) -> None:
    names = sorted(set[str]().union(*map(served_by, modules)))
    counts = inspect(args.file, lambda inspector: inspector.counts())
    open_runs = sum(n for status, n in counts.items() if status not in e.ENDED)
    log.info("serving %s: %s, %s", args.file, ", ".join(names), count(open_runs, "open run"))
