"""The demo: it kills a real process, and what it proves would be found out if it were not so."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from monolite.cli.display import BOLD, Display
from monolite.cli.effects import Effect, effects_in
from monolite.cli.engine_process import EngineProcess
from monolite.cli.experiment import Experiment, doubts_of
from monolite.cli.loading import load_research
from monolite.cli.proof import AFTER, CUT_OFF, REPLAYED, Proof, prove
from monolite.cli.stage import Stage
from monolite.core.entry import RunNo
from monolite.errors import MonoliteError
from monolite.store.sqlite.inspector import Inspector, inspect
from tests.served import Served

FILES = 24


class Demo(NamedTuple):
    """A demo that has ended."""

    folder: Path
    status: int
    out: str
    err: str


def demo(folder: Path, *words: object, check: bool = True) -> Demo:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "monolite", "demo", *map(str, words)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    return Demo(folder, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """One demo for all who look at it: it takes two or three seconds."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "texts").mkdir()
    for number in range(FILES):
        (folder / "texts" / f"{number}.txt").write_text(f"text number {number}\n" * 10)
    (folder / "demo").mkdir()
    (folder / "demo" / "mine.txt").write_text("not the demo's")
    (folder / "demo" / "monolite.db-wal").write_text("left by a demo whose database is gone")
    (folder / "demo" / "monolite-effects.jsonl").write_text("left by an earlier demo")
    return demo(folder, "texts")


def test_it_works_and_says_how_to_look_at_the_file(done: Demo) -> None:
    assert (done.status, done.err) == (0, "")
    assert "kill -9" in done.out
    assert re.search(r"list_files +1 +done +replayed from the journal +1x", done.out)
    assert "monolite show demo/monolite.db research-1" in done.out
    assert "\x1b" not in done.out


def test_what_it_says_is_what_the_file_and_the_effects_say(done: Demo) -> None:
    stage = done.folder / "demo"
    effects = effects_in(stage / "monolite-effects.jsonl")
    killed, resumed = dict.fromkeys(effect.pid for effect in effects)
    assert f"PROCESS {killed} (KILLED)" in done.out
    times = Counter(effect.operation for effect in effects)
    again = {effect.operation for effect in effects if effect.interrupted}
    assert {name for name, n in times.items() if n == 2} <= again
    assert set(times) == {
        "list_files#1",
        "write_report#1",
        *(f"read#{n + 1}" for n in range(FILES)),
    }

    def question(inspector: Inspector) -> list[str]:
        run = inspector.run_by_id("research-1")
        assert run is not None
        assert run.status == "completed"
        return [entry.key for entry in inspector.entries(RunNo(run.no)) if entry.kind == "activity"]

    journal = inspect(stage / "monolite.db", question)
    assert sorted(journal) == sorted(times)
    assert resumed != killed


def test_it_leaves_a_closed_file_and_what_is_not_its_own(done: Demo) -> None:
    assert sorted(path.name for path in (done.folder / "demo").iterdir()) == [
        "mine.txt",
        "monolite-effects.jsonl",
        "monolite-engine-1.log",
        "monolite-engine-2.log",
        "monolite-report.md",
        "monolite.db",
    ]
    second = (done.folder / "demo" / "monolite-engine-2.log").read_text()
    assert second.splitlines()[-1].endswith("closed demo/monolite.db")


@pytest.mark.slow
def test_it_answers_programs_too(done: Demo) -> None:
    again = demo(done.folder, "texts", "--json")
    assert again.status == 0
    found: dict[str, Any] = json.loads(again.out)
    assert found["problems"] == []
    assert {step["fate"] for step in found["steps"]} >= {REPLAYED, AFTER}
    assert found["result"]["files"] == FILES
    assert "kill -9" in again.err


@pytest.mark.slow
def test_it_reads_the_library_itself_if_it_is_told_nothing(tmp_path: Path) -> None:
    assert demo(tmp_path).status == 0


@pytest.mark.slow
def test_nobody_has_to_watch(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("one file is enough")
    watching = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "monolite", "demo", "."],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert watching.stdout is not None
    assert watching.stderr is not None
    watching.stdout.close()
    with watching:
        assert (watching.stderr.read(), watching.wait()) == (b"", 0)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_its_engine_does_not_outlive_it(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "text.txt").write_text("one file is enough")
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "monolite", "demo", "."],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        started = process.stdout.readline()
        process.send_signal(number)
        assert (process.wait(), process.stderr.read()) == (128 + number, "")
    found = re.search(r"process (\d+): starts", started)
    assert found is not None
    with pytest.raises(ProcessLookupError):
        os.kill(int(found[1]), 0)


# What it refuses.


