"""Real I/O and threads inside a workflow raise NotDurable, which names the call; elsewhere not."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
import warnings
from collections.abc import Callable, Coroutine, Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from monolite import Runtime, activity, errors, workflow
from monolite.core import guard
from monolite.core.loop import running_loop
from tests.core.play import Stage

Attempted = Callable[[str], Any] | Callable[[str], Coroutine[Any, Any, Any]]


def reads_a_file(path: str) -> None:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - the call that users write
        file.read()


def starts_a_thread(_path: str) -> None:
    threading.Thread(target=lambda: None).start()


def asks_for_an_address(_path: str) -> None:
    socket.getaddrinfo("localhost", 80)


def runs_a_program(path: str) -> None:
    subprocess.run([path], check=False)


def opens_a_page(_path: str) -> None:
    urllib.request.urlopen("http://127.0.0.1:9/")


async def uses_a_thread(_path: str) -> None:
    await asyncio.to_thread(time.monotonic)


async def uses_a_thread_of_anyio(_path: str) -> None:
    await anyio.to_thread.run_sync(time.monotonic)


async def uses_an_executor(_path: str) -> None:
    await asyncio.get_running_loop().run_in_executor(None, time.monotonic)


async def opens_a_connection(_path: str) -> None:
    await asyncio.open_connection("127.0.0.1", 9)


async def starts_a_server(_path: str) -> None:
    await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)


async def runs_a_program_with_asyncio(path: str) -> None:
    await asyncio.create_subprocess_exec(path)


async def runs_a_program_with_anyio(path: str) -> None:
    await anyio.run_process([path])


async def asks_asyncio_for_an_address(_path: str) -> None:
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)


async def reads_a_file_with_anyio(path: str) -> None:
    await anyio.Path(path).read_text()


ATTEMPTS: list[tuple[Attempted, str]] = [
    (reads_a_file, "open('{path}')"),
    (lambda path: Path(path).read_bytes(), "open('{path}')"),
    (lambda path: Path(path).write_text("x"), "open('{path}')"),
    (lambda path: Path(path).unlink(), "os.remove() ('{path}')"),
    (lambda path: Path(path).parent.joinpath("new").mkdir(), "os.mkdir() ('{folder}/new')"),
    (lambda path: Path(path).rename(path + "2"), "os.rename() ('{path}')"),
    # (Path.iterdir uses the one or the other, by Python's version.)
    (lambda path: os.listdir(Path(path).parent), "os.listdir() ('{folder}')"),  # noqa: PTH208
    (lambda path: list(os.scandir(Path(path).parent)), "os.scandir() ('{folder}')"),
    (lambda path: shutil.copyfile(path, path + "2"), "shutil.copyfile() ('{path}')"),
    (lambda path: shutil.copytree(Path(path).parent, path + "2"), "shutil.copytree()"),
    (lambda path: shutil.rmtree(Path(path).parent), "shutil.rmtree()"),
    (lambda path: Path(path + "2").symlink_to(path), "os.symlink() ('{path}')"),
    (lambda path: Path(path + "2").hardlink_to(path), "os.link() ('{path}')"),
    (lambda path: Path(path).chmod(0o600), "os.chmod() ('{path}')"),
    (lambda path: os.chown(path, -1, -1), "os.chown() ('{path}')"),
    (os.utime, "os.utime() ('{path}')"),
    (lambda path: os.truncate(path, 0), "os.truncate() ('{path}')"),
    (lambda path: os.chdir(Path(path).parent), "os.chdir()"),
    (lambda path: Path(path).parent.rmdir(), "os.rmdir()"),
    (lambda path: Path(path).replace(path + "2"), "os.rename() ('{path}')"),
    (lambda path: list(os.walk(Path(path).parent)), "os.walk()"),
    (lambda path: list(Path(path).parent.glob("*")), "Path.glob()"),
    (lambda _: os.kill(os.getpid(), 0), "os.kill()"),
    (lambda _: os.killpg(os.getpgid(0), 0), "os.killpg()"),
    (lambda path: os.execv(path, [path]), "os.exec()"),
    (lambda path: os.posix_spawn(path, [path], {}), "starting a process ('{path}')"),
    (lambda _: os.fork(), "os.fork()"),
    (lambda _: socket.gethostbyname("localhost"), "a DNS look-up ('localhost')"),
    (lambda _: time.sleep(0), "time.sleep()"),
    (starts_a_thread, "starting a thread"),
    (lambda _: socket.socket(), "opening a socket"),
    (lambda _: socket.create_connection(("127.0.0.1", 9)), "a DNS look-up ('127.0.0.1')"),
    (asks_for_an_address, "a DNS look-up ('localhost')"),
    (runs_a_program, "starting a process ('{path}')"),
    (lambda _: os.system("true"), "os.system()"),  # pyright: ignore[reportDeprecated]
    (opens_a_page, "an HTTP request ('http://127.0.0.1:9/')"),
    (uses_a_thread, "asyncio's run_in_executor()"),
    (uses_a_thread_of_anyio, "starting a thread"),
    (uses_an_executor, "asyncio's run_in_executor()"),
    (opens_a_connection, "asyncio's create_connection()"),
    (starts_a_server, "asyncio's create_server()"),
    (runs_a_program_with_asyncio, "asyncio's subprocess_exec()"),
    (runs_a_program_with_anyio, "asyncio's subprocess_exec()"),
    (asks_asyncio_for_an_address, "asyncio's getaddrinfo()"),
    (reads_a_file_with_anyio, "starting a thread"),
]


@workflow
async def attempts(number: int, path: str) -> str:
    attempt, _ = ATTEMPTS[number]
    try:
        done = attempt(path)
        if asyncio.iscoroutine(done):
            await done
    except errors.NotDurable as refused:
        return refused.call
    return "nothing stopped it"


@pytest.mark.parametrize("number", range(len(ATTEMPTS)), ids=[named for _, named in ATTEMPTS])
def test_the_outside_is_refused_and_the_call_is_named(
    stage: Stage, tmp_path: Path, number: int
) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    named = ATTEMPTS[number][1].format(path=path, folder=tmp_path)
    refused = stage.start(attempts(number, str(path))).result
    assert refused == named or refused.startswith(named + " (")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("file", "before")]
    assert running_loop() is None


@workflow
async def reports(event: str) -> str:
    try:
        sys.audit(event)
    except errors.NotDurable as refused:
        return refused.call
    return "nothing stopped it"


@pytest.mark.parametrize("event", sorted(guard.OUTSIDE))
def test_whatever_python_reports_of_the_outside_is_refused(stage: Stage, event: str) -> None:
    sys.audit(event)
    stage.start(reports(event)).completes(guard.OUTSIDE[event])


@pytest.mark.parametrize("event", ["object.__getattr__", "os.putenv", "import", "compile"])
def test_what_is_no_business_of_the_outside_is_let_through(stage: Stage, event: str) -> None:
    stage.start(reports(event)).completes("nothing stopped it")


def test_a_refusal_that_nobody_catches_fails_the_run(stage: Stage) -> None:
    @workflow
    async def careless() -> None:
        time.sleep(0)

    stage.start(careless()).fails(
        "NotDurable: time.sleep() does real I/O or starts a thread inside a workflow, which "
        "replay cannot repeat; put this in an activity and await it"
    )


def test_a_task_of_the_workflow_is_refused_too(stage: Stage) -> None:
    @workflow
    async def careless() -> str:
        async def background() -> None:
            Path("/etc/hostname").read_text(encoding="utf-8")

        try:
            await asyncio.create_task(background())
        except errors.NotDurable as refused:
            return refused.call
        return "nothing stopped it"

    stage.start(careless()).completes("open('/etc/hostname')")


@pytest.fixture
def fresh_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that was never imported, nor compiled."""
    (tmp_path / "never_imported_before.py").write_text("import json\nVALUE = json.dumps([1])\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    yield "never_imported_before"
    sys.modules.pop("never_imported_before", None)


def test_importing_is_allowed(fresh_module: str, stage: Stage) -> None:
    @workflow
    async def importing(name: str) -> str:
        found: str = __import__(name).VALUE
        return found

    stage.start(importing(fresh_module)).completes("[1]")


def test_tracebacks_and_warnings_may_read_source_files(stage: Stage) -> None:
    @workflow
    async def explaining() -> str:
        import linecache

        linecache.clearcache()
        try:
            raise ValueError  # explained
        except ValueError:
            text = traceback.format_exc()
        linecache.clearcache()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn("careful", stacklevel=1)
        return f"{'raise ValueError  # explained' in text} {len(caught)}"

    stage.start(explaining()).completes("True 1")


def test_a_log_line_may_reach_whatever_file_the_program_logs_to(
    tmp_path: Path, stage: Stage
) -> None:
    """Where a log goes is the program's business; it decides nothing in the workflow."""
    log = logging.getLogger("monolite.tests.workflow")
    late = logging.FileHandler(tmp_path / "late.log", delay=True)
    rotating = RotatingFileHandler(tmp_path / "rotating.log", maxBytes=1, backupCount=1, delay=True)

    @workflow
    async def talking() -> str:
        for number in range(3):
            log.warning("line %d", number)
        return "logged"

    for handler in (late, rotating):
        log.addHandler(handler)
    log.propagate = False
    try:
        stage.start(talking()).completes("logged")
    finally:
        for handler in (late, rotating):
            log.removeHandler(handler)
            handler.close()
    assert (tmp_path / "late.log").read_text() == "line 0\nline 1\nline 2\n"
    assert (tmp_path / "rotating.log").read_text() == "line 2\n"


def test_printing_and_computing_are_allowed(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    @workflow
    async def talking() -> str:
        print("hello")  # noqa: T201 - allowed, though it is printed again in a replay
        return str(Path("/a") / "b")

    stage.start(talking()).completes("/a/b")
    assert capsys.readouterr().out == "hello\n"


def test_everything_outside_workflows_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("here")
    reads_a_file(str(path))
    starts_a_thread(str(path))
    time.sleep(0)
    with socket.socket():
        pass
    assert subprocess.run([sys.executable, "-c", ""], check=True).returncode == 0


async def test_ordinary_asyncio_code_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("here")
    assert await asyncio.to_thread(path.read_text) == "here"
    assert await anyio.Path(path).read_text() == "here"
    reads_a_file(str(path))


@activity
async def read_here(path: str) -> str:
    time.sleep(0)
    return Path(path).read_text(encoding="utf-8")


@activity
def read_in_a_thread(path: str) -> str:
    starts_a_thread(path)
    return Path(path).read_text(encoding="utf-8")


@workflow
async def reads_in_activities(path: str) -> list[str]:
    return [await read_here(path), await read_in_a_thread(path)]


async def test_activities_may_do_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("here")
    async with Runtime(":memory:", actors=[reads_in_activities, attempts]) as rt:
        handle = await rt.spawn(reads_in_activities(str(path)))
        assert await handle.result() == ["here", "here"]
        refused = await rt.spawn(attempts(0, str(path)))
        assert await refused.result() == f"open('{path}')"


def test_a_thread_of_the_program_is_left_alone_while_a_workflow_runs(
    stage: Stage, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("here")
    asked, answered = threading.Event(), threading.Event()
    read: list[str] = []

    def other_thread() -> None:
        asked.wait(10)
        read.append(path.read_text(encoding="utf-8"))
        answered.set()

    @workflow
    async def running() -> None:
        asked.set()
        answered.wait(10)

    thread = threading.Thread(target=other_thread)
    thread.start()
    stage.start(running()).completes()
    thread.join()
    assert read[0] == "here"
