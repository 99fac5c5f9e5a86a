"""The page on operating is true: its commands do, in this order, what it shows."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from monolite.store.sqlite.inspector import inspect
from tests.served import Served

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "operating.md"

SQLITE3 = """
import sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]):
    print(*row, sep="|")
"""
"""Stands in for the program `sqlite3`, with the library that Python has."""

PATIENCE_S = 20


class Example(NamedTuple):
    """A command of the page, and what it shows."""

    command: str
    output: str


def examples() -> Iterator[Example]:
    blocks: list[str] = re.findall(
        r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield Example(command, output)


def programs(folder: Path) -> None:
    """Put programs `monolite` and `sqlite3` into a folder."""
    for name, line in {"monolite": "-m monolite", "sqlite3": f"-c '{SQLITE3}'"}.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {line} "$@"\n', encoding="utf-8")
        program.chmod(0o755)


def said_by(command: str, cwd: Path) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env={**os.environ, "PATH": f"{cwd / 'bin'}:{os.environ['PATH']}"},
    )
    return done.stdout


def settle(file: Path) -> None:
    """Wait until the file says of every run that it has ended, or what it waits for."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        counts = inspect(file, lambda inspector: inspector.counts())
        if not {"queued", "running"} & set(counts):
            return
        assert time.monotonic() < deadline, counts
        time.sleep(0.01)


def test_the_page_shows_what_happens(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    programs(tmp_path / "bin")
    shutil.copytree(ROOT / "actors", tmp_path / "actors")
    checker = doctest.OutputChecker()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    engine: Served | None = None
    with ExitStack() as stack:
        for command, expected in examples():
            if command.endswith(" &"):
                program, verb, file, *modules = command[:-2].split()
                assert (program, verb) == ("monolite", "serve")
                engine = stack.enter_context(Served(Path(file), *modules, cwd=tmp_path))
                got = engine.log[-1]
            elif command == "kill %1":
                assert engine is not None
                assert engine.stop() == 0
                got, engine = engine.log[-1], None
            else:
                if engine is not None:
                    settle(tmp_path / "shop.db")
                got = said_by(command, tmp_path)
            assert checker.check_output(expected, got, flags), f"$ {command}\n{got}"


def test_the_page_knows_every_command() -> None:
    from monolite.cli.main import COMMANDS

    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"| `monolite {name}` |" not in text] == []
