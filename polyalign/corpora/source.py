"""The raw files of one corpus: found, opened and checked, streamed row by row, never unpacked to disk.

Every reader goes through a `Source`, so that a missing file, a broken line or a field of the wrong type is
one `BadInput` line naming file, row and field, and a row that cannot be used is counted by cause.
"""

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from polyalign.archives import member_names, open_zip, read_member
from polyalign.errors import BadInput
from polyalign.files import open_parquet, parse_json, read_jsonl

Row = dict[str, Any]
Kind = str | tuple[str, ...]
Turn = dict[str, str]

BATCH_ROWS = 2048
LOCAL_SPLIT = (("train", 0.9), ("dev", 0.05), ("test", 0.05))
"""Split weights of a corpus that is released in one piece."""
HELD_OUT_SPLIT = (("train", 0.9), ("dev", 0.1))
"""Split weights of a corpus whose official validation data became the test split."""

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?:-[0-9a-f]+)?\.parquet$")
_SEPARATOR = re.compile(r"[\s,]*")
_BLOCK = 1 << 18
_LONGEST_ITEM = 1 << 26
"""Characters of one item of an array; a gzip file can unpack to any number of them."""
_FETCH_AGAIN = "fetch or mirror the corpus again (see config/sources.yaml)"


class Draft(NamedTuple):
    """What a reader yields: a record before length bin and bucket, its texts not yet normalized.

    The turns of `history` are normalized already, since records of one conversation share them.
    """

    split: str
    id: str
    question: str
    human_answer: str
    context: str
    history: list[Turn]
    meta: Row


class Place(NamedTuple):
    """Where a row stands, for error messages: a file and a 1-based row."""

    file: str
    row: int

    def problem(self, field: str, value: Any, expected: str) -> BadInput:
        """The error for a field that has no usable value."""
        found = "missing or null" if value is None else f"found {type(value).__name__} {value!r:.60}"
        return BadInput(found, file=self.file, row=self.row, field=field, expected=expected, fix=_FETCH_AGAIN)


def text_of(row: Mapping[str, Any], field: str, place: Place) -> str:
    """The string at `field`; raises `BadInput` when it is missing, null or not a string."""
    value = row.get(field)
    if not isinstance(value, str):
        raise place.problem(field, value, "a string")
    return value


def list_of(row: Mapping[str, Any], field: str, kind: type, place: Place) -> list[Any]:
    """The list at `field` with all items of `kind`; raises `BadInput` otherwise. Null counts as empty."""
    value = row.get(field)
    if value is None:
        return []
    # The types of all items at once: far faster than asking one by one.
    if not isinstance(value, list) or not all(issubclass(found, kind) for found in set(map(type, value))):
        raise place.problem(field, value, f"a list of {kind.__name__}")
    return value


