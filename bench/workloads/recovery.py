"""Recovery: a process is killed with every workflow in the middle; another finishes them.

Run as a program, this module is the process that gets killed:
`python -m bench.workloads.recovery FILE COUNT`.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from bench.floor import bare_loop
from bench.workload import Readings, Scratch, Size, Spec, Workload, WrongResult, expect
from monolite import Runtime, activity, workflow

STEPS = 3

IN_FLIGHT = b"in flight\n"
"""What the child says once every workflow waits at the gate."""

REACH_TIMEOUT_S = 60
"""How long the child may take for that."""

ROOT = Path(__file__).parents[2]


@dataclass
class Gate:
    """What stands in every workflow's way, and who came by."""

    shut: bool
    left: int = 0
    arrived: int = 0


async def _travel(path: Path, count: int, gate: Gate, *, resume: bool = False) -> float:
    """Run every workflow to its end; return how long that took, the engine's start included.

    `resume`: they are in the file already. With the gate shut this never returns.
    """

    @activity
    async def leave(number: int) -> int:
        gate.left += 1
        return number

    @activity
    async def wait_at_gate(number: int) -> int:
        gate.arrived += 1
        if gate.shut and gate.arrived == count:
            sys.stdout.buffer.write(IN_FLIGHT)
            sys.stdout.buffer.flush()
        if gate.shut:
            await asyncio.Event().wait()
        return number

    @activity
    async def arrive(number: int) -> int:
        return number

    @workflow
    async def journey(number: int) -> int:
        return await leave(number) + await wait_at_gate(number) + await arrive(number)

    start = perf_counter()
    async with Runtime(path, actors=[journey]) as rt:
        ids = [f"journey-{number}" for number in range(count)]
        if resume:
            handles = [rt.handle(id) for id in ids]
        else:
            spawns = (rt.spawn(journey(number), id=id) for number, id in enumerate(ids))
            handles = await asyncio.gather(*spawns)
        totals = await asyncio.gather(*(handle.result() for handle in handles))
        elapsed_s = perf_counter() - start
    expect(totals, [STEPS * number for number in range(count)], "recovery")
    return elapsed_s


async def _kill_in_flight(path: Path, count: int) -> None:
    """Leave a file behind in which every workflow was cut off at the gate."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.workloads.recovery", str(path), str(count)),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert child.stdout is not None
    try:
        async with asyncio.timeout(REACH_TIMEOUT_S):
            said = await child.stdout.readline()
    except TimeoutError as error:
        what = f"{count} workflows not in flight within {REACH_TIMEOUT_S} s"
        raise WrongResult(what) from error
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
    expect(said, IN_FLIGHT, "recovery: the child's answer")


async def _recover(path: Path, count: int) -> float:
    await _kill_in_flight(path, count)
    gate = Gate(shut=False)
    elapsed_s = await _travel(path, count, gate, resume=True)
    expect((gate.left, gate.arrived), (0, count), "recovery: activities that ran again")
    return elapsed_s


def _undisturbed(scratch: Scratch, size: Size) -> float:
    return asyncio.run(_travel(scratch.file(), size.count, Gate(shut=False)))


def _measure(scratch: Scratch, size: Size) -> Readings:
    return {
        "undisturbed": _undisturbed(scratch, size),
        "recovered": asyncio.run(_recover(scratch.file(), size.count)),
    }


def _floor(scratch: Scratch, size: Size) -> Readings:
    return {
        "undisturbed": bare_loop(scratch.file(), size.count, STEPS).seconds,
        "recovered": _undisturbed(scratch, size),
    }


WORKLOAD = Workload(
    name="recovery",
    specs=(
        Spec("undisturbed", "3-step workflows, all at once", "s", "bare loop"),
        Spec("recovered", "the same after SIGKILL at step 2, to the end", "s", "undisturbed"),
    ),
    full=Size(1000),
    quick=Size(200),
    measure=_measure,
    floor=_floor,
)

if __name__ == "__main__":
    asyncio.run(_travel(Path(sys.argv[1]), int(sys.argv[2]), Gate(shut=True)))
