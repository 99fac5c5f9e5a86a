"""kill -9 of a bank: nobody ever sees half a transfer, and every deposit counts once."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from tests.processes.bank import DEPOSITS, MOVERS, OPENING, SAVERS
from tests.processes.child import Child

SNAPSHOT = """
SELECT
    (SELECT total(json_extract(s.state, '$.balance')) FROM monolite_states AS s
        JOIN monolite_runs AS r ON r.no = s.run_no WHERE r.id LIKE 'Account/mover-%'),
    (SELECT total(json_extract(s.state, '$.balance')) FROM monolite_states AS s),
    (SELECT total(cents) FROM ledger),
    (SELECT count(*) FROM monolite_journal AS j JOIN monolite_runs AS r ON r.no = j.run_no
        WHERE r.id = 'marks' AND j.kind = 'transaction'),
    (SELECT n FROM watermark)
"""


class Auditor:
    """Reads snapshots of the file, on a connection and a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._over = threading.Event()
        self.snapshots = 0
        self.wrong: list[tuple[object, ...]] = []

    @contextmanager
    def at_work(self) -> Generator[None, None, None]:
        thread = threading.Thread(target=self._work)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            self._over.clear()

    def _work(self) -> None:
        con = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
        con.set_busy_timeout(5_000)
        while not self._over.is_set():
            self.look(con)
        con.close()

    def look(self, con: apsw.Connection) -> None:
        try:
            row = con.execute(SNAPSHOT).fetchone()
        except apsw.SQLError:  # before the first commit with our tables
            return
        assert row is not None
        self.snapshots += 1
        moved, states, ledger, journal, mark = row
        if moved != OPENING * len(MOVERS) or states != ledger or journal != mark:
            self.wrong.append(row)


def storm(path: Path, rounds: int, seed: str) -> None:
    rng = random.Random(seed)
    first = dict.fromkeys(SAVERS, 0)
    auditor = Auditor(path)
    for life in range(rounds):
        with Child("tests.processes.bank", path, life, json.dumps(first)) as bank:
            bank.hear("open")
            with auditor.at_work():
                words = rng.randint(1, len(SAVERS) * DEPOSITS // 3)
                heard = [word for word, _ in zip(bank.lines(), range(words), strict=False)]
                heard += bank.kill()
            _acknowledge(first, heard)
    assert auditor.wrong == []
    assert auditor.snapshots > rounds
    with Child("tests.processes.bank", path, rounds, json.dumps(first), "--last") as bank:
        assert bank.wait() == 0, bank.errors()
        _acknowledge(first, bank.said)
        said = {key: value for word in bank.said for key, value in word.items() if key == "marks"}
        statements = [word["statement"] for word in bank.said if "statement" in word]
    balances = {line.split(": ")[0]: int(line.split(": ")[1]) for line in statements}
    assert {saver: balances[saver] for saver in SAVERS} == first
    assert sum(balances[mover] for mover in MOVERS) == OPENING * len(MOVERS)
    assert min(balances.values()) >= 0
    con = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    auditor.look(con)
    (mark,) = con.execute("SELECT n FROM watermark").fetchone() or (None,)
    con.close()
    assert auditor.wrong == []
    assert mark == said["marks"]


def _acknowledge(first: dict[str, int], heard: list[dict[str, tuple[str, int]]]) -> None:
    for word in heard:
        if "saved" in word:
            saver, number = word["saved"]
            assert number >= first[saver]
            first[saver] = number + 1


def test_a_few_kills_leave_every_cent_in_its_place(tmp_path: Path) -> None:
    storm(tmp_path / "bank.db", 3, "few")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_kills_leave_every_cent_in_its_place(tmp_path: Path) -> None:
    storm(tmp_path / "bank.db", 50, "fifty")
