"""kill -9 while requests and promises are open: each has exactly one effect, and one answer."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import apsw
import pytest

from monolite import Client, Handle
from tests.processes.child import Child
from tests.processes.desk import add, adder, go_on, promised, token

ENGINE = "tests.processes.desk"
ASKED = 30


def effects(path: Path) -> Counter[str]:
    con = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    con.set_busy_timeout(5_000)
    found = Counter(str(what) for (what,) in con.execute("SELECT what FROM effects"))
    con.close()
    return found


async def storm(path: Path, rounds: int, seed: str) -> None:
    """Ask the same questions in every life; the last lets all of them be answered."""
    rng = random.Random(seed)
    answers: dict[int, int] = {}

    async def ask(run: Handle[int], number: int) -> None:
        found = await run.update(add, number, id=f"m-{number}")
        assert answers.setdefault(number, found) == found, "an answer never changes"

    async with Client(path, create=True) as client:
        run = await client.spawn(adder(), id="adder")
        for life in range(rounds + 1):
            with Child(ENGINE, path) as engine:
                await asyncio.to_thread(engine.hear, "open")
                asked = [asyncio.ensure_future(ask(run, n)) for n in range(1, ASKED + 1)]
                if life == rounds:
                    await asyncio.gather(*asked)
                    assert await client.handle("adder").update(add, 1_000, id="last")
                    assert engine.finish() == 0
                    break
                enough = rng.randint(1, ASKED // 2)
                for _ in range(enough):
                    await asyncio.wait(asked, return_when="FIRST_COMPLETED")
                    asked = [x for x in asked if not x.done()]
                    if not asked:
                        break
                engine.kill()
                for left in asked:
                    left.cancel()
                await asyncio.gather(*asked, return_exceptions=True)
    assert effects(path) == {f"add {n}": 1 for n in [*range(1, ASKED + 1), 1_000]}
    assert sorted(answers) == list(range(1, ASKED + 1))
    assert max(answers.values()) == sum(range(1, ASKED + 1))
    assert len(set(answers.values())) == ASKED


async def test_requests_have_one_effect_and_one_answer(tmp_path: Path) -> None:
    await storm(tmp_path / "app.db", 3, "few")


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_requests_have_one_effect_and_one_answer_in_thirty_lives(tmp_path: Path) -> None:
    await storm(tmp_path / "app.db", 30, "thirty")


async def the_token(run: Handle[int]) -> str:
    async for text in run.watch(token):
        return text
    raise AssertionError("the run ended without a promise")


@pytest.mark.parametrize("engine_runs", [True, False], ids=["engine", "no engine"])
@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
async def test_a_promise_is_kept_once(tmp_path: Path, early: bool, engine_runs: bool) -> None:
    """Resolved before or after it is waited for, with an engine or between two lives, twice."""
    path = tmp_path / "app.db"
    async with Client(path, create=True) as client:
        run = await client.spawn(promised(early), id="p")
        with Child(ENGINE, path) as engine:
            await asyncio.to_thread(engine.hear, "open")
            given = await the_token(run)
            if engine_runs:
                assert await client.resolve(given, 7)
            engine.kill()
        if not engine_runs:
            assert await client.resolve(given, 7)
        for _ in range(2):
            with Child(ENGINE, path) as engine:
                await asyncio.to_thread(engine.hear, "open")
                again = await client.resolve(given, 8)
                assert again.reason in ("duplicate", "the run has completed")
                engine.kill()
        with Child(ENGINE, path) as engine:
            await client.handle("p").signal(go_on, None, id="go")
            assert await run.result() == 7
            assert engine.finish() == 0
    assert effects(path) == {"got 7": 1}
