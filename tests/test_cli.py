"""The command line: what each command says, what it leaves in the file, and its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import apsw
import pytest

from monolite import Client, Runtime, Signal, View, activity, workflow
from monolite.cli import serve, words
from monolite.cli.answer import Answer
from monolite.cli.console import Console
from monolite.cli.main import COMMANDS, main
from monolite.cli.table import table
from monolite.core.failure import Failure, encode
from monolite.errors import FileForeign, MonoliteError
from tests.served import Served

PROGRAM = '''
"""Workflows for the command line to play with."""

import asyncio
from pathlib import Path

from monolite import Signal, View, activity, current, workflow

go = Signal("go", str)
mood = View("mood", str)


@workflow(version=3)
async def grown() -> int:
    return current().version


@activity(retry=False)
def fail(why: str) -> None:
    raise ValueError(why)


@activity
def linger(begun: str, end: str) -> str:
    Path(begun).write_text("")  # both are pipes: whoever opens one waits for the other side
    return Path(end).read_text()


@workflow
async def greet(name: str) -> str:
    mood.set(f"waiting for {name}")
    return f"{await go.receive()}, {name}"


@workflow
async def broken(why: str) -> None:
    await fail(why)


@workflow
async def family() -> list[str]:
    return await asyncio.gather(greet("Ada"), greet("Bob"))


@workflow
async def lingering(begun: str, end: str) -> str:
    return await linger(begun, end)
'''


class Said(NamedTuple):
    """What a command said."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """The lines of the answer, without the blanks that line them up."""
        return [" ".join(line.split()) for line in self.out.splitlines()]


Cli = Callable[..., Said]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process: quick, and nothing it does wrong gets lost."""

    def run(*argv: object) -> Said:
        try:
            status = main([str(word) for word in argv])
        except SystemExit as left:
            status = int(left.code or 0)
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return run


def process(*argv: object, **options: Any) -> subprocess.Popen[str]:
    """Run a command in a process of its own."""
    line = [sys.executable, "-W", "error", "-m", "monolite", *map(str, argv)]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


def result(file: Path, id: str) -> Any:
    """Wait for a run's end; return its result, or the exception it ended with."""

    async def wait() -> Any:
        async with Client(file) as client:
            try:
                return await client.handle(id).result()
            except MonoliteError as error:
                return error

    return anyio.run(wait)


def seen(file: Path, id: str, name: str) -> Any:
    """Wait until a run has published a view; return its value."""

    async def wait() -> Any:
        async with Client(file) as client:
            async for value in client.handle(id).watch(View(name, str)):
                return value
        return None

    return anyio.run(wait)


# The frame around the commands.


def test_help_names_every_command_and_is_quick(file: Path) -> None:
    code = (
        "import sys; from monolite.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as left: status = left.code\n"
        "heavy = {'anyio', 'apsw', 'boto3', 'sqlite3'} & set(sys.modules)\n"
        "print(status, *heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "0\n"
    assert [name for name in COMMANDS if f"\n    {name} " not in done.stdout] == []


def test_importing_monolite_is_light() -> None:
    code = "import sys, monolite; print(*({'anyio', 'apsw', 'argparse'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(cli: Cli, name: str) -> None:
    said = cli(name, "--help")
    assert said.status == 0
    assert COMMANDS[name].capitalize() in " ".join(said.out.split())


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("nonsense",),
        ("ls",),
        ("--json", "ls"),
        ("show", "f"),
        ("ls", "f", "--limit", 0),
        ("serve", "f", "m", "--grace", "soon"),
    ],
)
def test_misuse_is_status_2_and_says_how_to_use_it(cli: Cli, argv: tuple[object, ...]) -> None:
    said = cli(*argv)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("usage: monolite")


def test_the_version_is_told(cli: Cli) -> None:
    assert cli("--version").out.startswith("monolite 0.")


