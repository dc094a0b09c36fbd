"""Zip archives from elsewhere: members are read into memory, never unpacked, and never more than was meant.

    with open_zip("train.zip") as archive:
        text = read_member(archive, "dialogues_train.txt")

Nothing is written, so a link inside an archive leads nowhere; a name that leads outside makes the archive untrustworthy
all the same.
"""

import errno
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from polyalign.errors import BadInput
from polyalign.files import StrPath

MOST_BYTES = 1 << 29
"""Largest member that is read: many times that of any file we take, and what a machine of the demo can hold."""


@contextmanager
def open_zip(path: StrPath, fix: str) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever is broken in it while it is read is one `BadInput` with this fix."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OSError) as error:
        # zipfile raises NotImplementedError for a compression or version that it does not know.
        # A place before the file's beginning is what a wrong directory asks for; other errors are the disk's.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise BadInput(f"broken zip file ({error})", file=path, expected="a whole archive", fix=fix) from None


def member_names(archive: zipfile.ZipFile) -> list[str]:
    """Names of the archive's files.

    Raises:
        BadInput: a name leads outside the archive, or a member is encrypted.
    """
    names = []
    for info in archive.infolist():
        name = info.filename
        parts = PurePosixPath(name.replace("\\", "/"))
        problem = None
        if parts.is_absolute() or ".." in parts.parts or re.match(r"^[A-Za-z]:", name):
            problem = f"member {name!r} points outside the archive"
        elif info.flag_bits & 1:
            problem = f"member {name!r} is encrypted"
        if problem:
            raise BadInput(
                problem,
                file=archive.filename,
                expected="relative paths to plain files",
                fix="get the file from its official source",
            )
        if not info.is_dir():
            names.append(name)
    return names


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Content of a member.

    Raises:
        BadInput: it would be larger than `MOST_BYTES`. An archive that lies about that breaks off while it is read,
            since no more is unpacked than it states.
    """
    size = archive.getinfo(name).file_size
    if size > MOST_BYTES:
        raise BadInput(
            f"member {name!r} unpacks to {size:,} bytes",
            file=Path(archive.filename or ""),
            expected=f"at most {MOST_BYTES:,}",
            fix="get the file from its official source",
        )
    return archive.read(name)
