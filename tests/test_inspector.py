"""The inspector: what a file says, read from the file alone, without leaving a trace."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import apsw
import pytest

from monolite import Client, Runtime, Signal, View, workflow
from monolite.errors import FileDamaged, FileForeign, FileTooNew
from monolite.store.protocol import RunFilter
from monolite.store.sqlite.inspector import Inspector, inspect

go = Signal("go", str)
mood = View("mood", str)


@workflow
async def child() -> str:
    return "grown"


@workflow
async def parent() -> str:
    mood.set("hopeful")
    await child()
    return await go.receive()


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A file that a runtime has closed: one run is open, its child is done."""
    path = tmp_path / "app.db"
    async with Runtime(path, actors=[parent, child]) as rt:
        run = await rt.spawn(parent(), id="p")
        while not await rt.list(name="child", status="completed"):
            await run.view(mood)
    return path


def ids(inspector: Inspector) -> list[str]:
    return [run.id for run in inspector.runs(RunFilter())]


def contents(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def refuse(path: Path) -> None:
    inspect(path, ids)


async def test_it_says_what_the_file_is_and_what_is_in_it(path: Path) -> None:
    def question(inspector: Inspector) -> None:
        run = inspector.run_by_id("p")
        assert run is not None
        assert [c.id for c in inspector.children(run.no, 10)] == ["p/child#1"]
        assert inspector.children(run.no, 0) == []
        assert inspector.views(run.no) == {"mood": '"hopeful"'}
        oldest = inspector.oldest_open()
        assert oldest is not None
        assert oldest.id == "p"
        assert inspector.defects() == []
        assert inspector.undelivered_count() == 0
        assert inspector.journal_mode() == "wal"
        assert inspector.identity().format == 1
        assert inspector.identity().epoch == 1

    inspect(path, question)


async def test_a_file_that_nobody_has_open_is_read_without_a_trace(path: Path) -> None:
    before = contents(path.parent)
    assert list(before) == ["app.db"]
    assert inspect(path, ids) == ["p/child#1", "p"]
    assert contents(path.parent) == before


async def test_a_file_is_read_beside_its_engine_and_all_that_was_committed_shows(
    tmp_path: Path,
) -> None:
    path = tmp_path / "app.db"
    async with Runtime(path, actors=[parent, child]) as rt:
        run = await rt.spawn(parent(), id="p")
        assert "p" in inspect(path, ids)
        await run.signal(go, "now")
        assert await run.result() == "now"
    assert inspect(path, Inspector.oldest_open) is None


async def test_a_message_that_waits_for_an_engine_is_counted(path: Path) -> None:
    async with Client(path) as client:
        await client.handle("p").signal(go, "later")
    assert inspect(path, Inspector.undelivered_count) == 1


async def test_a_copy_with_its_log_is_read_whole_and_without_a_trace(tmp_path: Path) -> None:
    path, folder = tmp_path / "app.db", tmp_path / "copies"
    folder.mkdir()
    async with Runtime(path, actors=[parent, child]) as rt:
        await rt.spawn(parent(), id="p")
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", folder / f"copy.db{suffix}")
    before = contents(folder)
    assert "p" in inspect(folder / "copy.db", ids)
    assert contents(folder) == before


async def test_a_copy_without_its_log_says_that_the_log_is_missing(tmp_path: Path) -> None:
    path, copy = tmp_path / "app.db", tmp_path / "copy.db"
    async with Runtime(path, actors=[parent, child]):
        shutil.copyfile(path, copy)
    with pytest.raises(FileDamaged, match=r"copy\.db-wal"):
        refuse(copy)


async def test_a_copy_that_sqlite_made_is_as_good(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    con = apsw.Connection(str(path))
    con.execute("VACUUM INTO ?", (str(copy),))
    con.close()
    assert inspect(copy, ids) == ["p/child#1", "p"]
    assert inspect(copy, Inspector.journal_mode) == "rollback"


READ_ONLY = """if True:
    import os, sys
    from pathlib import Path
    from monolite.store.protocol import RunFilter
    from monolite.store.sqlite.inspector import inspect

    def look():
        return inspect(Path(sys.argv[1]), lambda i: [r.id for r in i.runs(RunFilter())])

    look()  # imports everything, which the other user may not be able to do
    if os.getuid() == 0:
        os.setuid(65534)
    print(*look())
"""


async def test_a_read_only_folder_is_enough(path: Path) -> None:
    """Root may write anywhere, so root becomes somebody who may not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy = folder / "copy.db"
        shutil.copyfile(path, copy)
        copy.chmod(0o444)
        folder.chmod(0o555)
        if not all(parent.stat().st_mode & 0o001 for parent in folder.parents):
            pytest.skip("other users cannot get to the temporary folder")
        before = contents(folder)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, copy], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "p/child#1 p\n", "")
        assert contents(folder) == before


async def test_a_change_while_it_reads_makes_it_read_again(path: Path) -> None:
    """An engine that opens the file meanwhile may move pages under the reader."""
    seen: list[list[str]] = []

    def question(inspector: Inspector) -> list[str]:
        seen.append(ids(inspector))
        if len(seen) == 1:
            con = apsw.Connection(str(path))
            con.execute("UPDATE monolite_runs SET id = 'renamed' WHERE id = 'p'")
            con.close()
        return seen[-1]

    assert inspect(path, question) == ["p/child#1", "renamed"]
    assert len(seen) == 2


async def test_damage_is_found(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[36:40] = (7).to_bytes(4, "big")  # "seven pages are free", and none is
    path.write_bytes(content)
    (defect,) = inspect(path, Inspector.defects)
    assert "reelist" in defect


async def test_damage_that_is_in_the_way_is_an_error(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(FileDamaged, match="restore it from a backup"):
        refuse(path)


async def test_a_newer_format_is_refused(path: Path) -> None:
    con = apsw.Connection(str(path))
    con.execute("UPDATE monolite_file SET format = 999")
    con.close()
    with pytest.raises(FileTooNew):
        refuse(path)


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is empty"), (b"hello, world" * 100, "not a SQLite file")]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(content)
    with pytest.raises(FileForeign, match=words):
        refuse(path)
    assert contents(tmp_path) == {"other.db": hashlib.sha256(content).hexdigest()}


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    con = apsw.Connection(str(path))
    con.execute("CREATE TABLE t (x)")
    con.close()
    with pytest.raises(FileForeign, match="another application"):
        refuse(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileForeign, match="does not exist"):
        refuse(tmp_path / "none.db")
    with pytest.raises(FileForeign, match="is a directory"):
        refuse(tmp_path)
