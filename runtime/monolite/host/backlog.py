"""The backlog: the messages that wait in the file for one run, read as they are needed."""

from __future__ import annotations

from collections import deque

from monolite.core.entry import RunNo
from monolite.store.protocol import Message, Store

PAGE_MAX = 256
"""Messages read at a time. The first page is one message and each is twice the last: a turn that
takes one of thousands reads one, and a turn that takes them all reads few pages."""


class Backlog:
    """What waits for one run, as one turn of the engine sees it, in file order.

    `taken` are the rows that this turn has disposed of, which the file does not know yet.
    """

    def __init__(self, store: Store, no: RunNo, taken: set[int]) -> None:
        self._store = store
        self._no = no
        self._taken = taken
        self._page: deque[Message] = deque()
        self._size = 1
        self._last_seq = 0
        self._at_end = False
        self._ripe: deque[Message] = deque()

    def ripen(self, message: Message) -> None:
        """Add a delayed message whose time has come, and which waits now as others do."""
        self._ripe.append(message)

    def next(self, after_seq: int = 0) -> Message | None:
        """Return the first message that waits behind `after_seq`, or None."""
        self._skip(self._page, after_seq)
        while not self._page and not self._at_end:
            self._read()
            self._skip(self._page, after_seq)
        self._skip(self._ripe, after_seq)
        found = [queue[0] for queue in (self._page, self._ripe) if queue]
        return min(found, key=lambda message: message.seq or 0, default=None)

    def _skip(self, queue: deque[Message], after_seq: int) -> None:
        while queue and (queue[0].seq in self._taken or (queue[0].seq or 0) <= after_seq):
            queue.popleft()

    def _read(self) -> None:
        page = self._store.waiting(self._no, self._last_seq, self._size)
        self._at_end = len(page) < self._size
        self._size = min(2 * self._size, PAGE_MAX)
        if page:
            self._last_seq = page[-1].seq or 0
            self._page.extend(page)
