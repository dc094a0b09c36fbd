"""Errors a user can act on: one line a problem, naming the place, what was expected and the fix.

Every such error leaves the command line and the workflow scripts with exit code 2, but for a run that was stopped
and can go on: its code asks for another try.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

EXIT_CODE = 2
RETRY_CODE = 75
"""EX_TEMPFAIL of sysexits.h: nothing is wrong, the same command goes on from where it was stopped."""


class PolyAlignError(Exception):
    """A problem stated in one clear line; it ends the program with `exit_code`."""

    exit_code = EXIT_CODE


class BadInput(PolyAlignError):
    """One problem in the input.

    Args:
        problem: what is wrong, as a short phrase.
        file: the file it was found in.
        row: the 1-based line or row number in that file.
        id: the id of the record concerned.
        field: the field or key concerned.
        expected: what should have stood there.
        fix: what the user can do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        row: int | None = None,
        id: str | int | None = None,
        field: str | None = None,
        expected: str | None = None,
        fix: str | None = None,
    ) -> None:
        place = [
            str(file) if file is not None else None,
            f"row {row}" if row is not None else None,
            f"id {id}" if id is not None else None,
            f"field '{field}'" if field is not None else None,
        ]
        line = ", ".join(part for part in place if part)
        line = f"{line}: {problem}" if line else problem
        if expected is not None:
            line += f"; expected {expected}"
        if fix is not None:
            line += f"; fix: {fix}"
        # A stray newline in a value must not break the promise of one line a problem.
        super().__init__(" ".join(line.split()))


class BadInputs(PolyAlignError):
    """Several problems, one line each; beyond `limit` only their number is told."""

    def __init__(self, problems: Sequence[BadInput | str], limit: int = 20) -> None:
        lines = [" ".join(str(problem).split()) for problem in problems[:limit]]
        if len(problems) > limit:
            lines.append(f"... and {len(problems) - limit} more problems of this kind")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type, tuple[list[str], int]]:
        # Pickle calls the class with `args`, here one text; worker processes send their errors that way.
        lines = str(self).split("\n")
        return type(self), (lines, len(lines))


_STORAGE_FIXES = {
    errno.ENOSPC: "free some space there; what is done stays done",
    errno.EDQUOT: "free some of your quota; what is done stays done",
    errno.EROFS: "write elsewhere, or have it mounted for writing",
    errno.EACCES: "ask for the right to, or work elsewhere",
    errno.EPERM: "ask for the right to, or work elsewhere",
    errno.EIO: "have the disk looked at",
}


def storage_problem(error: OSError) -> PolyAlignError | None:
    """What a disk or folder refused, as a problem of one line; None where the error is about something else."""
    code = error.errno
    if code is None:
        # Arrow keeps the number in the text alone.
        code = next((known for known in _STORAGE_FIXES if os.strerror(known) in str(error)), None)
    if code not in _STORAGE_FIXES:
        return None
    file = error.filename if isinstance(error.filename, str | os.PathLike) else None
    return BadInput(
        os.strerror(code), file=file, fix=f"{_STORAGE_FIXES[code]}, then run the same command again"
    )
