"""The documentation is true: its programs run, its links lead somewhere, no name is missing."""

from __future__ import annotations

import doctest
import inspect
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest

import monolite
from monolite import Client, Handle, Runtime, Schedule, errors
from monolite.core import entry
from monolite.host.scheduler import Scheduler
from monolite.store.sqlite.statements import schema

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]

FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)

TIMES = re.compile(r"\+\d+\.\d{3}s|\d{4}-\d\d-\d\d [\d:.]+ UTC, \d+s ago")
"""What differs in the output of one run and the next."""

TIME_LIMIT_S = 30

SAFE_COMMANDS = {"ls", "show", "doctor", "spawn", "signal", "cancel"}
"""Subcommands of `monolite` that end by themselves, at once."""

SQLITE3 = """
import sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]):
    print(*("" if value is None else value for value in row), sep="|")
"""
"""Stands in for the program `sqlite3`, with the library that Python has: often an older one."""

KILLED_AT = """
import builtins, os, runpy, signal, sys

def last_words(*words, say=print):
    say(*words)
    if " ".join(map(str, words)) == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

builtins.print = last_words
runpy.run_path(sys.argv[2], run_name="__main__")
"""
"""Runs a program, which is killed as soon as it has printed a line."""


@dataclass
class Scene:
    """A program of a page, of one block or several, and the commands shown after it."""

    page: Path
    line: int
    program: str = ""
    commands: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[tuple[str, str, bool, int]]:
    """Language, text, whether it continues the one before, and line of every fenced block."""
    text = page.read_text(encoding="utf-8")
    for found in FENCED.finditer(text):
        before = text[: found.start()]
        continues = before.rstrip().endswith("<!-- continues -->")
        yield found[1], found[2], continues, before.count("\n") + 1


def scenes(page: Path) -> list[Scene]:
    found = [Scene(page, 0)]
    for language, text, continues, line in blocks(page):
        if language == "python":
            if not continues:
                found.append(Scene(page, line))
            # Blank lines in front, so that a traceback names the line of the page.
            gap = line - found[-1].program.count("\n")
            found[-1].program += "\n" * gap + text
        elif language == "console":
            found[-1].commands += commands(text)
    return [scene for scene in found if scene.program]


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Every command of a console block that is quick, and the output that it shows."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        program, *words = shlex.split(command)
        if program == "sqlite3" or (program == "monolite" and words[0] in SAFE_COMMANDS):
            yield command, output


SCENES = [scene for page in PAGES for scene in scenes(page)]


