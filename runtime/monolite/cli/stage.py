"""The stage: the files of a demo, all in one folder under the working directory."""

from __future__ import annotations

from pathlib import Path

from monolite.errors import FileOwned
from monolite.store.sqlite import connection
from monolite.store.sqlite.owner import owner_of

DATABASE = "monolite.db"
"""What `litestream.yml` replicates."""


class Stage:
    """Where a demo keeps its database, its report, and what its processes say and do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / DATABASE
        self.report = folder / "monolite-report.md"
        self.effects = folder / "monolite-effects.jsonl"
        self.logs = (folder / "monolite-engine-1.log", folder / "monolite-engine-2.log")

    def clear(self) -> None:
        """Make the folder if need be, and remove what an earlier demo left there.

        Raises FileForeign if the database is not ours, and FileOwned if an engine has it open.
        """
        self.folder.mkdir(exist_ok=True)
        connection.examine(self.database)
        owner = owner_of(self.database)
        if owner is not None:
            raise FileOwned(str(self.database), str(owner))
        beside = [self.database.with_name(DATABASE + suffix) for suffix in ("-wal", "-shm")]
        doors = [self.database.with_name(DATABASE + suffix) for suffix in (".lock", ".bell")]
        waiting = self.folder.glob(f"{DATABASE}.bell-*")
        # The log first: without its database it would be taken for the log of the next one.
        for path in (*beside, self.database, *doors, *waiting, self.report, self.effects):
            path.unlink(missing_ok=True)
        for path in self.logs:
            path.unlink(missing_ok=True)
