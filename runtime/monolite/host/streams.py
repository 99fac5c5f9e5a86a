"""Streams: packing what a turn appends, and passing over what is in the file already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monolite.core.entry import RunNo
from monolite.host.events import Appended

if TYPE_CHECKING:
    from monolite.host.engine import Engine


class Streams:
    """The streams of the runs of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(self, no: RunNo, name: str, source: str, items: list[str]) -> None:
        """Append to a stream; what one turn appends from one source becomes one row."""
        self._engine.batch.streams.setdefault((no, name, source), []).extend(items)

    def on_appended(self, event: Appended) -> None:
        flight = self._engine.flights.by_token.get(event.token)
        if flight is None:
            return
        source, place = flight.key, (event.token, event.name)
        skip = self._engine.batch.skips.get(place, flight.skip.get(event.name))
        if skip is None:
            skip = self._engine.store.stream_source(flight.run_no, event.name, source)
        self._engine.batch.skips[place] = max(0, skip - len(event.items))
        if fresh := event.items[skip:]:
            self.append(flight.run_no, event.name, source, fresh)

    def write(self, origins: dict[RunNo, RunNo]) -> None:
        lengths: dict[tuple[RunNo, str], int] = {}
        for (no, name, source), items in self._engine.batch.streams.items():
            length = lengths.get((no, name))
            if length is None:
                length = self._engine.store.stream_length(origins.get(no, no), name)
            lengths[no, name] = length + len(items)
            row = (no, name, length + 1, len(items), source, f"[{','.join(items)}]")
            self._engine.batch.writes.streams.append(row)
