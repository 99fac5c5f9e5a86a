"""The medium: what a disk would hold if the power failed now.

The kernel's view of a file is the real file. Beside it stands what has reached the medium, and
what was done since: each 512-byte sector then holds some earlier moment of that, of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

SECTOR_BYTES = 512
PAGE_BYTES = 4096
"""The kernel's page: it is written back, dropped and evicted as a whole."""

GRAINS = (SECTOR_BYTES, SECTOR_BYTES, PAGE_BYTES, 16 * PAGE_BYTES)
"""What keeps together at a cut: a sector always does, more may happen to."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset, in the kernel's memory."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


@dataclass(frozen=True, slots=True)
class Truncate:
    """A new, smaller length, in the kernel's memory."""

    length: int


def fitted(content: bytearray, length: int) -> bytearray:
    """Cut `content` at `length`, or fill it up with zeros, in place."""
    if len(content) > length:
        del content[length:]
    else:
        content.extend(bytes(length - len(content)))
    return content


def put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        fitted(content, offset)
    content[offset : offset + len(data)] = data


@dataclass(slots=True)
class Inode:
    """One file, whatever it is called: its bytes on the medium, and the changes not yet there."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write | Truncate] = field(default_factory=list[Write | Truncate])
    length: int = 0
    """As the kernel has it."""
    dropped: bool = False
    """Whether a failed sync has left pages in the cache that the medium will never get."""

    def write(self, offset: int, data: bytes) -> None:
        self.pending.append(Write(offset, data))
        self.length = max(self.length, offset + len(data))

    def truncate(self, length: int) -> None:
        if length < self.length:
            self.pending.append(Truncate(length))
            self.length = length

    def sync(self) -> None:
        """Everything reaches the medium."""
        self.durable = self.written_back()
        self.pending.clear()

    def written_back(self) -> bytearray:
        """Return the bytes with every pending change."""
        content = bytearray(self.durable)
        for change in self.pending:
            match change:
                case Write():
                    put(content, change.offset, change.data)
                case Truncate():
                    fitted(content, change.length)
        return fitted(content, self.length)

    def fail_sync(self, chance: Random) -> None:
        """Some of it reaches the medium; the rest is dropped, and the cache goes on showing it."""
        self.durable = self.settled(chance)
        self.dropped = self.dropped or bool(self.pending)
        self.pending.clear()

    def settled(self, chance: Random) -> bytearray:
        """Return what the medium holds after a power cut at this moment."""
        if not self.pending:
            return bytearray(self.durable)
        # The length is in the file system's own journal, which keeps its order. A write behind a
        # truncation that did not get there went to blocks that the file does not have.
        journaled = chance.randint(0, len(self.pending))
        reachable = self._before_a_truncation(journaled)
        length = len(self.durable)
        content = bytearray(self.durable)
        kept = self._kept(chance, reachable)
        for number, change in enumerate(self.pending[:reachable]):
            match change:
                case Truncate():
                    fitted(content, change.length)
                    length = change.length
                case Write():
                    if number < journaled:
                        length = max(length, change.end)
                    for grain, start, stop in kept.parts(change):
                        if kept.left[grain] > 0:
                            kept.left[grain] -= 1
                            put(
                                content, start, change.data[start - change.offset :][: stop - start]
                            )
        return fitted(content, length)

    def _before_a_truncation(self, journaled: int) -> int:
        """Return how many changes come before the first truncation that was not journaled."""
        for number in range(journaled, len(self.pending)):
            if isinstance(self.pending[number], Truncate):
                return number
        return len(self.pending)

    def _kept(self, chance: Random, reachable: int) -> Kept:
        """Draw, for each grain of the file, how many of its writes have reached the medium."""
        kept = Kept(chance.choice(GRAINS))
        for change in self.pending[:reachable]:
            if isinstance(change, Write):
                kept.left.update(grain for grain, _, _ in kept.parts(change))
        style = chance.random()
        if style < 0.15:
            kept.left.clear()
        elif style < 0.85:
            whole = chance.random()
            for grain, writes in kept.left.items():
                if chance.random() > whole:
                    kept.left[grain] = chance.randint(0, writes)
        return kept

    def evicted(self, shown: bytes, chance: Random) -> bytes:
        """Return what the kernel shows once it has let go of some of its pages."""
        if not self.dropped:
            return shown
        medium = bytes(self.written_back())
        pages = (
            chance.choice((shown, medium))[start : start + PAGE_BYTES]
            for start in range(0, len(shown), PAGE_BYTES)
        )
        return b"".join(pages)


class Kept:
    """How many of the writes to each grain of a file have reached the medium."""

    def __init__(self, grain_bytes: int) -> None:
        self.left: Counter[int] = Counter()
        self._bytes = grain_bytes

    def parts(self, change: Write) -> Iterator[tuple[int, int, int]]:
        """Yield (grain, start, stop) for each grain that a write touches."""
        start = change.offset
        while start < change.end:
            grain = start // self._bytes
            stop = min(change.end, (grain + 1) * self._bytes)
            yield grain, start, stop
            start = stop


class Medium:
    """The directory and its files. A name is on the medium only after a sync of the directory."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.names: dict[str, Inode] = {}
        """What the kernel shows."""
        self._durable: dict[str, Inode] = {}
        self._changes: list[tuple[str, Inode | None]] = []
        for name, content in (files or {}).items():
            inode = Inode(bytearray(content), length=len(content))
            self.names[name] = self._durable[name] = inode

    def link(self, name: str) -> Inode:
        inode = self.names[name] = Inode()
        self._changes.append((name, inode))
        return inode

    def unlink(self, name: str) -> None:
        if self.names.pop(name, None) is not None:
            self._changes.append((name, None))

    def sync_directory(self) -> None:
        """Every name, and every removal of one, reaches the medium: not only the caller's."""
        self._durable = dict(self.names)
        self._changes.clear()

    @property
    def unsynced(self) -> int:
        """How many changes a power cut may undo."""
        return len(self._changes) + sum(len(inode.pending) for inode in self.names.values())

    def settled(self, chance: Random) -> dict[str, bytes]:
        """Return the files that are found after a power cut at this moment."""
        histories: dict[str, list[Inode | None]] = {}
        for name, inode in self._durable.items():
            histories[name] = [inode]
        for name, change in self._changes:
            histories.setdefault(name, [None]).append(change)
        found: dict[str, bytes] = {}
        for name, history in histories.items():
            chosen = chance.choice(history)
            if chosen is not None:
                found[name] = bytes(chosen.settled(chance))
        return found
