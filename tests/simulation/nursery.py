"""The nursery: one process that has everything loaded, and forks a child for each trial.

A child plays the scenario behind the shim, and says what it is told. It costs a tenth of what a
new interpreter does, so that a suite can go through hundreds of places to die at.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any

import msgspec

from monolite.store.sqlite import log
from tests.processes.child import say
from tests.simulation import scenario

LOG_PAGES = 25
"""The scenario fills it a few times, so that checkpoints are among its events."""


class Action(IntEnum):
    """What happens at the chosen call, as in shim.c."""

    COUNT = 0
    EXIT = 1
    STOP = 2
    FAIL_ONCE = 3
    FAIL_FOR_EVER = 4
    CUT_SHORT = 5


class Kind(IntFlag):
    """System calls that change a file, as in shim.c."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 4
    UNLINK = 8

    ANY = 15


class Order(msgspec.Struct, frozen=True):
    """One trial: which call of which kind, and what happens there."""

    path: str
    action: int = Action.COUNT
    at: int = 0
    errno: int = 0
    kinds: int = Kind.ANY


def deliver(order: Order) -> int:
    """Fork a child for an order; return its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            live(order)
        finally:
            sys.stderr.flush()
            os._exit(1)
    return pid


def live(order: Order) -> None:
    log.LOG_PAGES_MAX = LOG_PAGES
    log.ROOM_BYTES = LOG_PAGES * (4096 + 24) + 32
    shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
    shim.shim_arm(order.action, ctypes.c_long(order.at), order.errno, order.kinds)

    def tell(what: str, answer: Any) -> None:
        say({"told": what, "answer": answer})

    try:
        asyncio.run(scenario.play(Path(order.path), tell))
    except Exception as error:  # noqa: BLE001 - which one is what the parent asks
        say({"error": [type(error).__name__, str(error)]})
        os._exit(3)
    say({"calls": ctypes.c_long(shim.shim_calls()).value})
    os._exit(0)


def watch(pid: int) -> bool:
    """Wait until a child stops or ends, and say so; return whether it ended."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        say({"stopped": pid})
        return False
    say({"ended": os.waitstatus_to_exitcode(status)})
    return True


def main() -> None:
    for line in sys.stdin:
        pid = deliver(msgspec.convert(json.loads(line), Order))
        while not watch(pid):
            # The parent says when it may go on.
            sys.stdin.readline()
            os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    main()
