"""kill -9: what a process was told is kept, and what it had done is not done again."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from monolite.core import entry as e
from monolite.core.definition import Workflow
from monolite.errors import Cancelled
from monolite.store.protocol import RunFilter
from monolite.store.sqlite.reader import SqliteReader
from tests.processes import programs, storm
from tests.processes.child import Child
from tests.processes.place import Place
from tests.processes.programs import Effect


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_an_interrupted_attempt_runs_again_and_is_told_so(place: Place) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.hanging(), id="h")
        with place.engine() as engine:
            engine.hear("hangs")
            engine.kill()
        with place.engine() as engine:
            assert await run.result() == 2
            assert engine.finish() == 0
    first, again = place.effects()
    assert (first.number, first.interrupted) == (1, False)
    assert (again.number, again.interrupted) == (2, True)
    assert first.key == again.key


async def test_each_interruption_counts_one_attempt(place: Place) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.stubborn(4), id="s")
        for _ in range(3):
            with place.engine() as engine:
                engine.hear("stubborn")
                engine.kill()
        with place.engine() as engine:
            assert await run.result() == 4
            assert engine.finish() == 0
    assert [(x.number, x.interrupted) for x in place.effects()] == [
        (1, False),
        (2, True),
        (3, True),
        (4, True),
    ]
    assert len({x.key for x in place.effects()}) == 1


async def test_an_activity_that_may_run_once_raises_interrupted_instead(place: Place) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.careful(), id="c")
        with place.engine() as engine:
            engine.hear("once")
            engine.kill()
        with place.engine() as engine:
            assert await run.result() == "Interrupted once"
            assert engine.finish() == 0
    assert [(x.number, x.interrupted) for x in place.effects()] == [(1, False)]


async def test_what_an_attempt_left_open_is_settled_by_the_life_after_next(place: Place) -> None:
    """A kill in the middle of opening, before anything was resumed, changes nothing."""
    async with place.client() as client:
        run = await client.spawn(programs.careful(), id="c")
        with place.engine() as engine:
            engine.hear("once")
            engine.kill()
        with place.engine() as engine:
            engine.hear("opening")
            engine.kill()
        with place.engine() as engine:
            assert await run.result() == "Interrupted once"
            assert engine.finish() == 0
    assert [x.number for x in place.effects()] == [1]


async def test_failed_attempts_and_the_time_of_the_next_one_survive(place: Place) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.hourly_flaky(), id="f")
        with place.engine() as engine:
            (first_due,) = await place.until(lambda reader: failures(reader, "f", 1))
            engine.kill()
        with place.engine() as engine:
            waiting = await place.until(lambda reader: waiting_on(reader, "f"))
            engine.kill()
        assert waiting == f"retrying hourly, attempt 2 at {clock(first_due)}"
        assert await place.until(lambda reader: failures(reader, "f", 1)) == [first_due]
        with place.engine("--hours-later", "2") as engine:
            assert first_due == (await place.until(lambda reader: failures(reader, "f", 2)))[0]
            engine.kill()
        with place.engine("--hours-later", "4") as engine:
            assert await run.result() == 3
            assert engine.finish() == 0
    assert [(x.life, x.number, x.interrupted) for x in place.effects()] == [
        (1, 1, False),
        (3, 2, False),
        (4, 3, False),
    ]


def failures(reader: SqliteReader, id: str, count: int) -> list[int] | None:
    """When the next attempt was due after each failed one, once there are `count` of them."""
    run = reader.run_by_id(id)
    rows = [] if run is None else reader.attempts(run.no)
    due = [a.due_us for a in rows if a.state == e.ATTEMPT_FAILED]
    return [at for at in due if at is not None] if len(due) == count else None


def waiting_on(reader: SqliteReader, id: str) -> str | None:
    run = reader.run_by_id(id)
    return None if run is None else run.waiting_on


def clock(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds")


async def test_a_timer_set_before_the_kill_fires_once_and_not_early(place: Place) -> None:
    async with place.client() as client:
        run = await client.spawn(programs.sleeps(3_600), id="s")
        with place.engine() as engine:
            until = await place.until(lambda reader: waiting_on(reader, "s"))
            engine.kill()
        with place.engine() as engine:
            engine.hear("open")
            assert await place.until(lambda reader: waiting_on(reader, "s")) == until
            engine.kill()
        for _ in range(2):
            with place.engine("--hours-later", "1") as engine:
                assert await run.result() == "woke"
                engine.kill()
    (timer,) = place.rows("SELECT at_us, args FROM monolite_journal WHERE kind = 'timer'")
    (started,) = place.rows("SELECT started_us FROM monolite_runs WHERE id = 's'")
    assert timer[0] >= started[0] + 3_600_000_000
    assert timer[1] == "3600000000"
    assert [x.life for x in place.effects()] == [3]


async def test_a_child_runs_once_and_its_result_arrives_once(place: Place) -> None:
    async with place.client() as client:
        parent = await client.spawn(programs.parent_of_waits(), id="p")
        child = client.handle("p/waits#1", programs.waits)
        for _ in range(2):
            with place.engine() as engine:
                await place.until(partial(value, id=child.id, view="seen"))
                engine.kill()
        await child.signal(programs.stop, None)
        for _ in range(2):
            with place.engine() as engine:
                assert await parent.result() == child.id
                engine.kill()
    assert place.rows("SELECT id, generation FROM monolite_runs ORDER BY no") == [
        ("p", 1),
        (child.id, 1),
    ]
    assert place.rows("SELECT kind, key FROM monolite_timeline WHERE id = 'p'") == [
        ("child", "waits#1")
    ]
    assert Counter(x.step for x in place.effects()) == {"began": 1, "ended": 1}


def child_of_p(reader: SqliteReader) -> str | None:
    found = reader.runs(RunFilter(parent="p"))
    return found[0].id if found else None


def value(reader: SqliteReader, id: str, view: str) -> str | None:
    run = reader.run_by_id(id)
    return None if run is None else reader.view(run.no, view)


@pytest.mark.parametrize("program", [programs.parent_of_waits, programs.parent_of_named_waits])
async def test_cancelling_a_parent_after_a_kill_cancels_its_child_too(
    place: Place, program: Workflow[[], str]
) -> None:
    async with place.client() as client:
        parent = await client.spawn(program(), id="p")
        with place.engine() as engine:
            child = client.handle(await place.until(child_of_p), programs.waits)
            await place.until(partial(value, id=child.id, view="seen"))
            engine.kill()
        assert await parent.cancel("enough")
        with place.engine() as engine:
            for run in (parent, child):
                with pytest.raises(Cancelled):
                    await run.result()
            assert engine.finish() == 0
    assert Counter(x.step for x in place.effects()) == {"began": 1, "tidied": 1}


async def test_a_child_that_ends_while_its_parent_has_no_code_is_not_lost(place: Place) -> None:
    async with place.client() as client:
        parent = await client.spawn(programs.parent_of_waits(), id="p")
        with place.engine() as engine:
            child = client.handle(await place.until(child_of_p), programs.waits)
            await place.until(partial(value, id=child.id, view="seen"))
            engine.kill()
        await child.signal(programs.stop, None)
        with place.engine("--code", "waits") as engine:
            assert await child.result() == child.id
            assert (await parent.describe()).waiting_on == "no code for 'parent_of_waits'"
            engine.kill()
        with place.engine() as engine:
            assert await parent.result() == child.id
            assert engine.finish() == 0
    assert Counter(x.step for x in place.effects()) == {"began": 1, "ended": 1}


# The storm.


@pytest.mark.parametrize(
    "rounds", [6, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_a_file_whose_engine_is_killed_again_and_again_stays_true(
    place: Place, rounds: int
) -> None:
    witness = Witness(place)
    moments = random.Random(f"storm of {rounds}")
    for life in range(1, rounds + 1):
        with place.process("tests.processes.storm", life, witness.next_numbers()) as engine:
            witness.listen(engine, acknowledgements=moments.randrange(80))
            witness.take_down(engine.kill())
        witness.look_at_the_file()
    last = ("tests.processes.storm", rounds + 1, witness.next_numbers(), "--last")
    with place.process(*last, patient=True) as engine:
        witness.take_down(list(engine.lines()))
        assert engine.wait() == 0, engine.errors()
    witness.judge(rounds + 1)


class Witness:
    """Knows what the engine acknowledged and did, from its pipe, its effects and its file."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.spawned: list[str] = []
        self.sent: dict[str, list[int]] = {sender: [] for sender in storm.SENDERS}
        self.collected: list[list[object]] = []
        self.done: dict[str, dict[str, str]] = {}
        self.expected: dict[tuple[str, str], tuple[int, bool]] = {}
        self.over: set[tuple[str, str]] = set()
        self.looked_at = 0

    def next_numbers(self) -> str:
        """What each sender sends next: first of all what it does not know to have arrived."""
        return json.dumps({sender: max(sent, default=0) + 1 for sender, sent in self.sent.items()})

    def listen(self, engine: Child, acknowledgements: int) -> None:
        """Hear so many acknowledgements; with none, only that it is about to open the file."""
        heard = -1
        for said in engine.lines():
            heard += self.take_down([said])
            if heard >= acknowledgements:
                return
        raise AssertionError(engine.errors())

    def take_down(self, said: list[object]) -> int:
        """Note what was said; return how much of it counts as an acknowledgement or opening."""
        counted = 0
        for what in said:
            match what:
                case {"spawned": str(id)}:
                    self.spawned.append(id)
                case {"sent": [str(sender), int(number)]}:
                    self.sent[sender].append(number)
                case {"collected": list()}:
                    self.collected = cast("dict[str, list[list[object]]]", what)["collected"]
                case {"done": str(id), "once": str(once), "child": str(child)}:
                    self.done[id] = {"once": once, "child": child}
                case "opening":
                    pass
                case _:
                    continue
            counted += 1
        return counted

    def look_at_the_file(self) -> None:
        """After a kill: check the last life's executions, and foretell the next one's."""
        self.check_executions()
        journaled = self.place.rows("SELECT id, key FROM monolite_timeline WHERE kind = 'activity'")
        self.over = {(id, key) for id, key in journaled}
        attempts = self.place.rows(
            "SELECT r.id, a.key, a.number, a.state FROM monolite_attempts AS a"
            " JOIN monolite_runs AS r ON r.no = a.run_no ORDER BY r.no, a.key, a.number"
        )
        recorded = {(id, key): (number, state) for id, key, number, state in attempts}
        # Without a row it was the first attempt that was cut off.
        self.expected = {named(x): (2, True) for x in self.place.effects()}
        for operation, (number, state) in recorded.items():
            self.expected[operation] = (number + 1, state != e.ATTEMPT_FAILED)

    def check_executions(self) -> None:
        """Each execution since the last kill is the one that the file then promised."""
        fresh = self.place.effects()[self.looked_at :]
        self.looked_at += len(fresh)
        for executions in by_operation(fresh).values():
            first = executions[0]
            assert named(first) not in self.over, f"{first} had its outcome in the journal"
            told = (first.number, first.interrupted)
            # An attempt may be cut off before it could leave a trace.
            allowed = self.expected.get(named(first))
            assert told == allowed if allowed else told in [(1, False), (2, True)], first
            for before, after in pairwise(executions):
                assert first.step == "flaky", f"{after} was not the first in this life"
                assert (after.number, after.interrupted) == (before.number + 1, False)

    def judge(self, lives: int) -> None:
        """At the end: nothing acknowledged is lost, nothing happened twice."""
        self.check_executions()
        self.check_orders(lives)
        self.check_messages()
        assert self.place.rows("PRAGMA integrity_check") == [("ok",)]

    def check_orders(self, lives: int) -> None:
        assert set(self.spawned) <= set(self.done)
        runs = self.place.rows("SELECT id, generation, status FROM monolite_runs")
        ids = [id for id, _, _ in runs]
        assert len(set(ids)) == len(ids)
        assert {(generation, status) for _, generation, status in runs} == {(1, "completed")}
        children = {f"{id}/leaf#1" for id in self.done}
        assert set(ids) == {*self.done, *children, "collector"}
        attempted = by_operation(self.place.effects())
        journal = self.place.rows("SELECT id, kind, key FROM monolite_timeline ORDER BY id, n")
        entries: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for id, kind, key in journal:
            entries[id].append((kind, key))
        for id, done in self.done.items():
            number = int(id.rpartition("-")[2])
            assert sorted(entries[id]) == sorted(entries_of_order(number))
            assert entries[f"{id}/leaf#1"] == [("activity", "threaded#1")]
            assert done["child"] == "leaf"
            once = len(attempted.get((id, "once#1"), []))
            assert once == 1 if done["once"] == "once" else once <= 1
            if number % 3 == 1 and done["once"] == "once":
                assert attempted[id, "once#1"][0].life == lives, "only the last life is patient"
        keys = {x.key: named(x) for x in self.place.effects()}
        assert len(keys) == len(attempted), "one idempotency key for each operation"

    def check_messages(self) -> None:
        for sender in storm.SENDERS:
            received = [number for who, number in self.collected if who == sender]
            assert received == list(range(1, max(self.sent[sender]) + 1))
            assert sorted(set(self.sent[sender])) == received


def named(x: Effect) -> tuple[str, str]:
    """The operation that an execution belongs to: run and key, as in the journal."""
    return x.run, x.key.rpartition("/")[2]


def by_operation(effects: list[Effect]) -> dict[tuple[str, str], list[Effect]]:
    grouped: dict[tuple[str, str], list[Effect]] = defaultdict(list)
    for x in effects:
        grouped[named(x)].append(x)
    return grouped


def entries_of_order(number: int) -> list[tuple[str, str]]:
    """What the journal of an order holds when it is done, whatever happened meanwhile."""
    activities = ["effect#1", "effect#2", "effect#3", "threaded#1", "flaky#1", "once#1"]
    if number % 3 == 0:
        activities.append("hangs_at_first#1")
    return [("activity", key) for key in activities] + [("child", "leaf#1"), ("timer", "timer#1")]
