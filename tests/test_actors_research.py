"""The research actor: it reads what there is, asks before it writes, and writes once."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from actors import research
from actors.research import Approval, Facts, Result, Task
from monolite import Client, Handle, Runtime
from monolite.cli.effects import effects_in
from tests.served import Served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three files worth reading, and others that are not."""
    folder = tmp_path / "folder"
    for name, text in {
        "large.py": "def one():\n    pass  # TODO: more\n\n\nasync def two():\n    return 'zwei'\n",
        "small.md": "# Title\n",
        "deep/middle.txt": "three words here\nand three more\n",
        "photo.png": "not text",
        "empty.txt": "",
        ".hidden/secret.txt": "hidden",
        "__pycache__/cached.py": "cached",
        "node_modules/module.js": "somebody else's",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "gone.txt").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.txt")
    return folder


@pytest.fixture
def task(tmp_path: Path, folder: Path) -> Task:
    return Task(
        folder=str(folder),
        report=str(tmp_path / "report.md"),
        rest_s=0.001,
        effects=str(tmp_path / "effects.jsonl"),
    )


@pytest.fixture
def office(tmp_path: Path) -> Runtime:
    return Runtime(tmp_path / "research.db", actors=[research])


def steps(task: Task) -> Counter[str]:
    """How often each step has left a line."""
    assert task.effects is not None
    return Counter(effect.operation for effect in effects_in(Path(task.effects)))


async def stage(run: Handle[Result], wanted: str) -> None:
    async for progress in run.watch(research.progress):
        if progress.stage == wanted:
            return
    raise AssertionError(f"the run ended before it was {wanted!r}")


async def test_it_reads_asks_and_writes(office: Runtime, task: Task) -> None:
    async with office as rt:
        run = await rt.spawn(research.research(task), id="r-1")
        await stage(run, "waiting for approval")
        assert not Path(task.report).exists()
        await run.signal(research.approval, Approval(ok=True, by="Ada"))
        result = await run.result()
    report = Path(task.report).read_bytes()
    assert result == Result(
        approved_by="Ada",
        files=3,
        lines=9,
        words=19,
        functions=2,
        report=task.report,
        digest=hashlib.sha256(report).hexdigest(),
    )
    assert b"| large.py | 6 | 11 | 2 | 1 |" in report
    assert steps(task) == Counter(["list_files#1", "read#1", "read#2", "read#3", "write_report#1"])
    left = sorted(path.name for path in Path(task.report).parent.iterdir())
    assert left == ["effects.jsonl", "folder", "report.md", "research.db"]


async def test_without_approval_nothing_is_written(office: Runtime, task: Task) -> None:
    async with office as rt:
        run = await rt.spawn(research.research(task))
        await run.signal(research.approval, Approval(ok=False))
        assert await run.result() == Result(None, files=3, lines=9, words=19, functions=2)
    assert not Path(task.report).exists()
    assert steps(task)["write_report#1"] == 0


async def test_only_the_largest_files_are_read(
    office: Runtime, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(research, "FILES_MAX", 2)
    async with office as rt:
        run = await rt.spawn(research.research(task))
        await run.signal(research.approval, Approval(ok=True))
        assert (await run.result()).files == 2
    report = Path(task.report).read_text(encoding="utf-8")
    assert "left out: 1." in report
    assert "small.md" not in report


async def test_an_engine_that_dies_reads_no_file_twice(tmp_path: Path, task: Task) -> None:
    file, module = tmp_path / "research.db", Path(research.__file__)
    async with Client(file, create=True) as client:
        run = await client.spawn(research.research(task), id="r-1")
        with Served(file, module) as engine:
            await stage(run, "waiting for approval")
            engine.kill()
        await run.signal(research.approval, Approval(ok=True))
        with Served(file, module) as engine:
            assert (await run.result()).files == 3
            assert engine.stop() == 0
    assert set(steps(task).values()) == {1}


class Again(NamedTuple):
    """What `attempt()` says to an attempt that is not the first."""

    idempotency_key: str
    name: str = "write_report"
    number: int = 2
    interrupted: bool = True


async def test_a_report_that_was_written_is_not_written_again(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that was cut off after it wrote runs again, under the same key."""
    facts, report = [Facts("a.py", lines=1, words=1, functions=0, todos=0)], Path(task.report)
    monkeypatch.setattr(research, "attempt", lambda: Again("run-1/write_report#1"))
    first = await research.write_report(task, 0, facts, "Ada")
    before = report.stat()
    assert await research.write_report(task, 0, facts, "Ada") == first
    assert report.stat() == before
    monkeypatch.setattr(research, "attempt", lambda: Again("run-2/write_report#1"))
    assert await research.write_report(task, 0, facts, "Ada") != first


async def test_the_parts_work_outside_of_a_runtime(task: Task) -> None:
    listing = await research.list_files(task)
    assert listing.files == ["large.py", "deep/middle.txt", "small.md"]
    facts = await research.read(task, "deep/middle.txt")
    assert facts == Facts("deep/middle.txt", lines=2, words=6, functions=0, todos=0)
