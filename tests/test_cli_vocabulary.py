"""The commands that answer, hold and end runs: what each says, and its exit status."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from monolite import Client, Runtime, View, activity, errors, workflow
from monolite.cli.main import main
from tests.served import Served

PROGRAM = '''
"""A shop for the command line to play with."""

import asyncio

from monolite import Actor, Promise, Update, View, update, workflow

price = Update("price", int, str)
token = View("token", str)
state = View("state", str)


@workflow
async def haggle() -> int:
    async for request in price:
        if request.value < 10:
            request.reject("too cheap")
        else:
            request.reply(f"{request.value} it is")
            return request.value


@workflow
async def ask() -> int:
    promise = Promise(int)
    token.set(promise.token)
    return await promise


@workflow
async def doze(seconds: float) -> str:
    try:
        state.set("dozing")
        await asyncio.sleep(seconds)
    finally:
        state.set("awake")
    return "rested"


class Counter(Actor):
    count: int = 0

    @update
    async def add(self, n: int = 1) -> int:
        self.count += n
        if self.count < 0:
            raise ValueError(f"{self.count} is less than nothing")
        return self.count
'''

token = View("token", str)
state = View("state", str)


class Said(NamedTuple):
    """What a command said."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Said]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process."""

    def run(*argv: object) -> Said:
        try:
            status = main([str(word) for word in argv])
        except SystemExit as left:
            status = int(left.code or 0)
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    return tmp_path / "app.db"


@pytest.fixture
def served(file: Path) -> Iterator[Path]:
    """The file while an engine process serves it."""
    with Served(file, "program.py") as engine:
        yield file
        assert engine.stop() == 0


def seen(file: Path, id: str, view: View[str]) -> str | None:
    """Wait until a run has published a view; return its value."""

    async def wait() -> str | None:
        async with Client(file) as client:
            async for value in client.handle(id).watch(view):
                return value
        return None

    return anyio.run(wait)


def ended(file: Path, id: str) -> Any:
    """Wait for a run's end; return its result, or the exception it ended with."""

    async def wait() -> Any:
        async with Client(file) as client:
            try:
                return await client.handle(id).result()
            except errors.MonoliteError as error:
                return error

    return anyio.run(wait)


def spawn(cli: Cli, file: Path, id: str, workflow: str, args: str = "[]") -> None:
    assert cli("spawn", file, workflow, args, "--id", id, "--create").status == 0


# update


def test_update_prints_the_answer(cli: Cli, served: Path) -> None:
    spawn(cli, served, "h", "haggle")
    refused = cli("update", served, "h", "price", "9")
    assert refused == (1, "", "monolite: too cheap\n")
    wrong = cli("update", served, "h", "price", '"ten"')
    assert (wrong.status, wrong.out) == (2, "")
    assert "is not a int" in wrong.err
    assert cli("update", served, "h", "price", "12", "--id", "m-1") == (0, '"12 it is"\n', "")
    again = cli("update", served, "h", "price", "12", "--id", "m-1", "--json")
    assert (again.status, again.document) == (0, "12 it is")
    late = cli("update", served, "h", "price", "13")
    assert late == (1, "", "monolite: the run has completed\n")
    assert ended(served, "h") == 12


def test_update_asks_an_actor(cli: Cli, served: Path) -> None:
    none = cli("update", served, "Counter/a", "add", "[5]")
    assert (none.status, none.out) == (1, "")
    assert "no run has the id 'Counter/a'" in none.err
    spawn_actor(served)
    assert cli("update", served, "Counter/a", "add", "[5]") == (0, "6\n", "")
    assert cli("update", served, "Counter/a", "add", "[]") == (0, "7\n", "")
    failed = cli("update", served, "Counter/a", "add", "[-8]")
    assert failed == (1, "", "monolite: add raised ValueError: -1 is less than nothing\n")
    unfit = cli("update", served, "Counter/a", "add")
    assert (unfit.status, unfit.out) == (2, "")
    assert "not a JSON array" in unfit.err
    assert cli("update", served, "Counter/a", "add", "[0]").out == "7\n"


