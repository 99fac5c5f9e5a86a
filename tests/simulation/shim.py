"""The shim, built and put to use: a nursery whose children play the scenario behind it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.processes.child import Child
from tests.simulation.nursery import Order

SOURCE = Path(__file__).with_name("shim.c")


@dataclass
class Story:
    """What a child said until it ended."""

    told: dict[str, Any] = field(default_factory=dict[str, Any])
    error: tuple[str, str] | None = None
    calls: int = 0
    status: int = 0
    stopped: bool = False


class Nursery:
    """Plays scenarios, one after another, each in a process of its own."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def play(self, order: Order) -> Story:
        """Play one to its end, or until it stops (see `go_on`)."""
        self._child.tell(json.dumps(msgspec.to_builtins(order)))
        return self._listen(Story())

    def go_on(self, story: Story) -> Story:
        """Wake a child that has stopped, and listen to the rest."""
        self._child.tell("go on")
        return self._listen(story)

    def _listen(self, story: Story) -> Story:
        story.stopped = False
        for said in self._child.lines():
            match said:
                case {"told": str(what), "answer": answer}:
                    story.told[what] = answer
                case {"error": [str(kind), str(message)]}:
                    story.error = (kind, message)
                case {"calls": int(calls)}:
                    story.calls = calls
                case {"stopped": _}:
                    story.stopped = True
                    return story
                case {"ended": int(status)}:
                    story.status = status
                    return story
                case _:
                    raise AssertionError(said)
        raise AssertionError(self._child.errors())


@contextmanager
def nursery(directory: Path) -> Generator[Nursery]:
    """Build the shim and start a nursery; skips the test where that cannot be done."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (gcc), which builds the shim between a process and its files")
    library = directory / "shim.so"
    build = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the shim cannot be built here: {done.stderr.strip()}")
    env = {"LD_PRELOAD": str(library), "SHIM_UNDER": f"{directory}/"}
    with Child("tests.simulation.nursery", env=env) as child:
        yield Nursery(child)
