"""The owner's lock: asking who has it never keeps anybody from taking it."""

from __future__ import annotations

import fcntl
import os
import threading
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


def test_the_lock_is_taken_while_somebody_asks_for_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "app.db"
    asking = os.open(tmp_path / "app.db.lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(asking, fcntl.LOCK_SH)
    tried = threading.Event()
    monkeypatch.setattr(owner, "_is_only_asked_about", _noting(tried))
    answered = threading.Thread(target=lambda: (tried.wait(), os.close(asking)))
    answered.start()
    lock = OwnerLock(path, ME, takeover=False)
    answered.join()
    assert owner_of(path) == ME
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


def _noting(tried: threading.Event) -> object:
    inner = owner._is_only_asked_about

    def ask(fd: int) -> bool:
        try:
            return inner(fd)
        finally:
            tried.set()

    return ask
