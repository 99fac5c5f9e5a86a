"""A client in a process of its own: spawns a run of its own, or sends numbers to the collector."""

from __future__ import annotations

import argparse
import asyncio

from monolite import Client
from tests.processes import programs
from tests.processes.child import say


async def main(options: argparse.Namespace) -> None:
    async with Client(options.path, create=True) as client:
        if options.spawn:
            await client.spawn(programs.collector(), id=options.name)
            return
        collector = client.handle("collector", programs.collector)
        for number in range(1, options.count + 1):
            message_id = f"{options.name}-{number}"
            accepted = await collector.signal(
                programs.numbers, (options.name, number), id=message_id
            )
            assert accepted
            say({"sent": [options.name, number]})


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("name")
    parser.add_argument("count", type=int)
    parser.add_argument("--spawn", action="store_true")
    asyncio.run(main(parser.parse_args()))
