"""The owner's lock: asking who has it never keeps anybody from taking it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from monolite.errors import FileOwned
from monolite.store.sqlite import owner
from monolite.store.sqlite.owner import Owner, OwnerLock, owner_of

ME = Owner(1, "here", "now")


def test_a_file_has_an_owner_while_the_lock_is_held(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    assert owner_of(path) is None
    lock = OwnerLock(path, ME, takeover=False)
    assert owner_of(path) == ME
    lock.release()
    assert owner_of(path) is None


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
