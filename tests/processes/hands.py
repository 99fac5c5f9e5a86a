"""Activities that tests run in processes of their own, and the workflows that ask for them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import msgspec

from monolite import Retry, Stream, activity, attempt, workflow
from monolite.errors import ActivityTimedOut

tokens = Stream("tokens", str)


class Oddity(Exception):
    """An error that wants more than its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class Refusal(Oddity):
    """Not to be tried again."""


class Look(msgspec.Struct):
    """What an attempt sees of itself."""

    pid: int
    name: str
    number: int
    key: str
    interrupted: bool
    workflow: str


def running(pid: int) -> bool:
    """Whether a process is there, and not only the memory of one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def leave_behind(*, session: bool = False) -> int:
    """Start a process that outlives whoever starts it; return its number."""
    code = "import signal; signal.pause()"
    started = subprocess.Popen([sys.executable, "-c", code], start_new_session=session)
    started.returncode = 0  # so that Python does not look for it
    return started.pid


def announce(place: str, *pids: int) -> None:
    """Tell the test, which waits at a named pipe."""
    Path(place).write_text(" ".join(map(str, pids)) + "\n", encoding="utf-8")


@activity(run_in="process")
def look() -> Look:
    a = attempt()
    return Look(os.getpid(), a.name, a.number, a.idempotency_key, a.interrupted, a.workflow_id)


@activity(run_in="process")
async def look_async(backend: str) -> Look:
    await anyio.lowlevel.checkpoint()
    if backend == "asyncio":
        assert asyncio.get_running_loop().is_running()
    seen: Look = look.fn()
    return seen


@activity(run_in="process")
def square(number: int) -> int:
    return number * number


@activity(run_in="process", retry=Retry(2, first_delay=0))
def dies(how: str) -> None:
    sys.stderr.write(f"attempt {attempt().number}: these are my last words\n")
    if how == "exit":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    ctypes.string_at(0)


@activity(run_in="process", retry=Retry(3, first_delay=0))
def raises(code: int, final: bool) -> None:
    sys.stderr.write("about to fail\n")
    raise (Refusal if final else Oddity)(code, f"attempt {attempt().number}")


@activity(run_in="process", memory="100MB", retry=False)
def fills_memory() -> int:
    return len(bytearray(1_000_000_000))


@activity(run_in="process", memory="100MB", retry=False)
def fits_in_memory() -> int:
    return len(bytearray(50_000_000))


@activity(run_in="process")
def prints() -> None:
    sys.stdout.write("to the one\n")
    sys.stderr.write("to the other\n")
    os.write(1, b"straight, and unfinished")


@activity(run_in="process")
def streams() -> None:
    for word in ("one", "two", "three"):
        tokens.append(word)


@activity(run_in="process", retry=False)
def hangs_with_family(place: str) -> None:
    """Start a process, say so, and never return."""
    announce(place, os.getpid(), leave_behind())
    signal.pause()


@activity(run_in="process", timeout="1s", retry=False)
def hangs_too_long(place: str) -> None:
    Path(place).write_text(f"{os.getpid()} {leave_behind()}", encoding="utf-8")
    signal.pause()


@activity(run_in="process")
def hangs_at_first(place: str) -> int:
    if attempt().number == 1:
        announce(place, os.getpid(), leave_behind())
        signal.pause()
    return attempt().number


@activity(run_in="process")
def leaves_a_process() -> list[int]:
    return [os.getpid(), leave_behind()]


@activity(run_in="process")
def leaves_a_daemon() -> list[int]:
    """Leave a process that is nobody's child, in a session of its own."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.write(write, str(leave_behind(session=True)).encode())
        os._exit(0)
    os.wait()
    return [os.getpid(), int(os.read(read, 100))]


@activity(run_in="process")
def forks() -> str:
    """Fork as old code does: the copy returns from the function too."""
    return "parent" if os.fork() else "fork"


@activity(run_in="process")
def uses_a_pool() -> list[int]:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, -2, -3])


@activity(run_in="process")
def reads_the_file(path: str) -> int:
    """Open the engine's file, and close it: in the engine's process that would drop its locks."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows: list[tuple[int]] = db.execute("SELECT count(*) FROM monolite_runs").fetchall()
    return rows[0][0]


@activity(run_in="process", retry=False)
def writes_on_its_line() -> None:
    """Write nonsense to every file that is open."""
    for fd in range(3, 512):
        with contextlib.suppress(OSError):
            os.write(fd, b"\xff" * 100)
    signal.pause()


@activity(run_in="process", at_most_once=True)
def exits() -> None:
    sys.exit(7)


@activity
def alive(pids: list[int]) -> list[bool]:
    return [running(pid) for pid in pids]


@activity
def read_pids(place: str) -> list[int]:
    return [int(word) for word in Path(place).read_text(encoding="utf-8").split()]


@activity(run_in="process")
def waits_at(place: str, name: str) -> int:
    """Say our name and number, then wait to be let through."""
    announce(f"{place}/{name}", os.getpid())
    Path(f"{place}/{name}-go").read_bytes()
    return os.getpid()


@workflow
async def looking(backend: str) -> list[Look]:
    return [await look(), await look_async(backend), await look()]


@workflow
async def hurried(place: str) -> list[bool]:
    try:
        await hangs_too_long(place)
    except ActivityTimedOut:
        return await alive(await read_pids(place))
    return []


@workflow
async def hanging(place: str) -> None:
    await hangs_with_family(place)


@workflow
async def persistent(place: str) -> int:
    return await hangs_at_first(place)


@activity(run_in="process", retry=False)
def deaf(place: str) -> None:
    """Hold the interpreter in one long calculation, so that no other thread of it can run."""
    announce(place, os.getpid())
    pow(3, 10**9)


@workflow
async def computing(place: str) -> None:
    await deaf(place)
