"""The records of both topics by execution, on disk: a million of them must not need a million places in memory."""

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

Row = tuple[str, int, int, bytes]  # execution id, number of the topic, offset, value
Group = tuple[str, list[tuple[int, bytes]]]  # execution id, its records as (number of the topic, value) in order


class Scratch:
    """A table in a temporary file that goes when this does."""

    def __init__(self, directory: Path | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="wf-verify-", dir=directory)
        # Sorting spills into files of SQLite's own: they belong beside ours, not into a /tmp that may be memory.
        os.environ.setdefault("SQLITE_TMPDIR", self._folder.name)
        self._db = sqlite3.connect(Path(self._folder.name) / "scratch.sqlite", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-16384", "temp_store=FILE"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE records (id TEXT NOT NULL, topic INTEGER, offset INTEGER, value BLOB)")
        self._db.execute("CREATE TABLE suspects (id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID")
        self._indexed = False
        self.refers = False  # whether some of the records are to be read with those of another execution

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        self._db.close()
        self._folder.cleanup()

    def add(self, rows: Sequence[Row]) -> None:
        """Keep records."""
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows)
        self._db.execute("COMMIT")

    def executions(self) -> int:
        """Return how many executions the records are of."""
        return int(self._db.execute("SELECT count(DISTINCT id) FROM records").fetchone()[0])

    def groups(self) -> Iterator[Group]:
        """Yield the records of every execution, by ascending id."""
        rows = self._db.execute("SELECT id, topic, value FROM records ORDER BY id, topic, offset")
        for execution_id, group in groupby(rows, key=lambda row: row[0]):
            yield execution_id, [(topic, value) for _, topic, value in group]

    def index(self) -> None:
        """Prepare for :meth:`records`; not to be done while :meth:`groups` are being read."""
        if not self._indexed:
            self._db.execute("CREATE INDEX by_id ON records (id)")
            self._indexed = True

    def records(self, execution_ids: Sequence[str]) -> dict[str, list[tuple[int, bytes]]]:
        """Return the records of some executions."""
        self.index()
        marks = ",".join("?" * len(execution_ids))
        found: dict[str, list[tuple[int, bytes]]] = {execution_id: [] for execution_id in execution_ids}
        query = f"SELECT id, topic, value FROM records WHERE id IN ({marks}) ORDER BY id, topic, offset"
        for execution_id, topic, value in self._db.execute(query, list(execution_ids)):
            found[execution_id].append((topic, value))
        return found

    # -- suspects: executions that differ, until a second look has told whether they do --------------------------------

    def suspect(self, states: Iterable[tuple[str, str]]) -> None:
        """Note executions that differ, each with what it looked like."""
        self._db.executemany("INSERT OR REPLACE INTO suspects VALUES (?, ?)", states)

    def clear(self, execution_ids: Iterable[str]) -> None:
        """Say that these do not differ after all."""
        self._db.executemany("DELETE FROM suspects WHERE id = ?", ((execution_id,) for execution_id in execution_ids))

    def suspects(self, after: str, limit: int) -> list[tuple[str, str]]:
        """Return suspects by ascending id, and what each looked like."""
        return self._db.execute("SELECT id, state FROM suspects WHERE id > ? ORDER BY id LIMIT ?", (after, limit)).fetchall()

    def suspected(self, *, but: str = "") -> int:
        """Return how many suspects there are, without those in a state."""
        return int(self._db.execute("SELECT count(*) FROM suspects WHERE state != ?", (but,)).fetchone()[0])
