"""One stack per data directory: an advisory lock that the system drops when its holder dies, however it dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from apps.standalone.errors import DataDirInUse

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        # The locked byte lies beyond the text, so that others can still read who holds it.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


class DataDirLock:
    """Holds a data directory for this process."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the directory, creating it where needed, or raise `DataDirInUse`."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        file = (self.data_dir / "lock").open("a+", encoding="utf-8")
        try:
            _lock(file)
        except OSError as exc:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise DataDirInUse(self.data_dir, holder) from exc
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let the directory go. The file stays: removing it would let two others lock different files of one name."""
        if self._file is not None:
            self._file.seek(0)
            self._file.truncate()
            self._file.close()
            self._file = None