def test_it_needs_a_folder_with_text_in_it(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    for folder, words in (("none", "holds no text files"), ("nowhere", "is not a folder")):
        refused = demo(tmp_path, folder)
        assert (refused.status, refused.out) == (2, "")
        assert words in refused.err
    assert not (tmp_path / "demo").exists()


def test_it_leaves_the_files_of_others_alone(tmp_path: Path) -> None:
    database = tmp_path / "demo" / "monolite.db"
    database.parent.mkdir()
    database.write_text("somebody's notes\n" * 100)
    refused = demo(tmp_path)
    assert (refused.status, refused.out) == (2, "")
    assert "is not a SQLite file" in refused.err
    assert database.read_text() == "somebody's notes\n" * 100


def test_it_does_not_pull_the_file_from_under_an_engine(tmp_path: Path) -> None:
    database, module = tmp_path / "demo" / "monolite.db", tmp_path / "program.py"
    database.parent.mkdir()
    module.write_text(
        "from monolite import workflow\n\n@workflow\nasync def rest() -> None:\n    ...\n"
    )
    with Served(database, module) as engine:
        refused = demo(tmp_path)
        assert (refused.status, refused.out) == (1, "")
        assert f"is owned by process {engine.pid}" in refused.err
        assert engine.stop() == 0


def test_an_engine_that_ends_by_itself_is_noticed_with_its_last_words(tmp_path: Path) -> None:
    engine = EngineProcess(tmp_path / "app.db", "no_such_module", tmp_path / "engine.log")
    assert engine.wait() == 2
    with pytest.raises(MonoliteError, match="there is no module 'no_such_module'"):
        engine.check()
    assert engine.stop() == 2


async def test_a_run_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monolite.cli.experiment.LIMIT_S", 0.0)
    (tmp_path / "text.txt").write_text("text")
    stage = Stage(tmp_path / "demo")
    stage.clear()
    display = Display(io.StringIO(), color=False)
    with pytest.raises(MonoliteError, match="may say why"):
        await Experiment(load_research(), tmp_path, stage, display).run()


# The display.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_drawn_over_in_colour() -> None:
    out = Terminal()
    display = Display(out, color=True)
    display.bar("files", 0, 0)
    display.line("begins", BOLD)
    display.bar("files", 1, 2)
    display.bar("files", 1, 2)
    display.line("ends")
    assert out.getvalue() == (
        "\x1b[1mbegins\x1b[0m\n\r\x1b[2K  [###############...............] 1/2 files\r\x1b[2Kends\n"
    )


def test_colour_can_be_declined() -> None:
    out = Terminal()
    Display(out, color=False).line("begins", BOLD)
    assert out.getvalue() == "begins\n"


def test_what_is_no_terminal_gets_plain_lines() -> None:
    out = io.StringIO()
    display = Display(out, color=True)
    display.bar("files", 1, 2)
    display.line("ends", BOLD)
    assert out.getvalue() == "ends\n"


# The proof itself.


def effect(step: str, pid: int, attempt: int = 1, *, key: str = "run") -> Effect:
    name = step.partition("#")[0]
    return Effect(f"{key}/{step}", name, attempt, interrupted=attempt > 1, pid=pid)


def proof_of(*effects: Effect) -> Proof:
    """Judge a run of three steps: `a` was journaled at the kill, `b` in flight, `c` to come."""
    return prove(["a#1", "b#1", "c#1"], {"a#1"}, effects, killed=1, resumed=2)


GOOD = (effect("a#1", 1), effect("b#1", 1), effect("b#1", 2, attempt=2), effect("c#1", 2))


def test_a_run_as_it_should_be_has_no_doubts() -> None:
    proof = proof_of(*GOOD)
    assert [step.fate for step in proof.steps] == [REPLAYED, CUT_OFF, AFTER]
    assert proof.broken() == []
    assert doubts_of(proof) == []
    assert [row[-1] for row in proof.rows()] == ["1x", "2x", "1x"]


@pytest.mark.parametrize(
    ("broken", "effects"),
    [
        ("a#1", [*GOOD, effect("a#1", 2)]),
        ("a#1", [*GOOD[1:], effect("a#1", 2)]),
        ("a#1", GOOD[1:]),
        ("b#1", [*GOOD, effect("b#1", 2, attempt=3)]),
        ("b#1", [*GOOD[:2], effect("b#1", 2), GOOD[3]]),
        ("b#1", [*GOOD[:2], effect("b#1", 2, attempt=2, key="other"), GOOD[3]]),
        ("b#1", [*GOOD[:2], GOOD[3]]),
        ("c#1", [*GOOD, effect("c#1", 2, attempt=2)]),
        ("c#1", GOOD[:3]),
        ("d#1", [*GOOD, effect("d#1", 3)]),
    ],
)
def test_a_broken_promise_is_found(broken: str, effects: list[Effect]) -> None:
    proof = proof_of(*effects)
    assert [step.operation for step in proof.broken()] == [broken]
    assert broken in doubts_of(proof)[0]


def test_a_kill_that_came_too_late_proves_nothing() -> None:
    late = prove(["a#1"], {"a#1"}, [effect("a#1", 1)], killed=1, resumed=2)
    assert doubts_of(late) == ["the kill did not come in the middle of the run"]
