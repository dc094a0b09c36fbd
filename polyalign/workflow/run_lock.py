"""One workflow a folder at a time, by a lock that ends with the process that holds it.

Snakemake's own lock is a file that a killed run leaves behind, which `--unlock` then has to remove. This one is the
kernel's: a run that was killed starts again as it is, and two never write to one folder at once. A folder that cannot
be written to is told before anything is planned, and what killed jobs left half-written is swept away.
"""

import fcntl
import os
import re
import shutil
from pathlib import Path

from polyalign.errors import BadInput

_WRITTEN = ("results", "resources", "work", "logs", "benchmarks")
"""Folders that rules write to."""
_held: dict[Path, int] = {}
"""Open locks of this process, by folder; they have to stay open as long as it runs."""


def check_writable(folder: Path) -> None:
    """Raise `BadInput` where a working folder, or one of those below it that rules write to, is read-only."""
    for place in (folder, *(folder / name for name in _WRITTEN)):
        if place.exists() and not os.access(place, os.W_OK):
            raise BadInput(
                "this folder is read-only",
                file=place,
                fix="have it mounted for writing, or work in another --directory",
            )


def _lock_file(folder: Path) -> Path:
    return folder / ".snakemake" / "polyalign.lock"


def is_held(folder: Path) -> bool:
    """Whether a workflow is running in `folder`; never so on a file system that knows no locks."""
    try:
        handle = os.open(_lock_file(folder), os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def hold_folder(folder: Path) -> bool:
    """Keep every other workflow out of `folder` until this process ends.

    Returns:
        Whether the lock is held; False on a file system that knows no locks.

    Raises:
        BadInput: another workflow holds it.
    """
    folder = folder.resolve()
    path = _lock_file(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise BadInput(
            "another workflow is running here",
            file=folder,
            fix="wait until it ends, or work in another --directory",
        ) from None
    except OSError:
        os.close(handle)
        return False
    _held[folder] = handle
    return True


def sweep(folder: Path) -> None:
    """Remove what killed jobs were writing in `folder`, which `hold_folder` must hold.

    Files and folders are written aside as `.{process}.{name}` (`polyalign.files`); a killed process renames nothing.
    """
    for root in ("results", "resources"):
        for path in sorted((folder / root).rglob(".*")):
            if not re.fullmatch(r"\.\d+\..+", path.name):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