def spawn_actor(file: Path) -> None:
    """Bring Counter/a into being with its first message."""
    from monolite import Actor, update

    class Counter(Actor):
        @update
        async def add(self, n: int = 1) -> int:
            raise NotImplementedError

    async def begin() -> int:
        async with Client(file) as client:
            return await client.actor(Counter, "a").add(1)

    assert anyio.run(begin) == 1


def test_update_gives_up_waiting_but_not_the_request(cli: Cli, file: Path) -> None:
    spawn(cli, file, "h", "haggle")
    said = cli("update", file, "h", "price", "12", "--id", "m-1", "--timeout", "10ms")
    assert (said.status, said.out) == (1, "")
    assert "h has not answered in 10ms, and no engine has the file open" in said.err
    assert said.err.endswith("ask again with --id m-1\n")
    with Served(file, "program.py"):
        assert cli("update", file, "h", "price", "99", "--id", "m-1").out == '"12 it is"\n'
        spawn(cli, file, "d", "doze", "[3600]")
        silent = cli("update", file, "d", "price", "--id", "m-2", "--timeout", "10ms")
        assert silent.err == (
            "monolite: d has not answered in 10ms; "
            "to wait for the answer, ask again with --id m-2\n"
        )


def test_update_refuses_what_makes_no_sense(cli: Cli, file: Path) -> None:
    assert cli("update", file, "h", "price").status == 2
    spawn(cli, file, "h", "haggle")
    assert "is not JSON" in cli("update", file, "h", "price", "{").err
    assert cli("update", file, "h", "price", "1", "--timeout", "soon").status == 2
    assert cli("update", file, "other", "price", "1").status == 1


# resolve and reject


def test_a_promise_is_resolved_once(cli: Cli, served: Path) -> None:
    spawn(cli, served, "a", "ask")
    told = seen(served, "a", token)
    assert cli("resolve", served, told, "41") == (0, "accepted\n", "")
    assert ended(served, "a") == 41
    again = cli("resolve", served, told, "42", "--json")
    assert (again.status, again.document) == (0, {"accepted": True, "reason": "duplicate"})
    assert cli("reject", served, told, "too late").out == "accepted (duplicate)\n"
    assert ended(served, "a") == 41


def test_a_promise_is_rejected(cli: Cli, served: Path) -> None:
    spawn(cli, served, "a", "ask")
    told = seen(served, "a", token)
    assert cli("reject", served, told, "nobody knows").status == 0
    assert "nobody knows" in str(ended(served, "a"))


def test_a_promise_is_resolved_while_no_engine_runs(cli: Cli, file: Path) -> None:
    spawn(cli, file, "a", "ask")
    with Served(file, "program.py"):
        told = seen(file, "a", token)
    assert cli("resolve", file, told).status == 0
    with Served(file, "program.py"):
        assert "is not a int" in str(ended(file, "a"))


def test_resolve_refuses_what_makes_no_sense(cli: Cli, file: Path) -> None:
    spawn(cli, file, "a", "ask")
    for command in (("resolve",), ("reject",)):
        said = cli(*command, file, "mp_nonsense", "1")
        assert (said.status, said.out) == (2, "")
        assert "is not a promise's token" in said.err
    assert "is not JSON" in cli("resolve", file, "mp_nonsense", "{").err


async def test_a_promise_of_a_run_with_a_long_id_can_be_resolved(file: Path) -> None:
    """Its token is longer than an id may be."""
    spec = spec_from_file_location("program_of_promises", file.parent / "program.py")
    assert spec is not None
    assert spec.loader is not None
    program: Any = module_from_spec(spec)
    spec.loader.exec_module(program)
    async with Runtime(file, actors=[program]) as rt:
        run = await rt.spawn(program.ask(), id="long" * 128)
        async for told in run.watch(token):
            assert await rt.resolve(told, 41)
        assert await run.result() == 41


