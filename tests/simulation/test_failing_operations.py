"""The n-th operation on the disk fails, for every n: no acknowledgement without durability."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from unittest.mock import patch

import pytest

from monolite.errors import CommitUnknown, FileDamaged, FileForeign, StorageFull
from monolite.store.sqlite import log
from tests.simulation.chain import FRAME_BYTES
from tests.simulation.faults import Fault, Operation, Trouble
from tests.simulation.trial import Trial
from tests.simulation.vfs import SimVFS

TROUBLES: dict[Operation, tuple[Trouble, ...]] = {
    "write": ("EIO", "ENOSPC", "short"),
    "sync": ("EIO", "ENOSPC"),
    "truncate": ("EIO",),
    "open": ("EIO", "ENOSPC"),
    "delete": ("EIO",),
    "read": ("EIO",),
}


@pytest.fixture(autouse=True)
def _small_log() -> Iterator[None]:
    room = 12 * FRAME_BYTES + 32
    with patch.object(log, "LOG_PAGES_MAX", 12), patch.object(log, "ROOM_BYTES", room):
        yield


def every_fault(vfs: SimVFS, directory: Path, operation: Operation) -> Iterator[Fault]:
    """Yield a fault at each place where an undisturbed trial has this operation."""
    trial = Trial(vfs, directory / "undisturbed", "trial")
    places = trial.run().counts[operation, None]
    trial.end()
    assert not trial.told
    for trouble, forever in product(TROUBLES[operation], (False, True)):
        for at in range(1, places + 1):
            yield Fault(operation, trouble, at, forever)


@pytest.mark.parametrize(
    "every", [pytest.param(7, id="some"), pytest.param(1, marks=pytest.mark.slow, id="all")]
)
@pytest.mark.parametrize("operation", TROUBLES)
def test_an_operation_fails(vfs: SimVFS, directory: Path, operation: Operation, every: int) -> None:
    told: Counter[type[Exception]] = Counter()
    struck = 0
    for number, fault in enumerate(every_fault(vfs, directory, operation)):
        if number % every:
            continue
        trial = Trial(vfs, directory / str(number), "trial")
        try:
            struck += bool(trial.run(fault).struck)
        except BaseException as error:
            error.add_note(str(fault))
            raise
        trial.end()
        told += trial.told
    assert struck
    assert told.keys() <= {StorageFull, CommitUnknown, FileDamaged, FileForeign}
