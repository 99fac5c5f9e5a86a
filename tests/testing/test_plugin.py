"""The pytest plugin: the fixture `monolite_env`, under every plugin that runs async tests."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent

INSTALLED = [x.value for x in entry_points(group="pytest11") if x.name == "monolite"]

TESTS = """
import asyncio
import pytest
from monolite import activity, workflow

@activity
async def shout(word):
    return word.upper()

@workflow
async def greet(word: str) -> str:
    await asyncio.sleep(86_400)
    return await shout(word)

@workflow
async def other() -> int:
    return 5

async def soft(word):
    return word.lower()

{mark}
async def test_a_day_passes(monolite_env):
    assert await monolite_env.run(greet("Ada")) == "ADA"
    handle = await monolite_env.spawn(greet("Bob"))
    await monolite_env.crash()
    await monolite_env.skip("1d")
    assert await handle.result() == "BOB"

{mark}
@pytest.mark.monolite(actors=[greet], replace={{shout: soft}})
async def test_the_mark_says_what_it_is_made_with(monolite_env):
    assert await monolite_env.run(greet("Ada")) == "ada"
    with pytest.raises(Exception, match="no code for workflow 'other'"):
        await monolite_env.run(other())
    monolite_env.add(other)
    assert await monolite_env.run(other()) == 5

{mark}
async def test_what_is_left_running_harms_nobody(monolite_env):
    await monolite_env.spawn(greet("Ada"))

def test_it_need_not_be_used(monolite_env):
    assert monolite_env.now.year == 2030
"""


def run(pytester: pytest.Pytester, *arguments: str, mark: str = "") -> pytest.RunResult:
    pytester.makepyfile(TESTS.format(mark=mark))
    plugin = [] if INSTALLED else ["-p", "monolite.testing.plugin"]
    quiet = ["-q", "-W", "error", "--strict-markers", "-p", "no:cacheprovider"]
    return pytester.runpytest_subprocess(*plugin, *quiet, *arguments)


LOOP_SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")


def test_it_works_under_pytest_asyncio(pytester: pytest.Pytester) -> None:
    run(pytester, "-o", "asyncio_mode=auto", *LOOP_SCOPE).assert_outcomes(passed=4)


def test_and_in_its_strict_mode(pytester: pytest.Pytester) -> None:
    arguments = ("-o", "asyncio_mode=strict", *LOOP_SCOPE)
    run(pytester, *arguments, mark="@pytest.mark.asyncio").assert_outcomes(passed=4)


def test_and_under_the_plugin_of_anyio_on_asyncio_and_trio(pytester: pytest.Pytester) -> None:
    pytest.importorskip("anyio.pytest_plugin")
    arguments = ("-o", "asyncio_mode=strict", *LOOP_SCOPE)
    found = run(pytester, *arguments, mark="@pytest.mark.anyio")
    found.assert_outcomes(passed=7)  # three on each, and the one that needs no loop


def test_the_mark_is_told_of(pytester: pytest.Pytester) -> None:
    found = run(pytester, "--markers", *LOOP_SCOPE)
    found.stdout.fnmatch_lines(["@pytest.mark.monolite(actors=*"])


def test_it_is_shipped_as_a_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module = project["entry-points"]["pytest11"]["monolite"]
    assert set(INSTALLED) <= {module}
    assert import_module(module).monolite_env


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def test_loading_it_loads_no_engine() -> None:
    heavy = {"anyio", "apsw", "monolite.host", "monolite.store", "monolite.testing.environments"}
    assert loaded_by("import monolite.testing.plugin") & heavy == set()


def test_the_library_does_not_load_the_test_kit() -> None:
    loaded = loaded_by("import monolite; monolite.Runtime; import monolite.cli.main")
    assert {name for name in loaded if name.startswith("monolite.testing")} == set()
