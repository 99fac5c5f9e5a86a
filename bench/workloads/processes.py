"""Child processes: what one attempt in a warm child costs, beside one on the host's loop."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from time import perf_counter

from bench.floor import bare_latencies_ms
from bench.workload import Readings, Scratch, Size, Spec, Workload, expect, percentile
from monolite import Call, Runtime, activity, workflow

WARM_UP = 20
"""First steps, not counted: they start the child."""


@activity
async def here(number: int) -> int:
    return number


@activity(run_in="process")
def there(number: int) -> int:
    return number


@workflow
async def steps_here(count: int) -> None:
    for number in range(count):
        expect(await here(number), number, "processes: a step here")


@workflow
async def steps_there(count: int) -> None:
    for number in range(count):
        expect(await there(number), number, "processes: a step there")


async def _step_ms(rt: Runtime, steps: Call[None], count: int) -> float:
    start = perf_counter()
    await (await rt.spawn(steps)).result()
    return (perf_counter() - start) * 1000 / count


async def _medians(scratch: Scratch, count: int) -> Readings:
    actors = [steps_here, steps_there]
    async with Runtime(scratch.file(), actors=actors, processes=1) as rt:
        await _step_ms(rt, steps_there(WARM_UP), WARM_UP)
        step = await _step_ms(rt, steps_there(count), count)
    # In memory, where no disk hides it.
    async with Runtime(":memory:", actors=actors, processes=1) as rt:
        await _step_ms(rt, steps_there(WARM_UP), WARM_UP)
        loop = await _step_ms(rt, steps_here(count), count)
        child = await _step_ms(rt, steps_there(count), count)
    return {"step": step, "overhead": child - loop}


def _measure(scratch: Scratch, size: Size) -> Readings:
    return asyncio.run(_medians(scratch, size.count))


def _floor(scratch: Scratch, size: Size) -> Readings:
    return {
        "step": percentile(bare_latencies_ms(scratch.file(), size.count), 50),
        "overhead": percentile(_echoes_ms(size.count), 50),
    }


def _echoes_ms(count: int) -> list[float]:
    """Time bytes to another Python process and back."""
    ours, theirs = socket.socketpair()
    code = (
        f"import socket; line = socket.socket(fileno={theirs.fileno()})\n"
        "while heard := line.recv(99): line.send(heard)"
    )
    times: list[float] = []
    with subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno()]), theirs, ours:
        theirs.close()
        for _ in range(WARM_UP + count):
            start = perf_counter()
            ours.send(b"there")
            expect(ours.recv(99), b"there", "processes: an echo")
            times.append((perf_counter() - start) * 1000)
    return times[WARM_UP:]


WORKLOAD = Workload(
    name="processes",
    specs=(
        Spec("step", "a step in a warm child process", "ms", "one awaited commit, p50"),
        Spec(
            "overhead",
            "more than one on the host's loop, no disk",
            "ms",
            "a message to a process and back, p50",
        ),
    ),
    full=Size(500),
    quick=Size(100),
    measure=_measure,
    floor=_floor,
)