# pause, resume, terminate


def test_a_paused_run_waits_until_it_is_resumed(cli: Cli, served: Path) -> None:
    spawn(cli, served, "h", "haggle")
    assert cli("pause", served, "h") == (0, "accepted\n", "")
    silent = cli("update", served, "h", "price", "12", "--id", "m-1", "--timeout", "100ms")
    assert silent.status == 1
    (listed,) = cli("ls", served, "--json").document
    assert (listed["status"], listed["waiting_on"]) == ("paused", "resume")
    assert cli("resume", served, "h", "--json").document["accepted"] is True
    assert cli("update", served, "h", "price", "12", "--id", "m-1").status == 0
    assert ended(served, "h") == 12
    assert "did not take it" in cli("pause", served, "h").err
    assert cli("resume", served, "h").status == 1


def test_a_terminated_run_does_not_clean_up(cli: Cli, served: Path) -> None:
    spawn(cli, served, "d", "doze", "[3600]")
    assert seen(served, "d", state) == "dozing"
    assert cli("terminate", served, "d", "--reason", "fire") == (0, "accepted\n", "")
    error = ended(served, "d")
    assert isinstance(error, errors.Terminated)
    assert error.reason == "fire"
    assert seen(served, "d", state) == "dozing"
    said = cli("terminate", served, "d")
    assert said == (1, "", "monolite: d did not take it: the run has been terminated\n")


@pytest.mark.parametrize("command", ["pause", "resume", "terminate"])
def test_there_must_be_such_a_run(cli: Cli, file: Path, command: str) -> None:
    spawn(cli, file, "a", "ask")
    said = cli(command, file, "b")
    assert (said.status, said.out) == (1, "")
    assert "no run has the id 'b'" in said.err
    assert cli(command, file).status == 2


# Blocked.


@activity(retry=False, on_exhausted="block")
async def declined(card: str) -> str:
    raise ValueError(card)


@workflow
async def order() -> str | None:
    return await declined("visa")


async def block(path: Path) -> None:
    async with Runtime(path, actors=[order]) as rt:
        for id in ("o-1", "o-2", "o-3"):
            run = await rt.spawn(order(), id=id)
            while (await run.describe()).status != "blocked":
                await anyio.sleep(0)


@pytest.fixture
def blocked(tmp_path: Path) -> Path:
    path = tmp_path / "blocked.db"
    anyio.run(block, path)
    return path


def test_blocked_lists_what_to_type_next(cli: Cli, blocked: Path) -> None:
    said = cli("blocked", blocked)
    assert said.status == 0
    assert said.out.splitlines()[1].split("  ") == [
        "o-1",
        "declined#1",
        "attempt 1: ValueError: visa",
        f"monolite retry {blocked} o-1 declined#1",
    ]


def test_what_is_blocked_is_decided_without_an_engine(cli: Cli, blocked: Path) -> None:
    assert cli("skip", blocked, "o-1", "declined#1").out == "accepted\n"
    assert cli("set-result", blocked, "o-2", '"cash"', "--key", "declined").out == "accepted\n"
    assert cli("retry", blocked, "o-3").out == "accepted\n"
    refused = cli("retry", blocked, "o-3", "ship#1")
    assert (refused.status, refused.err) == (
        1,
        "monolite: o-3 did not take it: ship#1 is not blocked in o-3; this is: declined#1\n",
    )

    async def go_on() -> None:
        async with Runtime(blocked, actors=[order]) as rt:
            assert await rt.handle("o-1").result() is None
            assert await rt.handle("o-2", order).result() == "cash"
            while (await rt.handle("o-3").describe()).status != "blocked":
                await anyio.sleep(0)
            await rt.handle("o-3").skip()
            await rt.handle("o-3").view(state)

    anyio.run(go_on)
    assert cli("blocked", blocked) == (0, "", "monolite: nothing is blocked\n")
