"""An agent at work: it reads a folder, thinks about each file, asks a human, and writes a report.

In one terminal, the engine:

    monolite serve research.db actors/research.py

In another, a run of it, and the answer that it waits for:

    monolite spawn research.db research '[{"folder": "docs", "report": "report.md"}]' --id docs-1
    monolite show research.db docs-1
    monolite signal research.db docs-1 approval '{"ok": true, "by": "Ada"}'

Kill the engine at any moment and start it again: what was read stays read, and the run goes on.
`monolite demo` does exactly that.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from monolite import Signal, View, activity, attempt, workflow

READERS = 4
"""Files read at the same time."""

FILES_MAX = 100
"""The largest files of the folder are read; the others are only counted."""

FILE_BYTES_MAX = 1_000_000

SUFFIXES = (
    *(".c", ".cc", ".cpp", ".cs", ".go", ".h", ".java", ".js", ".jsx", ".kt", ".php", ".py"),
    *(".pyi", ".rb", ".rs", ".sh", ".sql", ".swift", ".ts", ".tsx"),
    *(".cfg", ".css", ".html", ".ini", ".json", ".md", ".rst", ".toml", ".txt", ".yaml", ".yml"),
)

FUNCTION = re.compile(r"(?m)^\s*(?:(?:pub|export|async|static) )*(?:def|fn|func|function)\s")
TODO = re.compile(r"\b(?:TODO|FIXME)\b")


@dataclass(frozen=True)
class Task:
    """What to read and where to write.

    `think_s` is how long each file takes at least, as a question to a language model would.
    Every attempt at an activity leaves a line in the file `effects`, for those who count.
    """

    folder: str
    report: str
    think_s: float = 0.0
    rest_s: float = 0.1
    effects: str | None = None


@dataclass(frozen=True)
class Listing:
    """The files to read, by their path in the folder, and how many there are beside them."""

    files: list[str]
    left_out: int


@dataclass(frozen=True)
class Facts:
    """What is worth knowing of one file."""

    file: str
    lines: int
    words: int
    functions: int
    todos: int


@dataclass(frozen=True)
class Progress:
    """How far the run is: "listing", "reading", "waiting for approval", "writing" or "done"."""

    stage: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class Approval:
    """A human's word."""

    ok: bool
    by: str = ""


@dataclass(frozen=True)
class Result:
    """What came of it; `report` and its `digest` (SHA-256) only if it was approved."""

    approved_by: str | None
    files: int
    lines: int
    words: int
    functions: int
    report: str | None = None
    digest: str | None = None


approval = Signal("approval", Approval)
progress = View("progress", Progress)


@workflow
async def research(task: Task) -> Result:
    """Read the folder, ask for approval, write the report."""
    progress.set(Progress("listing"))
    listing = await list_files(task)
    facts = await read_all(task, listing.files)

    progress.set(Progress("waiting for approval", len(facts), len(facts)))
    answer = await approval.receive()
    if not answer.ok:
        return result_of(facts, None)

    await asyncio.sleep(task.rest_s)  # a durable timer: minutes or months would do as well
    progress.set(Progress("writing", len(facts), len(facts)))
    result = await write_report(task, listing.left_out, facts, answer.by)
    progress.set(Progress("done", len(facts), len(facts)))
    return result


async def read_all(task: Task, files: list[str]) -> list[Facts]:
    """Read the files side by side, but no more than READERS at once: plain asyncio."""
    desks = asyncio.Semaphore(READERS)
    done = 0

    async def read_one(file: str) -> Facts:
        nonlocal done
        async with desks:
            facts = await read(task, file)
        done += 1
        progress.set(Progress("reading", done, len(files)))
        return facts

    progress.set(Progress("reading", 0, len(files)))
    return await asyncio.gather(*(read_one(file) for file in files))


@activity
def list_files(task: Task) -> Listing:
    """Find the folder's text files, the largest first."""
    leave_a_line(task)
    found = sorted(text_files(Path(task.folder)), key=lambda file: (-file[0], file[1]))
    return Listing([name for _, name in found[:FILES_MAX]], max(0, len(found) - FILES_MAX))


@activity
def read(task: Task, file: str) -> Facts:
    """Read one file, and think about it."""
    leave_a_line(task)
    text = Path(task.folder, file).read_text(encoding="utf-8", errors="replace")
    time.sleep(task.think_s)
    return Facts(
        file=file,
        lines=len(text.splitlines()),
        words=len(text.split()),
        functions=len(FUNCTION.findall(text)),
        todos=len(TODO.findall(text)),
    )


@activity
def write_report(task: Task, left_out: int, facts: list[Facts], by: str) -> Result:
    """Write the report, once: an earlier attempt that was cut off may have written it already.

    The idempotency key is the same for every attempt at this step, and for no other step: the
    report carries it, as a payment or an e-mail would.
    """
    leave_a_line(task)
    report, key = Path(task.report), attempt().idempotency_key
    if not (report.exists() and key and key in report.read_text(encoding="utf-8")):
        draft = report.with_name(report.name + ".draft")
        draft.write_text(render(facts, left_out, by, key), encoding="utf-8")
        draft.replace(report)
    return result_of(facts, by, report)


def leave_a_line(task: Task) -> None:
    """Append one line to the effects file: a side effect that can be counted."""
    if task.effects is None:
        return
    this = attempt()
    line = {
        "key": this.idempotency_key,
        "step": this.name,
        "attempt": this.number,
        "interrupted": this.interrupted,
        "pid": os.getpid(),
    }
    log = os.open(task.effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(log, json.dumps(line).encode() + b"\n")  # one write: never half a line
    finally:
        os.close(log)


def text_files(folder: Path) -> list[tuple[int, str]]:
    """Return size and path in the folder of each text file that is worth reading."""
    found: list[tuple[int, str]] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] not in "._" and name != "node_modules"]
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        found += [(p.stat().st_size, str(p.relative_to(folder))) for p in paths if is_text(p)]
    return found


def is_text(path: Path) -> bool:
    if path.suffix not in SUFFIXES or not str(path).isprintable() or not path.is_file():
        return False
    return os.access(path, os.R_OK) and 0 < path.stat().st_size <= FILE_BYTES_MAX


def result_of(facts: list[Facts], by: str | None, report: Path | None = None) -> Result:
    return Result(
        approved_by=by,
        files=len(facts),
        lines=sum(f.lines for f in facts),
        words=sum(f.words for f in facts),
        functions=sum(f.functions for f in facts),
        report=None if report is None else str(report),
        digest=None if report is None else hashlib.sha256(report.read_bytes()).hexdigest(),
    )


def render(facts: list[Facts], left_out: int, by: str, key: str) -> str:
    """Return the report as Markdown."""
    total = result_of(facts, by)
    todos = sum(f.todos for f in facts)
    lines = [
        "# What is in this folder",
        "",
        f"Approved by {by or 'somebody'}. Smaller files that were left out: {left_out}.",
        "",
        f"| File ({total.files} in all) | Lines | Words | Functions | Todos |",
        "| --- | ---: | ---: | ---: | ---: |",
        f"| **all** | {total.lines} | {total.words} | {total.functions} | {todos} |",
    ]
    lines += [f"| {f.file} | {f.lines} | {f.words} | {f.functions} | {f.todos} |" for f in facts]
    return "\n".join([*lines, "", f"Written once, as {key or 'a draft'}.", ""])
