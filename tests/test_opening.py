"""Opening a file, cut short at any moment: the next one finds it fit."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import apsw
import pytest

from monolite import Client, Runtime
from monolite.errors import FileForeign
from monolite.store.sqlite import connection
from tests.processes import programs
from tests.processes.place import Place

WRITING = "write,pwrite64,fdatasync,fsync,ftruncate,unlink,openat"
"""The system calls between which a process can be killed so that it matters."""

JOURNAL = bytes.fromhex("d9d505f920a163d7")
"""Begins SQLite's rollback journal."""

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def fit(place: Place) -> None:
    """Run a workflow in the file, which must look as if nothing had been before."""
    async with Runtime(place.path, actors=[programs]) as rt:
        assert await (await rt.spawn(programs.naps(), id="n")).result() == "rested"
        assert [info.id for info in await rt.list()] == ["n"]
    assert place.rows("PRAGMA integrity_check") == [("ok",)]
    assert place.litter() == []


async def test_a_file_of_no_bytes(place: Place) -> None:
    place.path.touch()
    await fit(place)


async def test_a_file_that_is_only_marked_as_ours(place: Place) -> None:
    con = apsw.Connection(str(place.path))
    con.pragma("application_id", connection.APPLICATION_ID)
    con.close()
    await fit(place)


async def test_a_file_that_is_marked_and_has_a_log_without_tables(place: Place) -> None:
    con = apsw.Connection(str(place.path))
    con.pragma("application_id", connection.APPLICATION_ID)
    con.pragma("journal_mode", "wal")
    con.close()
    await fit(place)


async def test_a_file_that_a_killed_client_left_half_made(place: Place) -> None:
    place.path.touch()
    Path(f"{place.path}-journal").write_bytes(bytes(512))
    await fit(place)


async def test_a_file_whose_first_bytes_were_cut_off_by_a_power_failure(place: Place) -> None:
    """It has its length but not its header; the journal says that there was nothing before."""
    place.path.write_bytes(bytes(4_096))
    header = struct.pack(">8siiiii", JOURNAL, 0, 4_711, 0, 512, 4_096)
    Path(f"{place.path}-journal").write_bytes(header.ljust(512, b"\0"))
    await fit(place)


async def test_a_file_of_zeros_with_no_journal_of_its_beginning_is_left_alone(place: Place) -> None:
    place.path.write_bytes(bytes(4_096))
    header = struct.pack(">8siiiii", JOURNAL, 0, 4_711, 1, 512, 4_096)
    journal = Path(f"{place.path}-journal")
    for content in (b"", bytes(512), header):
        journal.write_bytes(content)
        with pytest.raises(FileForeign, match="is not a SQLite file"):
            async with Runtime(place.path, actors=[programs]):
                raise AssertionError
        assert (place.path.read_bytes(), journal.read_bytes()) == (bytes(4_096), content)


async def test_a_log_that_was_left_behind_by_a_file_now_gone(place: Place) -> None:
    """`rm app.db` without its log: SQLite must not play the old log into the new file."""
    with place.engine() as engine:
        engine.hear("open")
        async with place.client() as client:
            await (await client.spawn(programs.leaf("x"), id="old")).result()
        engine.kill()
    assert Path(f"{place.path}-wal").stat().st_size > 0
    place.path.unlink()
    place.log.unlink()
    await fit(place)


async def test_asking_for_a_file_that_does_not_exist_makes_none(place: Place) -> None:
    with pytest.raises(FileForeign, match="does not exist; start a Runtime on it first"):
        Client(place.path)
    assert place.litter() == []
    assert not place.path.exists()


def test_an_engine_and_clients_can_make_the_same_file_at_the_same_moment(place: Place) -> None:
    """Whoever comes first makes it; nobody sees it half made."""
    starters = [("tests.processes.sender", f"s{n}", 1, "--spawn") for n in range(4)]
    clients = [place.process(*starter) for starter in starters]
    with place.engine() as engine:
        engine.hear("opening")
        for client in clients:
            with client:
                assert client.wait() == 0, client.errors()
        assert engine.finish() == 0, engine.errors()
    assert len(place.rows("SELECT id FROM monolite_runs")) == 4


# Killed at every system call.


@needs_strace
@pytest.mark.parametrize("call", range(1, 400, 57))
async def test_an_engine_killed_at_a_system_call_leaves_a_fit_file(place: Place, call: int) -> None:
    await killed_at(place, call)


@needs_strace
@pytest.mark.slow
@pytest.mark.timeout(1_200)
async def test_an_engine_killed_at_each_system_call_leaves_a_fit_file(tmp_path: Path) -> None:
    call, was_killed = 0, True
    while was_killed:
        call += 1
        directory = tmp_path / str(call)
        directory.mkdir()
        was_killed = await killed_at(Place(directory), call)
        shutil.rmtree(directory)
    assert call > 200, "the calls were not counted"


async def killed_at(place: Place, call: int) -> bool:
    """Open, run, close, but die at the `call`-th system call of a thread; return whether it did."""
    tracer = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={WRITING}"]
    tracer += ["-e", f"inject={WRITING}:signal=KILL:when={call}"]
    with place.process("tests.processes.nap", patient=True, tracer=tracer) as engine:
        said = list(engine.lines())
        was_killed = engine.wait() != 0
    assert was_killed or said[-1] == "closed"
    async with Runtime(place.path, actors=[programs]) as rt:
        known = {info.id: info for info in await rt.list()}
        if "spawned" in said:
            assert "n" in known
        if "rested" in said:
            assert known["n"].status == "completed"
        again = await rt.spawn(programs.naps(), id="n")
        assert await again.result() == "rested"
    assert place.rows("PRAGMA integrity_check") == [("ok",)]
    (generation,) = place.rows("SELECT generation FROM monolite_runs")
    assert generation == (1,)
    return was_killed
