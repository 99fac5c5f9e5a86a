"""The page on testing is true: its tests pass or fail under pytest as it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testing.test_plugin import INSTALLED

PAGE = Path(__file__).parent.parent.parent / "docs" / "testing.md"

FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

BLOCKS: list[tuple[str, str]] = FENCED.findall(PAGE.read_text(encoding="utf-8"))

TESTS = [
    (text, BLOCKS[i + 1][1] if BLOCKS[i + 1][0] == "text" else "")
    for i, (_, text) in enumerate(BLOCKS[:-1])
    if "\ndef test_" in text or "pytest.mark" in text
]


@pytest.mark.parametrize(("program", "complaint"), TESTS, ids=range(len(TESTS)))
def test_its_tests_do_what_it_says(program: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(program, encoding="utf-8")
    plugin = [] if INSTALLED else ["-p", "monolite.testing.plugin"]
    quiet = ["-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    loop = ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, *quiet, *loop],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == (1 if complaint else 0), done.stdout
    said = [line.removeprefix("E").strip() for line in done.stdout.splitlines()]
    expected = [line.strip() for line in complaint.splitlines()]
    told = [line.removeprefix("AssertionError: ") for line in said]
    assert [line for line in expected if line not in told] == []


def test_it_has_some() -> None:
    assert len(TESTS) == 3
    assert [bool(complaint) for _, complaint in TESTS] == [False, True, False]