def struct_of(row: Mapping[str, Any], field: str, place: Place) -> Row:
    """The object at `field`; raises `BadInput` when it is anything else. Null counts as empty."""
    value = row.get(field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise place.problem(field, value, "an object")
    return value


@dataclass
class Source:
    """One corpus on disk and how it is to be read.

    Attributes:
        folder: the folder with the corpus' files in their official layout.
        dataset: the corpus.
        seed: seed of the local splits.
        quirks: reproduce what the published formatter did wrong (docs/data.md lists it).
        dropped: rows left out, by cause.
        at: the row that was read last.
    """

    folder: Path
    dataset: str
    seed: int = 42
    quirks: bool = False
    dropped: Counter[str] = field(default_factory=Counter)
    at: Place | None = None

    def drop(self, cause: str) -> None:
        """Count one row that gives no record."""
        self.dropped[cause] += 1

    def missing(self, name: str) -> BadInput:
        """The error for a file that is not there."""
        return BadInput(
            f"raw file of {self.dataset} is missing",
            file=self.folder / name,
            expected=f"the files listed for {self.dataset} in config/sources.yaml",
            fix="mirror or fetch the corpus, or correct the source folder",
        )

    def file(self, name: str) -> Path:
        """Path of a raw file that must exist and hold something."""
        path = self.folder / name
        if not path.is_file():
            raise self.missing(name)
        return self._filled(path)

    def files(self, pattern: str) -> list[Path]:
        """Files matching a glob below the folder, in name order; at least one must exist."""
        found = sorted(path for path in self.folder.glob(pattern) if path.is_file())
        if not found:
            raise self.missing(pattern)
        return list(map(self._filled, found))

    def _filled(self, path: Path) -> Path:
        if path.stat().st_size == 0:
            raise BadInput(
                "the file is empty", file=path, expected=f"rows of {self.dataset}", fix=_FETCH_AGAIN
            )
        return path

    def shards(self, split: str) -> list[Path]:
        """The Parquet shards of a split, in order; raises `BadInput` naming the one that is missing."""
        found = self.files(f"{split}-*.parquet")
        numbers = []
        for path in found:
            match = _SHARD.search(path.name)
            if not match:
                raise BadInput(
                    "not a shard name",
                    file=path,
                    expected=f"{split}-00000-of-0000N.parquet",
                    fix=_FETCH_AGAIN,
                )
            numbers.append((int(match[1]), int(match[2])))
        total = numbers[0][1]
        for position in range(total):
            if (position, total) not in numbers:
                raise self.missing(f"{split}-{position:05d}-of-{total:05d}.parquet")
        if len(found) != total:
            raise BadInput(
                f"{len(found)} shards of split {split} where their names say {total}",
                file=self.folder,
                fix="keep the shards of one revision only",
            )
        return found

    def table(self, split: str, columns: Mapping[str, Kind]) -> Iterator[tuple[Place, Row]]:
        """Stream (place, row) of a split's Parquet shards.

        Args:
            columns: {column: kind} with kind `text` (no nulls), `text?`, `list` or `any`, or the fields that are
                read of a struct.
        """
        wanted = [
            path
            for name, kind in columns.items()
            for path in ([name] if isinstance(kind, str) else [f"{name}.{field}" for field in kind])
        ]
        for path in self.shards(split):
            with open_parquet(path) as parquet:
                _check_columns(parquet.schema_arrow, columns, path)
                row = 0
                for batch in _batches(parquet, wanted, path):
                    _check_nulls(batch, columns, path, row)
                    for value in _values(batch, path, row):
                        row += 1
                        self.at = Place(str(path), row)
                        yield self.at, value

    def jsonl(self, path: Path) -> Iterator[tuple[Place, Row]]:
        """Stream (place, object) of a JSONL file."""
        for row, value in read_jsonl(path):
            self.at = Place(str(path), row)
            yield self.at, value

    def gzipped_array(self, name: str) -> Iterator[tuple[Place, Row]]:
        """Stream (place, object) of a gzipped JSON array without holding the array."""
        path, row = self.file(name), 0
        try:
            with gzip.open(path, "rt", encoding="utf-8") as handle:
                for row, value in enumerate(_array_items(handle, path), start=1):
                    self.at = Place(str(path), row)
                    if not isinstance(value, dict):
                        raise self.at.problem("row", value, "an object")
                    yield self.at, value
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BadInput(
                f"broken gzip file ({error})",
                file=path,
                row=row + 1,
                expected="a whole gzip stream",
                fix=_FETCH_AGAIN,
            ) from None
        except UnicodeDecodeError as error:
            raise BadInput(
                f"not UTF-8 in this row or soon after ({error.reason})",
                file=path,
                row=row + 1,
                expected="UTF-8 text",
                fix=_FETCH_AGAIN,
            ) from None

    def zip_members(self, name: str, wanted: Mapping[str, str]) -> dict[str, tuple[str, bytes]]:
        """Read members of a zip by base name, without writing anything to disk.

        Args:
            wanted: {key: base name of the member}.

        Returns:
            {key: (path for messages, bytes)}.

        Raises:
            BadInput: the zip is broken, a member is missing or double, or a member points outside.
        """
        path = self.file(name)
        found: dict[str, tuple[str, bytes]] = {}
        with open_zip(path, _FETCH_AGAIN) as archive:
            names = member_names(archive)
            for key, base in wanted.items():
                matches = [member for member in names if PurePosixPath(member).name == base]
                if len(matches) != 1:
                    raise BadInput(
                        f"{len(matches)} members named {base}",
                        file=path,
                        expected=f"one of each of {', '.join(wanted.values())}",
                        fix=_FETCH_AGAIN,
                    )
                found[key] = (f"{path}!{matches[0]}", read_member(archive, matches[0]))
        return found


def decode(content: bytes, file: str) -> str:
    """UTF-8 text of a member; raises `BadInput` otherwise."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"not UTF-8 ({error.reason} at byte {error.start})",
            file=file,
            row=content.count(b"\n", 0, error.start) + 1,
            expected="UTF-8 text",
            fix=_FETCH_AGAIN,
        ) from None


def _array_items(handle: TextIO, path: Path) -> Iterator[Any]:
    """Items of a JSON array of objects, read block by block."""

    def refuse(constant: str) -> None:
        raise BadInput(f"{constant} is not JSON", file=path, expected="strict JSON", fix=_FETCH_AGAIN)

    decoder, number = json.JSONDecoder(parse_constant=refuse), 1
    text = handle.read(_BLOCK)
    start = _SEPARATOR.match(text).end()
    if text[start : start + 1] != "[":
        raise BadInput("not a JSON array", file=path, expected="'[' first", fix=_FETCH_AGAIN)
    start += 1
    while True:
        start = _SEPARATOR.match(text, start).end()
        if text[start : start + 1] == "]":
            return
        try:
            value, end = decoder.raw_decode(text, start)
        except json.JSONDecodeError as error:
            # The item may go on in the next block; doubling the unread rest keeps very long items linear.
            block = handle.read(max(_BLOCK, len(text) - start))
            if not block or len(text) - start > _LONGEST_ITEM:
                raise BadInput(
                    f"not valid JSON ({error.msg})",
                    file=path,
                    row=number,
                    expected="an array of objects to its end",
                    fix=_FETCH_AGAIN,
                ) from None
            text, start = text[start:] + block, 0
            continue
        if "\\ud" in text[start:end].lower():
            # Escaped surrogates must form pairs: the careful parser says so.
            parse_json(text[start:end], file=path)
        yield value
        start = end
        number += 1


def _check_columns(schema: pa.Schema, columns: Mapping[str, Kind], path: Path) -> None:
    """Raise `BadInput` unless every column is there with its kind."""
    fits = {
        "text": _is_text,
        "text?": _is_text,
        "list": lambda kind: pa.types.is_list(kind) or pa.types.is_large_list(kind),
        "any": lambda kind: True,
    }
    for name, kind in columns.items():
        if name not in schema.names:
            raise BadInput(
                "column is missing",
                file=path,
                field=name,
                expected=f"columns {', '.join(columns)}",
                fix=_FETCH_AGAIN,
            )
        found = schema.field(name).type
        fit = fits[kind] if isinstance(kind, str) else pa.types.is_struct
        if not (fit(found) or pa.types.is_null(found)):
            raise BadInput(
                f"column of type {found}",
                file=path,
                field=name,
                expected=kind.rstrip("?") if isinstance(kind, str) else "struct",
                fix=_FETCH_AGAIN,
            )
        if isinstance(kind, tuple) and pa.types.is_struct(found):
            names = {found.field(index).name for index in range(found.num_fields)}
            for missing in sorted(set(kind) - names):
                raise BadInput(
                    "field of the column is missing",
                    file=path,
                    field=f"{name}.{missing}",
                    expected=f"fields {', '.join(kind)}",
                    fix=_FETCH_AGAIN,
                )


def _batches(parquet: pq.ParquetFile, columns: list[str], path: Path) -> Iterator[pa.RecordBatch]:
    """Batches of some columns; broken data in the middle of the file is a `BadInput`."""
    try:
        yield from parquet.iter_batches(batch_size=BATCH_ROWS, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(
            f"broken Parquet data ({error})", file=path, expected="a whole Parquet file", fix=_FETCH_AGAIN
        ) from None


def _values(batch: pa.RecordBatch, path: Path, before: int) -> list[Row]:
    """Rows of a batch as objects; the first text that is not UTF-8 is a `BadInput` naming row and column."""
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        for row in range(batch.num_rows):
            for name in batch.schema.names:
                try:
                    batch.column(name)[row].as_py()
                except UnicodeDecodeError as error:
                    raise BadInput(
                        f"not UTF-8 ({error.reason})",
                        file=path,
                        row=before + row + 1,
                        field=name,
                        expected="UTF-8 text",
                        fix=_FETCH_AGAIN,
                    ) from None
        raise


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _check_nulls(batch: pa.RecordBatch, columns: Mapping[str, Kind], path: Path, before: int) -> None:
    """Raise `BadInput` naming the first null in a column that may have none."""
    for name, kind in columns.items():
        if kind == "text" and batch.column(name).null_count:
            first = batch.column(name).is_null().index(pa.scalar(True)).as_py()
            raise Place(str(path), before + first + 1).problem(name, None, "a string")
