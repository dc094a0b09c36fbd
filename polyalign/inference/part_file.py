"""Answers as they come in: one JSON line each, appended to a file that outlives a killed job."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polyalign.files import dump_json

log = logging.getLogger(__name__)


class PartFile:
    """An append-only JSONL file of rows that each carry a `source_index`.

    A process that dies while it writes leaves a torn last line. `load` drops it, and whatever follows a line
    that cannot be read: those rows are answered again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: Any = None

    def load(self) -> dict[int, dict[str, Any]]:
        """{source_index: row} of what the file holds, first row of an index; truncates an unreadable end."""
        rows: dict[int, dict[str, Any]] = {}
        if not self.path.is_file():
            return rows
        good = 0
        with open(self.path, "rb") as handle:
            for line in handle:
                row = _parse(line)
                if row is None:
                    break
                rows.setdefault(row["source_index"], row)
                good += len(line)
        size = self.path.stat().st_size
        if good < size:
            log.warning("%s: dropped %d bytes after an unfinished line", self.path, size - good)
            os.truncate(self.path, good)
        return rows

    def __enter__(self) -> "PartFile":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = open(self.path, "ab")
        return self

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row through to the operating system, so that it survives this process."""
        self._handle.write((dump_json(row) + "\n").encode())
        self._handle.flush()

    def __exit__(self, *error: Any) -> None:
        self._handle.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    """The row of one complete line, or None."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("source_index"), int) else None
