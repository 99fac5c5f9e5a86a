"""The owner's lock: asking who has it never keeps anybody from taking it."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import apsw
import pytest

from monolite.errors import FileForeign, FileOwned, MonoliteError, StorageFull
from monolite.store.sqlite import log, owner
from monolite.store.sqlite.owner import Owner, OwnerLock, owner_of
from monolite.store.sqlite.store import SqliteStore
from tests.store.samples import a_run, batch

ME = Owner(1, "here", "now")


def test_a_file_has_an_owner_while_the_lock_is_held(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    assert owner_of(path) is None
    lock = OwnerLock(path, ME, takeover=False)
    assert owner_of(path) == ME
    lock.release()
    assert owner_of(path) is None


def test_who_was_passed_over_before_it_opened_the_file_does_not_open_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stopped between its lock and its epoch, which would have fenced the new owner."""
    path = tmp_path / "app.db"
    taken: list[SqliteStore] = []
    rewrite = log.rewrite

    def pass_over(con: apsw.Connection, of: Path) -> int:
        monkeypatch.setattr(log, "rewrite", rewrite)
        taken.append(SqliteStore.own(path, now_us=0, takeover=True))
        return rewrite(con, of)

    monkeypatch.setattr(log, "rewrite", pass_over)
    with pytest.raises(FileOwned, match=f"process {os.getpid()} on"):
        SqliteStore.own(path, now_us=0)
    (owner_now,) = taken
    owner_now.commit(batch(a_run(2)))
    assert owner_now.epoch == 1
    owner_now.close()


@pytest.mark.parametrize(
    ("trouble", "told"), [(errno.ENOSPC, StorageFull), (errno.EACCES, FileForeign)]
)
@pytest.mark.parametrize("name", ["app.db", "app.db.lock"])
def test_a_file_or_lock_that_cannot_be_made_is_told_in_our_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    trouble: int,
    told: type[MonoliteError],
) -> None:
    real = os.open

    def refusing(path: Path, flags: int, mode: int = 0o777) -> int:
        if Path(path) == tmp_path / name:
            raise OSError(trouble, os.strerror(trouble))
        return real(path, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        with pytest.raises(told, match=r"app\.db"):
            SqliteStore.own(tmp_path / "app.db", now_us=0)
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_the_file_has_the_same_owner(tmp_path: Path) -> None:
    path, link = tmp_path / "app.db", tmp_path / "link.db"
    path.write_bytes(b"")
    link.symlink_to(path)
    lock = OwnerLock(path, ME, takeover=False)
    assert owner_of(link) == ME
    lock.release()


def test_the_lock_is_taken_once_those_who_ask_for_its_owner_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "app.db"
    asking = os.open(tmp_path / "app.db.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(asking, fcntl.LOCK_SH)
    waits: list[float] = []

    def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        os.close(asking)

    monkeypatch.setattr("monolite.store.sqlite.owner.time.sleep", sleep)
    lock = OwnerLock(path, ME, takeover=False)
    assert owner_of(path) == ME
    assert len(waits) == 1
    lock.release()


def test_who_never_stops_asking_is_taken_for_an_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "ASKED_MAX", 3)
    asking = os.open(tmp_path / "app.db.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(asking, fcntl.LOCK_SH)
    with pytest.raises(FileOwned):
        OwnerLock(tmp_path / "app.db", ME, takeover=False)
    os.close(asking)
