"""What mypy and pyright say of programs: the right ones are right, the wrong ones are not.

The programs lie beside this file. mypy and pyright check them with everything else; here their
`ignore` marks are taken out first, so that each marked line has to be an error, and no other may.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PROGRAMS = ("calls.py", "runs.py", "actors.py", "vocabulary.py", "mistakes.py", "misuses.py")
MARK = re.compile(r"  # type: ignore\[[a-z-]+\]")

Place = tuple[str, int]
"""A program and a line of it."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def programs(tmp_path: Path) -> list[Path]:
    """Copies of the programs, without their marks."""
    for name in PROGRAMS:
        text = (HERE / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(MARK.sub("", text), encoding="utf-8")
    return [tmp_path / name for name in PROGRAMS]


def marked() -> set[Place]:
    return {
        (name, number)
        for name in PROGRAMS
        for number, line in enumerate((HERE / name).read_text(encoding="utf-8").splitlines(), 1)
        if MARK.search(line)
    }


def output(*command: str) -> str:
    """What a checker says; it also says by its exit code that there are errors, and only that."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def mypy(programs: list[Path]) -> set[Place]:
    text = output("mypy", "--no-error-summary", "--show-absolute-path", *map(str, programs))
    found = re.findall(r"^(.+?):(\d+): error: ", text, flags=re.MULTILINE)
    return {(Path(path).name, int(number)) for path, number in found}


def pyright(programs: list[Path]) -> set[Place]:
    text = output("pyright", "--outputjson", "--pythonpath", sys.executable, *map(str, programs))
    return {
        (Path(found["file"]).name, found["range"]["start"]["line"] + 1)
        for found in json.loads(text)["generalDiagnostics"]
        if found["severity"] == "error"
    }


@pytest.mark.parametrize("check", [mypy, pyright], ids=lambda check: check.__name__)
def test_the_marked_lines_are_errors_and_no_others(
    programs: list[Path], check: Callable[[list[Path]], set[Place]]
) -> None:
    if find_spec(check.__name__) is None:
        pytest.skip(f"{check.__name__} is not installed: pip install --group dev")
    errors = check(programs)
    assert sorted(marked() - errors) == [], "taken for right"
    assert sorted(errors - marked()) == [], "taken for wrong"
    assert len(marked()) > 30