@pytest.mark.parametrize(
    "argv",
    [
        ("ls",),
        ("doctor",),
        ("show", "an-id"),
        ("cancel", "an-id"),
        ("signal", "an-id", "go"),
        ("spawn", "greet"),
    ],
)
def test_a_file_that_is_not_there_is_misuse_and_is_not_made(
    cli: Cli, file: Path, argv: tuple[str, ...]
) -> None:
    command, *rest = argv
    said = cli(command, file, *rest)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"monolite: {file} does not exist; ")
    assert said.err.count("\n") == 1
    assert list(file.parent.iterdir()) == []


def test_a_file_of_another_program_is_misuse(cli: Cli, file: Path) -> None:
    file.write_text("not a database\n" * 100)
    for argv in (("ls", file), ("spawn", file, "greet"), ("cancel", file, "an-id")):
        said = cli(*argv)
        assert (said.status, said.out) == (2, "")
        assert (
            said.err == f"monolite: {file} is not a SQLite file; give monolite a path of its own\n"
        )


def test_a_reader_that_leaves_early_is_no_error(cli: Cli, file: Path) -> None:
    for number in range(3):
        cli("spawn", file, "greet", "--create", "--id", f"g-{number}")
    reading = process("ls", file)
    assert reading.stdout is not None
    assert reading.stderr is not None
    reading.stdout.close()
    with reading:
        assert (reading.stderr.read(), reading.wait()) == ("", 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_an_answer_that_cannot_be_written_is_a_failure(cli: Cli, file: Path) -> None:
    cli("spawn", file, "greet", "--create")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "monolite", "ls", file],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "monolite: [Errno 28] No space left on device\n"


def test_a_terminal_without_unicode_gets_escapes(cli: Cli, file: Path) -> None:
    cli("spawn", file, "greet", '["Zoë"]', "--create", "--id", "g")
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with process("show", file, "g", env=env) as showing:
        out, err = showing.communicate()
    assert (showing.returncode, err) == (0, "")
    assert '["Zo\\xeb"]' in out


def test_what_a_terminal_would_obey_is_shown_and_not_done(cli: Cli, file: Path) -> None:
    cli(
        "spawn", file, "gr\x1b[2Jeet", '["\u202e", "\x9b1m"]'.replace("\x9b", "\\u009b"), "--create"
    )
    (run,) = cli("ls", file, "--json").document
    shown = cli("ls", file).out + cli("show", file, run["id"]).out
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert "gr\\x1b[2Jeet" in shown


