"""The pages on concepts are true: each of their programs runs, and ends well."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from monolite.cli.main import COMMANDS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CONCEPTS = sorted((DOCS / "concepts").glob("*.md"))
PAGES = [*CONCEPTS, DOCS / "living-with-code-changes.md", DOCS / "coming-from.md"]

FENCED = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)

TIME_LIMIT_S = 20

GROUPS = 2
"""Programs at a time: so many processes, and no more, on a small machine."""


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    continues: bool
    line: int


class Program(NamedTuple):
    """A program that a page shows, in one block or several."""

    page: Path
    line: int
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCED.finditer(text):
        before = text[: found.start()]
        continues = before.rstrip().endswith("<!-- continues -->")
        yield Block(found[1], found[2], continues, before.count("\n") + 1)


def programs(page: Path) -> Iterator[Program]:
    text, line = "", 0
    for block in blocks(page):
        if block.language != "python":
            continue
        if text and not block.continues:
            yield Program(page, line, text)
            text = ""
        if not text:
            line = block.line
        # Blank lines in front, so that a traceback names the line of the page.
        text += "\n" * (block.line - text.count("\n")) + block.text
    if text:
        yield Program(page, line, text)


PROGRAMS = [program for page in PAGES for program in programs(page)]
PAIRS = [PROGRAMS[i : i + GROUPS] for i in range(0, len(PROGRAMS), GROUPS)]


@pytest.mark.parametrize(
    "pair", PAIRS, ids=lambda pair: " and ".join(program.name for program in pair)
)
def test_programs_run_as_they_are_shown(pair: list[Program], tmp_path: Path) -> None:
    started: list[tuple[Program, subprocess.Popen[str]]] = []
    try:
        for number, program in enumerate(pair):
            place = tmp_path / str(number)
            place.mkdir()
            (place / "program.py").write_text(program.text, encoding="utf-8")
            started.append((program, start(place)))
        for program, process in started:
            _, complaints = process.communicate(timeout=TIME_LIMIT_S)
            assert (program.name, process.returncode, complaints) == (program.name, 0, "")
    finally:
        for _, process in started:
            process.kill()
            process.communicate()


def start(place: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "program.py"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_shows_a_program(page: Path) -> None:
    assert page in {program.page for program in PROGRAMS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken: list[str] = []
    found: list[str] = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in found:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if link.startswith("https://"):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    headings: list[str] = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_are_shown_exist(page: Path) -> None:
    consoles = [block.text for block in blocks(page) if block.language == "console"]
    shown: list[str] = re.findall(r"^\$ monolite (\w+)", "\n".join(consoles), flags=re.MULTILINE)
    assert [command for command in shown if command not in COMMANDS] == []
