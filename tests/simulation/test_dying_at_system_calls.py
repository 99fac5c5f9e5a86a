"""A real process on a real file dies, stops or is refused at a system call, at each of them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from monolite.errors import FileOwned
from monolite.store.sqlite import connection
from tests.processes.place import Place
from tests.simulation import scenario
from tests.simulation.nursery import Action, Kind, Order
from tests.simulation.shim import Nursery, Story, nursery

DOCUMENTED = {"StorageFull", "CommitUnknown", "FileDamaged", "FileForeign", "Fenced"}
"""What a program may be told when the disk fails, or another owner has taken its file."""

some_or_all = pytest.mark.parametrize(
    "every",
    [
        pytest.param(9, id="some"),
        pytest.param(1, id="all", marks=[pytest.mark.slow, pytest.mark.timeout(3_600)]),
    ],
)


@pytest.fixture
def children(directory: Path) -> Iterator[Nursery]:
    with nursery(directory) as children:
        yield children


def paths(directory: Path) -> Iterator[Path]:
    """Yield a file in a directory of its own, and remove that."""
    number = 0
    while True:
        number += 1
        own = directory / str(number)
        own.mkdir()
        yield own / "app.db"
        shutil.rmtree(own)


def calls(children: Nursery, path: Path, kinds: Kind = Kind.ANY) -> int:
    """Return how many system calls an undisturbed scenario makes."""
    story = children.play(Order(str(path), kinds=kinds))
    assert story.told == scenario.FINAL
    assert (story.status, story.error) == (0, None)
    return story.calls


async def play_again(path: Path) -> dict[str, Any]:
    """Go through the scenario in this process, where nothing fails; return the answers."""
    told: dict[str, Any] = {}
    await scenario.play(path, told.__setitem__)
    return told


async def true_to(story: Story, path: Path) -> None:
    """Check that what was acknowledged is there, and that all the rest comes about."""
    assert story.told.items() <= scenario.FINAL.items()
    known = acknowledged(path) if path.exists() else set[str]()
    assert {told for told in story.told if told in KEPT} <= known
    assert await play_again(path) == scenario.FINAL
    assert Place(path.parent).rows("PRAGMA integrity_check") == [("ok",)]


KEPT = {
    "a accepted": "SELECT 1 FROM monolite_runs WHERE id = 'a'",
    "b accepted": "SELECT 1 FROM monolite_runs WHERE id = 'b'",
    "large": "SELECT 1 FROM monolite_runs WHERE id = 'large'",
    "first decision": "SELECT 1 FROM monolite_inbox WHERE message_id = 'first'",
    "second decision": "SELECT 1 FROM monolite_inbox WHERE message_id = 'second'",
    "a": "SELECT 1 FROM monolite_runs WHERE id = 'a' AND status = 'completed'",
    "b": "SELECT 1 FROM monolite_runs WHERE id = 'b' AND status = 'completed'",
    "cancelled": "SELECT 1 FROM monolite_inbox AS i JOIN monolite_runs AS r ON r.no = i.run_no"
    " WHERE r.id = 'w' AND i.kind = 'cancel'",
}
"""Where an acknowledgement's row is looked for, before anything is repeated."""


def acknowledged(path: Path) -> set[str]:
    place = Place(path.parent)
    if not place.rows("SELECT 1 FROM sqlite_schema WHERE name = 'monolite_runs'"):
        return set()
    return {told for told, sql in KEPT.items() if place.rows(sql)}


@some_or_all
async def test_a_process_that_exits_there_has_kept_what_it_acknowledged(
    children: Nursery, directory: Path, every: int
) -> None:
    files = paths(directory)
    last = calls(children, next(files))
    assert last > 100
    for at in range(1, last + 1, every):
        path = next(files)
        story = children.play(Order(str(path), Action.EXIT, at))
        # Which turn a row falls into may differ from one run to the next, by a call or two.
        assert story.status == 77 or (story.told == scenario.FINAL and at > last * 0.9)
        await true_to(story, path)


