"""`monolite queue`: what it shows, what it changes, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from monolite import Breaker, Queue, Rate, Runtime, workflow
from monolite.cli.main import main
from monolite.errors import WorkflowFailed


@workflow
async def breaks(word: str) -> str:
    raise LookupError(word)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file with two queues, in one of which a run has failed."""
    path = tmp_path / "app.db"

    async def fill() -> None:
        limits = Queue(
            "llm", concurrency=2, per_key=1, rate=Rate(100, "1m"), breaker=Breaker(5, "90s")
        )
        async with Runtime(path, actors=[breaks], queues=[limits, Queue("slow")]) as rt:
            run = await rt.spawn(breaks("no"), id="b", queue="llm")
            with pytest.raises(WorkflowFailed):
                await run.result()

    anyio.run(fill)
    return str(path)


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> tuple[str, str]:
    assert main(words) == status
    found = capsys.readouterr()
    return found.out, found.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(said(capsys, *words, "--json")[0])


def test_it_lists_queues_with_their_limits(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = said(capsys, "queue", "ls", file)
    head, llm, slow = (line.split() for line in out.splitlines())
    assert head[:4] == ["QUEUE", "WAITING", "RUNNING", "DEAD"]
    assert llm == ["llm", "0", "0", "1", "2", "1", "100/1m", "5/90s", "open"]
    assert slow == ["slow", "0", "0", "0", "-", "-", "-", "-", "open"]
    (found,) = as_json(capsys, "queue", "ls", file, "slow")
    assert (found["name"], found["paused"], found["rate"]) == ("slow", False, None)


def test_it_pauses_and_resumes_without_an_engine(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "paused" in said(capsys, "queue", "pause", file, "llm")[0]
    assert as_json(capsys, "queue", "ls", file, "llm")[0]["paused"]
    assert "open" in said(capsys, "queue", "resume", file, "llm")[0]
    assert as_json(capsys, "queue", "drain", file, "llm")[0]["paused"]


def test_it_changes_limits_and_takes_them_away(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--concurrency", "7", "--per-key", "none", "--rate", "5/2h", "--breaker", "none"]
    (found,) = as_json(capsys, "queue", "limit", file, "llm", *words)
    shown = [found[x] for x in ("concurrency", "per_key", "rate", "breaker")]
    assert shown == [7, None, "5/2h", None]
    (found,) = as_json(capsys, "queue", "limit", file, "llm", "--rate", "none", "--breaker", "1/5s")
    assert (found["rate"], found["breaker"], found["concurrency"]) == (None, "1/5s", 7)


def test_it_spawns_into_a_queue_and_says_what_waits(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "queue", "pause", file, "slow")
    words = ("spawn", file, "breaks", '["x"]', "--queue", "slow", "--key", "a", "--priority", "3")
    out, _ = said(capsys, *words, "--id", "x", "--dedupe", "d")
    assert out.strip() == "x"
    assert said(capsys, *words, "--dedupe", "d")[0].strip() == "x"
    line = said(capsys, "ls", file, "--status", "queued")[0].splitlines()[1]
    assert line.split()[:3] == ["x", "breaks", "queued"]
    assert line.endswith("queue slow")
    assert "queue slow" in said(capsys, "show", file, "x")[0]
    assert as_json(capsys, "queue", "ls", file, "slow")[0]["waiting"] == 1


def test_it_lists_the_dead_and_queues_them_again(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = said(capsys, "queue", "dead", file, "llm")
    assert "LookupError: no" in out
    assert "queued 1 run again" in said(capsys, "queue", "retry", file, "llm")[0]
    assert as_json(capsys, "queue", "ls", file, "llm")[0]["waiting"] == 1
    out, err = said(capsys, "queue", "dead", file, "llm")
    assert (out, "no run of llm is dead" in err) == ("", True)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["ls", "FILE", "other"], "there is no queue 'other'"),
        (["pause", "FILE", "other"], "there is no queue 'other'; known are: 'llm', 'slow'"),
        (["pause", "FILE"], "needs the NAME"),
        (["limit", "FILE", "llm"], "say which limit"),
        (["pause", "FILE", "llm", "--rate", "1/1s"], "changes no limits"),
        (["limit", "FILE", "llm", "--rate", "many"], "must be like 100/1m"),
        (["limit", "FILE", "llm", "--rate", "5/soon"], "--rate: "),
        (["limit", "FILE", "llm", "--concurrency", "0"], "must be a number or 'none'"),
    ],
)
def test_misuse_is_told(
    file: str, capsys: pytest.CaptureFixture[str], words: list[str], problem: str
) -> None:
    _, err = said(capsys, "queue", *[file if x == "FILE" else x for x in words], status=2)
    assert problem in err
