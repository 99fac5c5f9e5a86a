"""The house is in order: what is public is documented, what is shipped fits together."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import monolite

ROOT = Path(__file__).parent.parent


def run_python(code: str) -> str:
    """Output of a fresh interpreter, so that nothing this process imported shows."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
    )
    return done.stdout


def code_in(page: Path) -> str:
    """Only the code of a page of Markdown: a name like `now` proves nothing in prose."""
    text = page.read_text(encoding="utf-8")
    fenced = r"^ *```[^\n]*\n(.*?)^ *```"
    blocks: list[str] = re.findall(fenced, text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(fenced, "", text, flags=re.MULTILINE | re.DOTALL)
    spans: list[str] = re.findall(r"`([^`]+)`", prose)
    return "\n".join([*blocks, *spans])


def subcommands() -> list[str]:
    usage = run_python(
        "import sys; from monolite.cli.main import main; sys.argv = ['monolite', '--help']; main()"
    )
    return re.findall(r"^ {4}([a-z][a-z-]*)(?: {2}|$)", usage, flags=re.MULTILINE)


def test_public_names_exist_once() -> None:
    assert len(set(monolite.__all__)) == len(monolite.__all__)
    assert [name for name in monolite.__all__ if not hasattr(monolite, name)] == []


def test_public_names_are_documented() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    code = "\n".join(code_in(page) for page in pages)
    names = [name for name in monolite.__all__ if not name.startswith("__")]
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []


def test_commands_are_documented() -> None:
    commands = subcommands()
    assert "demo" in commands
    code = code_in(ROOT / "docs" / "operating.md")
    missing = [
        command
        for command in commands
        if not re.search(rf"^(?:.*\bmonolite )?{command}\b", code, flags=re.MULTILINE)
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        (
            "monolite",
            {"argparse", "boto3", "cronsim", "zoneinfo", "botocore", "pydantic", "starlette"},
        ),
        ("monolite.cli.main", {"boto3", "cronsim", "botocore", "pydantic", "starlette"}),
    ],
)
def test_import_stays_light(module: str, heavy: set[str]) -> None:
    loaded = run_python(f"import sys, {module}; print(*sys.modules)").split()
    assert heavy & set(loaded) == set()


def test_types_are_shipped() -> None:
    assert (ROOT / "runtime" / "monolite" / "py.typed").is_file()


def test_litestream_replicates_the_file_of_the_demo() -> None:
    text = (ROOT / "litestream.yml").read_text(encoding="utf-8")
    config = [line.rstrip() for line in text.splitlines() if line and not line.startswith("#")]
    assert config[:4] == ["dbs:", "  - path: demo/monolite.db", "    replica:", "      type: s3"]
    settings = dict(line.strip().split(": ", 1) for line in config[4:])
    assert settings == {
        "bucket": "${MONOLITE_S3_BUCKET}",
        "path": "${MONOLITE_S3_PATH}",
        "region": "${MONOLITE_S3_REGION}",
        "endpoint": "${MONOLITE_S3_ENDPOINT}",
    }


def test_the_page_for_contributors_fits_in_a_head() -> None:
    assert len((ROOT / "AGENTS.md").read_text(encoding="utf-8").splitlines()) < 80
