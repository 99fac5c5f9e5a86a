"""kill -9 under queued jobs: no limit is exceeded, nothing is lost, nothing done twice."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.processes.place import Place
from tests.processes.programs import Effect
from tests.processes.queues import CALLS

MODULE = "tests.processes.queues"


def rounds(place: Place, count: int, seed: int) -> tuple[set[str], list[Any]]:
    """Kill so many lives; return what was acknowledged, and what the last life said."""
    chance = random.Random(seed)
    spawned: set[str] = set()
    for life in range(count):
        with place.process(MODULE, life) as engine:
            heard = 0
            for _ in engine.lines():
                heard += 1
                if heard > chance.randrange(1, 200):
                    break
            assert heard, engine.errors()
            engine.kill()
            spawned |= {x["spawned"] for x in engine.said if "spawned" in x and x != "spawned"}
    with place.process(MODULE, count, "--last") as engine:
        assert engine.wait() == 0, engine.errors()
        return spawned, engine.said


def check_calls(effects: list[Effect]) -> None:
    """See that calls never exceeded the limits, and ran again only after an interruption."""
    limits = CALLS.limits
    assert limits.concurrency is not None
    assert limits.per_key is not None
    for _, of_life in groupby(effects, key=lambda x: x.life):
        running: Counter[str] = Counter()
        for effect in of_life:
            word, key = effect.step.split()
            running[key] += 1 if word == "begin" else -1
            assert running.total() <= limits.concurrency
            assert max(running.values()) <= limits.per_key
    begun: dict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        if effect.step.startswith("begin"):
            begun[effect.key].append(effect)
    for attempts in begun.values():
        # One that was claimed and killed before it left a trace counts as an attempt, too.
        assert [x.number for x in attempts] == sorted({x.number for x in attempts})
        assert all(x.interrupted for x in attempts[1:])
        assert len({x.life for x in attempts}) == len(attempts), "once in a life"


def check(place: Place, count: int, seed: int) -> None:
    spawned, said = rounds(place, count, seed)
    done = [x["done"] for x in said if "done" in x]
    assert spawned <= set(done), "nothing acknowledged is lost"
    assert len(done) == len(set(done))
    assert said[-1] == {"left": [["calls", 0, 0], ["jobs", 0, 0]]}, "every slot came back"
    check_calls(place.effects())


def test_limits_hold_and_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    check(Place(tmp_path), 10, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_limits_hold_and_nothing_is_lost_in_fifty_lives(tmp_path: Path) -> None:
    check(Place(tmp_path), 50, seed=2)