FAILURES = {
    "a write fails": Order("", Action.FAIL_ONCE, errno=errno.EIO, kinds=Kind.WRITE),
    "a sync fails": Order("", Action.FAIL_ONCE, errno=errno.EIO, kinds=Kind.SYNC),
    "syncs fail": Order("", Action.FAIL_FOR_EVER, errno=errno.EIO, kinds=Kind.SYNC),
    "no space": Order("", Action.FAIL_ONCE, errno=errno.ENOSPC, kinds=Kind.WRITE),
    "no space for ever": Order("", Action.FAIL_FOR_EVER, errno=errno.ENOSPC, kinds=Kind.WRITE),
    "half written": Order("", Action.CUT_SHORT, kinds=Kind.WRITE),
    "truncation": Order("", Action.FAIL_ONCE, errno=errno.EIO, kinds=Kind.TRUNCATE),
    "removal": Order("", Action.FAIL_ONCE, errno=errno.EIO, kinds=Kind.UNLINK),
}


@some_or_all
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_call_that_fails_is_told_in_our_words_and_loses_nothing(
    children: Nursery, directory: Path, failure: str, every: int
) -> None:
    order = FAILURES[failure]
    files = paths(directory)
    last = calls(children, next(files), Kind(order.kinds))
    told: set[str] = set()
    for at in range(1, last + 1, every if last > 10 else 1):
        path = next(files)
        story = children.play(msgspec.structs.replace(order, path=str(path), at=at))
        if story.error is not None:
            told.add(story.error[0])
            assert story.error[0] in DOCUMENTED, (at, story.error)
        await true_to(story, path)
    expected = {"a sync fails": "CommitUnknown", "syncs fail": "CommitUnknown"}
    expected |= dict.fromkeys(("no space for ever", "half written"), "StorageFull")
    assert failure not in expected or expected[failure] in told


class Hasty(apsw.VFS):
    """The system's file layer, in which SQLite does not wait between its tries."""

    def __init__(self) -> None:
        super().__init__("hasty", "unix", makedefault=True)

    def xSleep(self, microseconds: int) -> int:  # noqa: N802 - SQLite's name
        return microseconds


@pytest.fixture
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_MS", 10)
    hasty = Hasty()
    yield
    hasty.unregister()


@pytest.mark.usefixtures("_no_waits")
@some_or_all
async def test_a_process_that_stops_there_is_passed_over_and_does_no_harm(
    children: Nursery, directory: Path, every: int
) -> None:
    """Stopped inside a transaction it keeps SQLite's write lock: then it cannot be passed over."""
    files = paths(directory)
    last = calls(children, next(files))
    passed_over = 0
    for at in range(1, last + 1, every):
        path = next(files)
        story = children.play(Order(str(path), Action.STOP, at))
        if not story.stopped:
            assert story.told == scenario.FINAL
            continue
        before = dict(story.told)
        answers: dict[str, Any] = {}
        try:
            await scenario.play(path, answers.__setitem__, takeover=True)
        except FileOwned:
            assert answers == {}
            story = children.go_on(story)
            if story.error is None:
                assert story.told == scenario.FINAL
            else:  # it was only just opening the file, and finds its lock gone
                assert (story.told, story.error[0]) == ({}, "FileOwned")
        else:
            passed_over += 1
            assert answers == scenario.FINAL
            contents = everything_in(path)
            story = children.go_on(story)
            # What it still says was committed before it stopped, or by its successor.
            assert story.told.items() <= scenario.FINAL.items()
            if story.error is not None:
                assert story.error[0] in {"Fenced", "FileOwned"}
            elif at < last * 0.9:
                assert story.told == before
            assert everything_in(path) == contents
        await true_to(story, path)
    assert passed_over > 0


def everything_in(path: Path) -> list[list[tuple[Any, ...]]]:
    tables = ("runs", "journal", "inbox", "attempts", "views", "states", "file")
    place = Place(path.parent)
    return [place.rows(f"SELECT * FROM monolite_{table}") for table in tables]


def test_the_shim_is_no_part_of_this_process() -> None:
    assert "shim" not in os.environ.get("LD_PRELOAD", "")
