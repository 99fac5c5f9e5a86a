"""`monolite schedule`: what each action says and does, and its exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from monolite import Client, Runtime, workflow
from monolite.cli.main import main


@workflow
async def report(number: int) -> int:
    return number


class Said(NamedTuple):
    status: int
    out: str
    err: str


Ask = Callable[..., Said]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with two schedules; no engine has it open."""
    path = tmp_path / "app.db"

    async def declare() -> None:
        async with Client(path, create=True) as client:
            await client.schedule("daily", report(1), cron="@daily", tz="Europe/Paris")
            later = datetime.now(UTC) + timedelta(minutes=45)
            await client.schedule("often", report(2), every="90m", anchor=later)

    anyio.run(declare)
    return path


@pytest.fixture
def ask(path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    def ask(action: str, *words: str) -> Said:
        try:
            status = main(["schedule", action, str(path), *words])
        except SystemExit as exited:
            status = int(str(exited.code))
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return ask


def document(ask: Ask, action: str, *words: str) -> Any:
    said = ask(action, *words, "--json")
    assert (said.status, said.err) == (0, "")
    return json.loads(said.out)


def run_engine(path: Path) -> dict[str, str]:
    """Let an engine take its turns until all runs have ended; return how each did."""

    async def live() -> dict[str, str]:
        async with Runtime(path, actors=[report]) as rt:
            await rt.list(limit=1)
            for info in await rt.list():
                await rt.handle(info.id).result()
            return {info.id: info.status for info in await rt.list()}

    return anyio.run(live)


def test_ls_shows_when_each_ticks_and_how_its_last_run_went(path: Path, ask: Ask) -> None:
    lines = ask("ls").out.splitlines()
    assert lines[0].split()[:5] == ["NAME", "WORKFLOW", "WHEN", "NEXT", "LAST"]
    assert lines[1].split()[:7] == ["daily", "report", "0", "0", "*", "*", "*"]
    assert "(Europe/Paris)" in lines[1]
    assert "T00:00:00+0" in lines[1]
    assert lines[2].split()[:4] == ["often", "report", "every", "90m"]
    assert len(lines) == 3
    found = document(ask, "ls", "often")
    assert [x["name"] for x in found] == ["often"]
    assert ask("ls", "none").err == "monolite: no schedule matches\n"


def test_pause_and_resume(ask: Ask) -> None:
    assert ask("pause", "often") == Said(0, "paused\n", "")
    assert [x["paused"] for x in document(ask, "ls")] == [False, True]
    assert "paused" in ask("ls").out.splitlines()[2]
    assert document(ask, "resume", "often") == {"name": "often", "done": "resumed"}
    assert [x["paused"] for x in document(ask, "ls")] == [False, False]


def test_run_starts_one_and_prints_its_id(path: Path, ask: Ask) -> None:
    id = ask("run", "often").out.strip()
    assert id.startswith("often@now-")
    assert document(ask, "ls", "often")[0]["open"] == [id]
    assert run_engine(path) == {id: "completed"}
    info = document(ask, "ls", "often")[0]
    assert (info["last_run"], info["last_status"], info["open"]) == (id, "completed", [])
    assert f"{id}  completed" in ask("ls").out


def test_backfill_prints_the_runs_of_the_ticks(path: Path, ask: Ask) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start, end = today - timedelta(days=4), today - timedelta(days=2)
    said = ask("backfill", "daily", start.isoformat(), end.replace(tzinfo=None).isoformat())
    assert said.status == 0
    assert said.err == "monolite: 2 ticks; those that have no run get one, in this order\n"
    ids = said.out.splitlines()
    assert len(ids) == 2
    assert document(ask, "ls", "daily")[0]["backfills"] == 1
    assert run_engine(path) == dict.fromkeys(ids, "completed")


def test_add_declares_one_without_its_code(path: Path, ask: Ask) -> None:
    said = ask("add", "yearly", "report", "[3]", "--cron", "@yearly", "--tz", "Asia/Tokyo")
    assert said.out.startswith("next: 2")
    assert said.out.endswith("-01-01T00:00:00+09:00\n")
    info = document(ask, "add", "yearly", "report", "[3]", "--every", "1d", "--overlap", "allow")
    assert (info["when"], info["overlap"]) == ("every 1d", "allow")
    assert ask("run", "yearly").status == 0
    assert list(run_engine(path).values()) == ["completed"]


def test_delete_leaves_the_others(ask: Ask) -> None:
    assert ask("delete", "daily") == Said(0, "deleted\n", "")
    assert [x["name"] for x in document(ask, "ls")] == ["often"]


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (("pause",), 2, "like this: schedule pause FILE NAME"),
        (("frobnicate",), 2, "invalid choice"),
        (("backfill", "daily"), 2, "FILE NAME START END"),
        (("backfill", "daily", "2020-01-01"), 2, "FILE NAME START END"),
        (("pause", "daily", "2020-01-01", "2020-01-02"), 2, "schedule pause FILE NAME"),
        (("add", "new"), 2, "add FILE NAME WORKFLOW"),
        (("add", "new", "report"), 2, "either cron"),
        (("add", "new", "report", "{}", "--every", "1h"), 2, "must be a JSON array"),
        (("add", "new", "report", "--every", "soon"), 2, "not a duration"),
        (("backfill", "daily", "then", "now"), 2, "'then' is no time"),
        (("backfill", "daily", "2020-01-02", "2020-01-01"), 2, "interval of the past"),
        (("pause", "none"), 1, "there is no schedule 'none'"),
        (("run", "none"), 1, "there is no schedule 'none'"),
    ],
)
def test_misuse(ask: Ask, words: tuple[str, ...], status: int, complaint: str) -> None:
    said = ask(*words)
    assert (said.status, said.out) == (status, "")
    assert complaint in said.err
