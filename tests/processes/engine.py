"""An engine in a process of its own: runs a file's workflows until its standard input ends."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys

from monolite import Runtime
from monolite.host import residency, thread
from monolite.host.clock import SystemClock
from tests.processes import programs
from tests.processes.child import say


class LaterClock(SystemClock):
    """The wall clock of some hours later, so that nobody has to wait for them."""

    def __init__(self, hours: int) -> None:
        self._ahead_us = hours * 3_600_000_000

    def now_us(self) -> int:
        return super().now_us() + self._ahead_us


async def told_to_leave() -> None:
    """Wait until the parent closes our standard input."""
    heard = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, heard.set)
    await heard.wait()


async def main(options: argparse.Namespace) -> None:
    say("opening")
    runtime = Runtime(
        options.path,
        actors=[vars(programs)[name] for name in options.code] or [programs],
        takeover=options.takeover,
        max_live=options.max_live,
        shutdown_grace=0,
        clock=LaterClock(options.hours_later),
    )
    async with runtime:
        if options.fork:
            say({"forked": fork_that_waits()})
        say("open")
        await told_to_leave()


def fork_that_waits() -> int:
    """Make a copy of this process that does nothing until it is killed; return its id."""
    pid = os.fork()
    if pid == 0:
        os.closerange(0, 3)
        while True:
            signal.pause()
    return pid


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--takeover", action="store_true")
    parser.add_argument("--fork", action="store_true")
    parser.add_argument("--max-live", type=int, default=10_000)
    parser.add_argument("--hours-later", type=int, default=0)
    parser.add_argument("--code", nargs="*", default=[], help="have the code of these only")
    parser.add_argument("--deaf", action="store_true", help="look at nothing unless the bell rings")
    return parser.parse_args()


if __name__ == "__main__":
    logging.basicConfig()
    options = parsed()
    if options.deaf:
        thread.WAIT_S_MAX = 3_600.0
        residency.QUIET_US = 3_600_000_000
    asyncio.run(main(options))