def prose_of(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def code_of(page: Path) -> str:
    """Only what a page shows as code: a word like `now` proves nothing in prose."""
    spans: list[str] = re.findall(r"`([^`\n]+)`", prose_of(page))
    return "\n".join([*(text for _, text, _, _ in blocks(page)), *spans])


ALL_CODE = "\n".join(map(code_of, PAGES))


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python to its end; a warning is an error."""
    return subprocess.run(
        [sys.executable, "-u", "-W", "error", *arguments],
        check=False,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100", "PYTHONDONTWRITEBYTECODE": "1"},
    )


def output_of(*arguments: str, cwd: Path) -> str:
    """What a program prints; it must succeed and have nothing to complain about."""
    done = run(*arguments, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def show(command: str, cwd: Path) -> str:
    program, *words = shlex.split(command)
    start = ("-c", SQLITE3) if program == "sqlite3" else ("-m", "monolite")
    return output_of(*start, *words, cwd=cwd)


def check_commands(scene: Scene, cwd: Path) -> None:
    for command, expected in scene.commands:
        got = show(command, cwd)
        same = doctest.OutputChecker().check_output(
            TIMES.sub("TIME", expected), TIMES.sub("TIME", got), doctest.NORMALIZE_WHITESPACE
        )
        assert same, f"{command}\n{got}"


@pytest.mark.parametrize(
    "scene", [scene for scene in SCENES if scene.page != README], ids=lambda scene: scene.name
)
def test_programs_run_as_they_are_shown(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(scene.program, encoding="utf-8")
    output_of("program.py", cwd=tmp_path)
    check_commands(scene, tmp_path)


def test_the_first_program_survives_kill_9_as_the_readme_shows(tmp_path: Path) -> None:
    (scene,) = scenes(README)
    shown = next(text for language, text, _, _ in blocks(README) if language == "text")
    first, second = shown.split("Killed\n")
    command, *before = first.splitlines()
    again, *after = second.splitlines()
    assert command == again == "$ python breakfast.py"
    (tmp_path / "breakfast.py").write_text(scene.program, encoding="utf-8")

    killed = run("-c", KILLED_AT, before[-1], "breakfast.py", cwd=tmp_path)
    assert (killed.returncode, killed.stdout.splitlines()) == (-signal.SIGKILL, before)
    assert output_of("breakfast.py", cwd=tmp_path).splitlines() == after
    assert output_of("breakfast.py", cwd=tmp_path).splitlines() == after[-1:]
    check_commands(scene, tmp_path)


def test_the_pages_that_teach_have_programs() -> None:
    assert {scene.page.name for scene in SCENES} >= {"README.md", "guide.md"}


# Links.


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings: list[str] = re.findall(r"^#+ (.+)$", prose_of(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    broken: list[str] = []
    for page in [*PAGES, ROOT / "AGENTS.md", ROOT / "CHANGELOG.md", ROOT / "bench" / "README.md"]:
        links: list[str] = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        for link in links:
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if link.startswith(("https://", "http://")):
                continue
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_files_that_are_named_exist() -> None:
    prose = "\n".join(map(prose_of, PAGES))
    named: list[str] = re.findall(r"`((?:tests|docs|bench|runtime)/[\w./-]+)`", prose)
    assert [path for path in dict.fromkeys(named) if not (ROOT / path).exists()] == []


# Names.


def missing(patterns: dict[str, str]) -> list[str]:
    """The names whose pattern no code of any page matches."""
    return [name for name, pattern in patterns.items() if not re.search(pattern, ALL_CODE)]


def test_what_can_be_imported_is_documented() -> None:
    assert missing({name: rf"\b{name}\b" for name in monolite.__all__}) == []


@pytest.mark.parametrize("cls", [Runtime, Client, Handle, Schedule, Scheduler])
def test_methods_are_documented(cls: type) -> None:
    methods = [n for n, x in vars(cls).items() if inspect.isfunction(x) and n[0] != "_"]
    owner = "(Runtime|Client)" if cls is Scheduler else cls.__name__
    assert missing({name: rf"\b{owner}\.{name}\b" for name in methods}) == []


@pytest.mark.parametrize(
    "callee",
    [
        "Runtime",
        "Runtime.spawn",
        "Runtime.list",
        "Runtime.schedule",
        "Client",
        "Client.spawn_by_name",
        "Handle.signal",
        "Call.options",
        "Retry",
        "spawn",
        "workflow",
        "activity",
    ],
)
def test_parameters_are_documented(callee: str) -> None:
    parameters = inspect.signature(attrgetter(callee)(monolite)).parameters.values()
    names = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    assert names != []
    assert missing({name: rf"\b{name}=" for name in names}) == []


def test_exceptions_are_documented() -> None:
    classes = [name for name, x in vars(errors).items() if inspect.isclass(x)]
    raised = [name for name in classes if issubclass(getattr(errors, name), errors.MonoliteError)]
    guide = code_of(ROOT / "docs" / "guide.md")
    assert [name for name in raised if f"\n{name}\n" not in f"\n{guide}\n"] == []


def test_statuses_are_documented() -> None:
    names = "QUEUED RUNNING WAITING PAUSED BLOCKED DIVERGED COMPLETED FAILED CANCELLED TERMINATED"
    statuses: list[str] = [getattr(entry, name) for name in names.split()]
    guide = code_of(ROOT / "docs" / "guide.md")
    assert [status for status in statuses if f"\n{status}\n" not in f"\n{guide}\n"] == []


def test_tables_of_the_file_are_documented() -> None:
    tables: list[str] = re.findall(r"^CREATE (?:TABLE|VIEW) (\w+)", schema(), re.MULTILINE)
    assert tables != []
    page = code_of(ROOT / "docs" / "architecture.md")
    assert [table for table in tables if not re.search(rf"\b{table}\b", page)] == []


def test_limits_are_what_the_code_says() -> None:
    text = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    row = re.compile(r"^\|[^|]*\| ([\d,.]+)[^|]*\| `(monolite[\w.]+)\.(\w+)` \|$", re.MULTILINE)
    rows: list[tuple[str, str, str]] = row.findall(text)
    assert len(rows) == len(re.findall(r"`monolite\.\w+\.[\w.]+`", text))
    for number, module, name in rows:
        bound: float = getattr(import_module(module), name)
        assert (name, float(number.replace(",", ""))) == (name, bound)