def test_an_interrupted_command_leaves_no_traceback(
    cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_path: Path, _question: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("monolite.cli.ls.inspect", interrupted)
    assert cli("ls", file) == Said(130, "", "")


def test_a_failure_inside_a_group_is_told_as_itself(
    cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_path: Path, _question: object) -> None:
        raise ExceptionGroup("tasks", [ExceptionGroup("more", [FileForeign("that\n file")])])

    monkeypatch.setattr("monolite.cli.ls.inspect", fails)
    assert cli("ls", file) == Said(2, "", "monolite: that file\n")


def test_a_defect_of_ours_is_not_hidden(
    cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defective(_path: Path, _question: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("monolite.cli.ls.inspect", defective)
    with pytest.raises(ZeroDivisionError):
        cli("ls", file)


# spawn, signal, cancel.


def test_spawn_queues_a_run_without_its_code_and_prints_its_id(cli: Cli, file: Path) -> None:
    said = cli("spawn", file, "greet", '["Ada"]', "--create", "--id", "g-1")
    assert (said.status, said.out) == (0, "g-1\n")
    assert said.err == (
        f"monolite: no engine has the file open; run it with: monolite serve {file} MODULE\n"
    )
    (run,) = cli("ls", file, "--json").document
    assert (run["id"], run["name"], run["status"]) == ("g-1", "greet", "queued")
    assert run["waiting_on"] == "an engine to start it"


def test_spawn_makes_an_id_if_it_is_given_none(cli: Cli, file: Path) -> None:
    ids = {cli("spawn", file, "greet", "--create").out for _ in range(3)}
    assert len(ids) == 3


def test_arguments_may_stand_behind_options(cli: Cli, file: Path) -> None:
    said = cli("spawn", file, "--id", "g-1", "greet", "--create", '["Ada"]', "--json")
    assert (said.document["id"], said.document["status"]) == ("g-1", "queued")
    assert cli("show", file, "g-1", "--json").document["input"] == ["Ada"]


def test_spawn_of_an_id_that_exists_joins_refuses_or_starts_anew(cli: Cli, file: Path) -> None:
    cli("spawn", file, "greet", '["Ada"]', "--create", "--id", "g-1")
    assert cli("spawn", file, "greet", '["Bob"]', "--id", "g-1").status == 0
    assert cli("show", file, "g-1", "--json").document["input"] == ["Ada"]

    said = cli("spawn", file, "greet", '["Bob"]', "--id", "g-1", "--id-conflict", "reject")
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("monolite: a run with id 'g-1' exists (queued)")

    cli("spawn", file, "greet", '["Bob"]', "--id", "g-1", "--id-conflict", "restart")
    shown = cli("show", file, "g-1", "--json").document
    assert (shown["input"], shown["generation"]) == (["Bob"], 2)


@pytest.mark.parametrize("args", ["Ada", "[1", '{"a": 1}', "3", "[1e999]", "[NaN]", '"\\ud800"'])
def test_arguments_that_are_not_a_json_array_are_misuse(cli: Cli, file: Path, args: str) -> None:
    said = cli("spawn", file, "greet", args, "--create")
    assert (said.status, said.out, file.exists()) == (2, "", False)
    assert said.err.startswith("monolite: ARGS_JSON")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("id", ["", "a\nb", "x" * 513])
def test_an_id_that_no_run_can_have_is_misuse(cli: Cli, file: Path, id: str) -> None:
    said = cli("spawn", file, "greet", "--create", "--id", id)
    assert (said.status, said.out, file.exists()) == (2, "", False)


def test_a_signal_is_stored_once_and_waits_for_its_run(cli: Cli, file: Path, program: Path) -> None:
    cli("spawn", file, "greet", '["Ada"]', "--create", "--id", "g-1")
    assert cli("signal", file, "g-1", "go", '"Hello"', "--id", "m-1").out == "accepted\n"
    again = cli("signal", file, "g-1", "go", '"Hello"', "--id", "m-1")
    assert (again.status, again.out) == (0, "accepted (duplicate)\n")
    assert "signal waiting  go" in cli("show", file, "g-1").out
    with Served(file, program):
        assert result(file, "g-1") == "Hello, Ada"
    late = cli("signal", file, "g-1", "go", '"Goodbye"', "--json")
    assert late.status == 1
    assert late.document == {"accepted": False, "reason": "the run has completed"}
    assert late.err == "monolite: g-1 did not take it: the run has completed\n"


def test_a_run_spawned_by_name_has_the_version_of_the_code_it_begins_with(
    cli: Cli, file: Path, program: Path
) -> None:
    cli("spawn", file, "grown", "--create", "--id", "v-1")
    with Served(file, program):
        assert result(file, "v-1") == 3
    assert cli("show", file, "v-1", "--json").document["version"] == 3


def test_a_signal_that_is_not_json_is_misuse(cli: Cli, file: Path) -> None:
    cli("spawn", file, "greet", '["Ada"]', "--create", "--id", "g-1")
    said = cli("signal", file, "g-1", "go", "Hello")
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("monolite: VALUE_JSON: is not JSON")
    assert len(cli("show", file, "g-1", "--json").document["history"]) == 1


@pytest.mark.parametrize("argv", [("show",), ("cancel",), ("signal", "go")])
def test_an_unknown_id_is_a_failure(cli: Cli, file: Path, argv: tuple[str, ...]) -> None:
    cli("spawn", file, "greet", "--create")
    command, *rest = argv
    said = cli(command, file, "nobody", *rest)
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("monolite: no run has the id 'nobody'")


def test_cancel_stops_a_run_and_says_why(cli: Cli, file: Path, program: Path) -> None:
    cli("spawn", file, "greet", '["Ada"]', "--create", "--id", "g-1")
    with Served(file, program):
        seen(file, "g-1", "mood")
        assert cli("cancel", file, "g-1", "--reason", "she left").out == "accepted\n"
        assert "she left" in str(result(file, "g-1"))
        assert cli("cancel", file, "g-1").status == 1
    shown = cli("show", file, "g-1").lines
    assert "status cancelled" in shown
    assert any(line.endswith('s cancel "she left"') for line in shown)


# ls, show, doctor.


def test_ls_shows_a_line_for_each_run_newest_first(cli: Cli, file: Path) -> None:
    cli("spawn", file, "greet", '["Ada"]', "--create", "--id", "g-1")
    cli("spawn", file, "family", "--id", "f-1")
    head, *lines = cli("ls", file).out.splitlines()
    assert head.split("  ")[0] == "ID"
    assert [line.split()[:3] for line in lines] == [
        ["f-1", "family", "queued"],
        ["g-1", "greet", "queued"],
    ]
    assert all(line.endswith("an engine to start it") for line in lines)


def test_ls_selects_by_name_status_and_number(cli: Cli, file: Path) -> None:
    for id in ("g-1", "g-2", "g-3"):
        cli("spawn", file, "greet", "--create", "--id", id)
    cli("spawn", file, "family", "--id", "f-1")

    def listed(*options: object) -> list[str]:
        return [run["id"] for run in cli("ls", file, "--json", *options).document]

    assert listed("--name", "greet") == ["g-3", "g-2", "g-1"]
    assert listed("--status", "queued", "--name", "family") == ["f-1"]
    assert listed("--status", "failed") == []
    assert listed("--limit", 2) == ["f-1", "g-3"]
    assert (
        cli("ls", file, "--limit", 2).err
        == "monolite: there are more than 2; see them with --limit\n"
    )
    assert cli("ls", file, "--status", "failed").err == "monolite: no run matches\n"
    assert cli("ls", file).err == ""


def test_show_tells_what_a_run_did(cli: Cli, file: Path, program: Path) -> None:
    cli("spawn", file, "family", "--create", "--id", "f-1")
    with Served(file, program):
        for child in ("f-1/greet#1", "f-1/greet#2"):
            while cli("signal", file, child, "go", '"Hello"').status:
                """The child has not been spawned yet."""
        assert result(file, "f-1") == ["Hello, Ada", "Hello, Bob"]
    shown = cli("show", file, "f-1").lines
    assert shown[0] == "f-1 (family)"
    assert "child f-1/greet#1 (completed)" in shown
    assert 'result ["Hello, Ada","Hello, Bob"]' in shown
    assert any(line.endswith('s child greet#1("Ada") -> "Hello, Ada"') for line in shown)
    shown = cli("show", file, "f-1/greet#1").lines
    assert "parent f-1" in shown
    assert 'view mood "waiting for Ada"' in shown
    assert any(line.endswith('s signal go "Hello"') for line in shown)


def test_show_tells_failures_in_a_line_and_in_full(cli: Cli, file: Path, program: Path) -> None:
    cli("spawn", file, "broken", json.dumps(["x" * 500]), "--create", "--id", "b-1")
    with Served(file, program):
        result(file, "b-1")
    short, full = cli("show", file, "b-1"), cli("show", file, "b-1", "--full")
    assert (short.status, short.err) == (0, "monolite: see the tracebacks with --full\n")
    assert "Traceback" not in short.out
    assert "raise ValueError(why)" not in short.out
    assert 'fail#1("xxxxxxxxxx' in short.out
    assert "x" * 100 not in short.out.split("\n\n")[1]
    assert full.err == ""
    assert "failure of fail#1\n  ActivityFailed: " in full.out
    assert "  caused by\n    ValueError: xxx" in full.out
    assert "raise ValueError(why)" in full.out
    assert "x" * 500 in full.out
    document = cli("show", file, "b-1", "--json").document
    assert document["status"] == "failed"
    assert [failed["at"] for failed in document["failures"]] == ["fail#1", "broken"]
    assert "raise ValueError" in document["failures"][0]["cause"]["traceback"]


def test_doctor_is_content_with_a_sound_file(cli: Cli, file: Path) -> None:
    cli("spawn", file, "greet", "--create", "--id", "g-1")
    said = cli("doctor", file)
    assert (said.status, said.err) == (0, "")
    assert "check ok" in said.lines
    assert "runs 1 queued" in said.lines
    assert "oldest open g-1, 0s: an engine to start it" in said.lines
    assert said.lines[-1].endswith(f"monolite serve {file} MODULE")
    document = cli("doctor", file, "--json").document
    assert document["problems"] == []
    assert document["counts"] == {"queued": 1}
    assert document["engine"] is None


def test_doctor_and_ls_see_the_engine(cli: Cli, file: Path, program: Path) -> None:
    with Served(file, program) as engine:
        assert cli("doctor", file, "--json").document["engine"].startswith(f"process {engine.pid} ")
        said = cli("spawn", file, "greet", '["Ada"]', "--id", "g-1")
        assert said == Said(0, "g-1\n", "")
        seen(file, "g-1", "mood")
        engine.kill()
    assert cli("doctor", file, "--json").document["engine"] is None
    assert "an engine to go on with it" in cli("ls", file).out


def test_doctor_names_runs_without_code(cli: Cli, file: Path, program: Path) -> None:
    cli("spawn", file, "nobody_wrote_it", "--create", "--id", "n-1")
    cli("spawn", file, "greet", '["Ada"]', "--id", "g-1")
    with Served(file, program):
        seen(file, "g-1", "mood")
    said = cli("doctor", file)
    assert said.status == 1
    assert said.err == "monolite: runs that need help: 1 without code\n"
    assert "n-1 (nobody_wrote_it), without code: no code for 'nobody_wrote_it'" in said.out
    assert "serve the modules" in said.out
    (run,) = cli("ls", file, "--status", "waiting", "--json", "--name", "nobody_wrote_it").document
    assert run["waiting_on"] == "no code for 'nobody_wrote_it'"


async def test_doctor_names_runs_whose_code_has_changed(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    go = Signal("go", str)

    @activity
    async def old() -> int:
        return 1

    @activity
    async def new() -> int:
        return 2

    @workflow(name="changed")
    async def before() -> None:
        await old()
        await go.receive()

    @workflow(name="changed")
    async def after() -> None:
        await new()

    async with Runtime(file, actors=[before]) as rt:
        run = await rt.spawn(before(), id="c-1")
        while not any(line.key == "old#1" for line in await run.history()):
            """The activity has not finished yet."""
    async with Runtime(file, actors=[after]) as rt:
        await rt.handle("c-1").signal(go, "on")  # a run at rest is not read before it is needed
        while (await rt.handle("c-1").describe()).status != "diverged":
            """The engine has not come to it yet."""
    assert await anyio.to_thread.run_sync(main, ["doctor", str(file), "--json"]) == 1
    (stuck,) = json.loads(capsys.readouterr().out)["stuck"]
    assert (stuck["id"], stuck["trouble"]) == ("c-1", "diverged")
    assert "old#1" in stuck["reason"]


def test_doctor_finds_damage(cli: Cli, file: Path) -> None:
    cli("spawn", file, "greet", "--create")
    content = bytearray(file.read_bytes())
    content[36:40] = (7).to_bytes(4, "big")
    file.write_bytes(content)
    said = cli("doctor", file)
    assert (said.status, said.err) == (1, "monolite: the file is damaged\n")
    assert "restore the file from a backup" in said.out


def test_a_file_that_is_too_damaged_to_read_is_a_failure(cli: Cli, file: Path) -> None:
    cli("spawn", file, "greet", "--create")
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    said = cli("doctor", file)
    assert (said.status, said.out) == (1, "")
    assert "restore it from a backup" in said.err


def test_reading_changes_nothing(cli: Cli, file: Path) -> None:
    cli("spawn", file, "greet", '["Ada"]', "--create", "--id", "g-1")
    before = file.read_bytes()
    for argv in (("ls", file), ("show", file, "g-1", "--full"), ("doctor", file)):
        assert cli(*argv).status == 0
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_failure_that_cannot_be_read_is_shown_as_it_is(cli: Cli, file: Path) -> None:
    cli("spawn", file, "greet", "--create", "--id", "g-1")
    con = apsw.Connection(str(file))
    con.execute(
        "INSERT INTO monolite_attempts VALUES (3, 'a#1', 1, 'failed', 0, 0, 'scribble', NULL)"
    )
    con.execute(
        "INSERT INTO monolite_attempts VALUES (3, 'a#1', 2, 'failed', 0, 0, ?, NULL)",
        (encode(Failure("Oops", "m", "it broke")),),
    )
    con.execute("UPDATE monolite_attempts SET run_no = (SELECT no FROM monolite_runs)")
    con.close()
    shown = cli("show", file, "g-1", "--full").out
    assert "failure of a#1, attempt 1\n  Unreadable: scribble" in shown
    assert "failure of a#1, attempt 2\n  Oops: it broke" in shown


# serve.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_lets_running_activities_finish(
    cli: Cli, file: Path, program: Path, number: signal.Signals
) -> None:
    begun, end = file.with_name("begun"), file.with_name("end")
    for pipe in (begun, end):
        os.mkfifo(pipe)
    cli("spawn", file, "lingering", json.dumps([str(begun), str(end)]), "--create", "--id", "l-1")
    with Served(file, program) as engine:
        begun.read_text()
        engine.send(number)
        engine.hear(f"{number.name}: stopping")
        end.write_text("in time")
        assert engine.ended() == 0
        assert "closed" in engine.log[-1]
    assert 'result "in time"' in cli("show", file, "l-1").lines
    assert sorted(p.name for p in file.parent.iterdir()) == ["app.db", "begun", "end", "program.py"]


def test_serve_lets_python_look_for_cycles_less_often(cli: Cli, file: Path) -> None:
    program = file.with_name("collecting.py")
    program.write_text(
        "import gc\n"
        "from monolite import activity, workflow\n\n\n"
        "@activity\nasync def settings() -> list[int]:\n"
        "    return [gc.get_threshold()[0], gc.get_freeze_count()]\n\n\n"
        "@workflow\nasync def collecting() -> list[int]:\n    return await settings()\n"
    )
    cli("spawn", file, "collecting", "[]", "--create", "--id", "c")

    async def result() -> list[int]:
        async with Client(file) as client:
            found: list[int] = await client.handle("c").result()
            return found

    with Served(file, program):
        threshold, frozen = anyio.run(result)
    assert threshold == serve.GC_THRESHOLDS[0]
    assert frozen > 0


def test_serve_ends_at_once_when_asked_twice(cli: Cli, file: Path, program: Path) -> None:
    begun, end = file.with_name("begun"), file.with_name("end")
    for pipe in (begun, end):
        os.mkfifo(pipe)
    cli("spawn", file, "lingering", json.dumps([str(begun), str(end)]), "--create", "--id", "l-1")
    with Served(file, program) as engine:
        begun.read_text()
        engine.send(signal.SIGINT)
        engine.hear("stopping")
        assert engine.stop(signal.SIGINT) == -signal.SIGINT
        assert engine.log[-1] == ""
    assert cli("doctor", file).status == 0


def test_serve_ends_even_if_an_activity_does_not(cli: Cli, file: Path, program: Path) -> None:
    begun, end = file.with_name("begun"), file.with_name("end")
    for pipe in (begun, end):
        os.mkfifo(pipe)
    cli("spawn", file, "lingering", json.dumps([str(begun), str(end)]), "--create", "--id", "l-1")
    with Served(file, program, "--grace", "0s") as engine:
        begun.read_text()
        assert engine.stop() == 0
        assert "it is left behind" in engine.log[-1]
    with Served(file, program) as engine:
        begun.read_text()
        end.write_text("again")
        assert result(file, "l-1") == "again"


def test_serve_takes_modules_by_name_from_the_working_directory(
    cli: Cli, file: Path, program: Path
) -> None:
    cli("spawn", file, "greet", '["Ada"]', "--create", "--id", "g-1")
    with Served(file, "program", "--durability", "normal") as engine:
        assert "broken, family, greet, grown, lingering, 1 open run" in engine.log[-1]
        assert seen(file, "g-1", "mood") == "waiting for Ada"
        assert engine.stop() == 0


def test_a_file_has_one_engine_unless_another_takes_over(
    cli: Cli, file: Path, program: Path
) -> None:
    with Served(file, program) as first:
        said = cli("serve", file, program)
        assert (said.status, said.out) == (1, "")
        assert f"is owned by process {first.pid}" in said.err
        first.send(signal.SIGSTOP)
        with Served(file, program, "--takeover") as second:
            cli("spawn", file, "greet", '["Ada"]', "--id", "g-1")
            assert seen(file, "g-1", "mood") == "waiting for Ada"
            first.send(signal.SIGCONT)
            assert first.ended() == 1
            assert "taken over" in first.log[-1].splitlines()[-1]
            assert "Traceback" not in first.log[-1]
            assert second.stop() == 0


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("no_such_module", (2, "there is no module 'no_such_module'")),
        ("no/such/file.py", (2, "is not a file")),
        ("json.py", (2, "a module of this name is loaded")),
        ("empty.py", (2, "holds no @workflow")),
        ("lost.py", (1, "ModuleNotFoundError: No module named 'no_such_module'")),
        ("lost", (1, "ModuleNotFoundError: No module named 'no_such_module'")),
        ("raising.py", (1, "ZeroDivisionError: division by zero (")),
        ("leaving", (1, "SystemExit: 3 (")),
        ("unfinished.py", (1, "SyntaxError")),
    ],
)
def test_a_module_that_does_not_serve_is_named(
    cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch, module: str, told: tuple[int, str]
) -> None:
    monkeypatch.chdir(file.parent)
    status, words = told
    for name, text in {
        "json.py": "",
        "empty.py": "",
        "lost.py": "import no_such_module",
        "raising.py": "1 / 0",
        "leaving.py": "raise SystemExit(3)",
        "unfinished.py": "def",
    }.items():
        Path(name).write_text(text)
    modules, path = dict(sys.modules), list(sys.path)
    try:
        said = cli("serve", file, module)
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - set(modules):
            del sys.modules[name]
    assert (said.status, said.out, file.exists()) == (status, "", False)
    assert words in said.err
    assert said.err.startswith("monolite: ")
    assert said.err.count("\n") == 1


def test_serve_needs_a_file(cli: Cli, program: Path) -> None:
    assert cli("serve", ":memory:", program).status == 2


# The words and the table.


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.9, "59s"), (60, "1m"), (7200, "2h"), (3_600_000, "41d")]
)
def test_ages(seconds: float, text: str) -> None:
    assert words.age(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_572_864, "1.5 MiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert words.size(count) == text


def test_clipping() -> None:
    assert words.clip("abcdef", 6) == "abcdef"
    assert words.clip("abcdefg", 6) == "abc..."
    assert words.clip("abcdefg", None) == "abcdefg"
    assert words.call(["a", 1]) == '("a",1)'
    assert words.call({"args": [], "kwargs": {"b": 2}}) == '({"args":[],"kwargs":{"b":2}})'
    assert words.count(1, "run") == "1 run"
    assert words.count(2000, "run") == "2,000 runs"
    assert words.plain_lines("a\tb\n\x1b[0mc") == ["a   b", "\\x1b[0mc"]


def test_columns_line_up() -> None:
    assert table([("A", "BB", "C"), ("AAA", "B", "")], indent=" ") == " A    BB  C\n AAA  B"


def test_an_answer_without_text_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert Console(sys.stdout, sys.stderr).publish(Answer(), as_json=False) == 0
    assert capsys.readouterr() == ("", "")
