"""Seen from outside: no acknowledgement is written before the log that it depends on is synced."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes.place import Place
from tests.simulation.acknowledger import REQUESTS, token

SHOWN_BYTES = 5_000
"""More than a page, so that a word is seen wherever it stands in one."""

CALL = re.compile(
    r"^(?P<pid>\d+) +(?:(?P<name>\w+)\((?P<args>.*?)|<\.\.\. (?P<resumed>\w+) resumed>.*?)"
    r"(?: = (?P<result>-?\d+).*| <unfinished \.\.\.>)$"
)


@dataclass
class Trace:
    """What a process did, in the order in which the kernel saw it."""

    written_to_log: list[tuple[int, str]]
    synced_log: list[tuple[int, int]]
    """When each sync of the log began, and when it had succeeded."""
    said: list[tuple[int, str]]

    @classmethod
    def read(cls, path: Path) -> Trace:
        found = cls([], [], [])
        begun: dict[str, int] = {}
        for at, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            call = CALL.match(line)
            if call is None:
                continue
            name, args = call["name"] or call["resumed"], call["args"] or ""
            if name == "pwrite64" and "-wal>" in args:
                found.written_to_log.append((at, args))
            elif name == "write" and args.startswith("1<"):
                found.said.append((at, args))
            elif name in {"fdatasync", "fsync"}:
                if call["name"] is not None and "-wal>" in args:
                    begun[call["pid"]] = at
                if call["result"] == "0" and call["pid"] in begun:
                    found.synced_log.append((begun.pop(call["pid"]), at))
        return found

    def is_in_order(self, word: str) -> bool:
        """Whether the log was synced between the last write of a word to it and its being said."""
        (said,) = (at for at, args in self.said if word in args)
        written = max(at for at, args in self.written_to_log if word in args and at < said)
        return any(written < began and done < said for began, done in self.synced_log)


def traced(tmp_path: Path, durability: str) -> Trace:
    if shutil.which("strace") is None:
        pytest.skip("strace, which sees what a process tells the kernel, is not installed")
    trace = tmp_path / "trace.txt"
    calls = "trace=pwrite64,write,fdatasync,fsync"
    tracer = ["strace", "-f", "-y", "-qq", "-s", str(SHOWN_BYTES), "-e", calls, "-o", str(trace)]
    place = Place(tmp_path)
    with place.process("tests.simulation.acknowledger", durability, tracer=tracer) as engine:
        said = [x["acknowledged"] for x in engine.lines()]
        if engine.wait() != 0 and "ptrace" in engine.errors():
            pytest.skip("strace is not allowed to trace here")
        assert engine.wait() == 0, engine.errors()
    assert said == [token(number) for number in range(REQUESTS)]
    return Trace.read(trace)


def test_each_acknowledgement_comes_after_a_sync_of_its_log(tmp_path: Path) -> None:
    trace = traced(tmp_path, "full")
    late = [number for number in range(REQUESTS) if not trace.is_in_order(token(number))]
    assert late == []


def test_the_check_notices_when_commits_are_not_synced(tmp_path: Path) -> None:
    trace = traced(tmp_path, "normal")
    late = [number for number in range(REQUESTS) if not trace.is_in_order(token(number))]
    assert len(late) > REQUESTS // 2
