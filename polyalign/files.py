"""Files in and out: written aside and renamed, JSON strict, tables with a schema.

Nothing here knows what the data mean. A reader of a broken file raises `BadInput` with file and row.
"""

import gzip
import hashlib
import io
import json
import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from json.encoder import c_make_encoder, encode_basestring
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from polyalign.errors import BadInput

StrPath = str | os.PathLike[str]

_BLOCK = 1 << 20


def _aside(path: Path) -> Path:
    """A hidden sibling with the same suffix, so that writers which look at the suffix still work."""
    return path.with_name(f".{os.getpid()}.{path.name}")


@contextmanager
def made_folder(path: StrPath) -> Iterator[Path]:
    """Make a folder with its parents; on failure those that are new go again, if nothing is in them."""
    folder = Path(path)
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except BaseException:
        for place in new:
            with suppress(OSError):
                place.rmdir()
        raise


@contextmanager
def atomic_path(path: StrPath) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; rename it to `path` on success, remove it on failure."""
    final = Path(path)
    temporary = _aside(final)
    with made_folder(final.parent):
        try:
            yield temporary
            os.replace(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: StrPath) -> Iterator[Path]:
    """Yield an empty temporary sibling directory that replaces `path`, old content and all, on success."""
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = _aside(final)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if final.exists():
            retired = final.with_name(f".{os.getpid()}.old.{final.name}")
            os.replace(final, retired)
            os.replace(temporary, final)
            shutil.rmtree(retired)
        else:
            os.replace(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refuse_constant(value: str) -> float:
    raise ValueError(f"{value} is not JSON")


def _finite(value: str) -> float:
    number = float(value)
    if math.isinf(number):
        raise ValueError(f"{value} is too large for a number")
    return number


# Built once: json.loads and json.dumps build a new one for every call with options, which costs more than a
# short line.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
# What JSONEncoder.encode makes anew for every value: a third of the time for a record's meta.
_ENCODE = c_make_encoder(None, _ENCODER.default, encode_basestring, None, ": ", ", ", False, False, False)


def _refuse_lone_surrogates(text: str, value: Any) -> None:
    """Half of a surrogate pair can be escaped in JSON but never written as UTF-8."""
    if "\\ud" in text or "\\uD" in text:
        try:
            dump_json(value).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair (\\ud800 to \\udfff) stands alone") from None


def parse_json(text: str | bytes, *, file: StrPath, row: int | None = None) -> Any:
    """Parse strict JSON (no NaN, no Infinity); raise `BadInput` naming file and row otherwise."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        value = _DECODER.decode(text)
        _refuse_lone_surrogates(text, value)
        return value
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"not valid JSON ({error})",
            file=Path(file),
            row=row,
            expected="strict UTF-8 JSON without NaN or Infinity",
            fix="correct the line or fetch the file again",
        ) from None


def dump_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON text with non-ASCII kept; raises ValueError on NaN and infinities."""
    if indent is None:
        return "".join(_ENCODE(value, 0))
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise BadInput("file not found", file=path, fix="check the path or build the file first")


def read_json(path: StrPath) -> Any:
    """Read one strict JSON document."""
    _must_exist(Path(path))
    return parse_json(Path(path).read_bytes(), file=path)


def write_json(path: StrPath, value: Any, indent: int | None = 2) -> None:
    """Write one strict JSON document, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(dump_json(value, indent) + "\n", encoding="utf-8")


def write_text(path: StrPath, text: str) -> None:
    """Write UTF-8 text, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


class _PlainGzipWriter(gzip.GzipFile):
    """Gzip without name and time in its header: equal text gives equal bytes, whatever the temporary name."""

    def __init__(self, path: StrPath) -> None:
        self._target = open(path, "wb")  # noqa: SIM115 - closed by close(), as GzipFile does with its own
        super().__init__(filename="", mode="wb", fileobj=self._target, mtime=0)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._target.close()


def open_text(path: StrPath, mode: str = "r") -> TextIO:
    """Open UTF-8 text, through gzip when the name ends in .gz. Written gzip carries no name and no time."""
    if str(path).endswith(".gz"):
        if "w" in mode:
            return io.TextIOWrapper(_PlainGzipWriter(path), encoding="utf-8", newline="\n")
        return gzip.open(path, mode + "t", encoding="utf-8", newline="\n")
    return open(path, mode, encoding="utf-8", newline="\n")


def _decode(raw: bytes, file: Path, row: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"not UTF-8 ({error.reason} at byte {error.start} of the line)",
            file=file,
            row=row,
            expected="UTF-8 text",
            fix="re-encode the file or fetch it again",
        ) from None


def read_lines(path: StrPath) -> Iterator[tuple[int, str]]:
    """Yield (1-based number, line) of a UTF-8 text file, gzipped or not, skipping blank lines.

    Raises:
        BadInput: the file is missing, its gzip stream is broken, or a line is not UTF-8.
    """
    source = Path(path)
    _must_exist(source)
    number = 0
    opener = gzip.open if str(path).endswith(".gz") else open
    try:
        if opener is gzip.open and source.stat().st_size == 0:
            raise EOFError("the file is empty")
        # Decoded line by line, not in blocks, so that the row named is the row that is broken.
        with opener(source, "rb") as handle:
            for number, raw in enumerate(handle, start=1):
                line = _decode(raw, source, number)
                if line.strip():
                    yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(
            f"broken gzip stream ({error})", file=source, row=number + 1, fix="fetch the file again"
        ) from None


def read_jsonl(path: StrPath) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (1-based line number, object) of a JSONL file, gzipped or not."""
    for number, line in read_lines(path):
        value = parse_json(line, file=path, row=number)
        if not isinstance(value, dict):
            raise BadInput(
                f"a {type(value).__name__} stands alone on the line",
                file=path,
                row=number,
                expected="an object",
                fix="correct the line or fetch the file again",
            )
        yield number, value


def write_jsonl(path: StrPath, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write objects one a line, atomically; returns their number."""
    count = 0
    with atomic_path(path) as temporary, open_text(temporary, "w") as handle:
        for row in rows:
            handle.write(dump_json(row))
            handle.write("\n")
            count += 1
    return count


def open_parquet(path: StrPath) -> pq.ParquetFile:
    """Open a Parquet file; raises `BadInput` when it is missing or broken."""
    source = Path(path)
    _must_exist(source)
    try:
        # Read-ahead keeps all that it has read until the file is closed, which is the whole file in a stream.
        return pq.ParquetFile(source, pre_buffer=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(
            f"not a readable Parquet file ({error})",
            file=source,
            expected="a whole Parquet file",
            fix="delete it and build or fetch it again",
        ) from None


def parquet_batches(
    parquet: pq.ParquetFile,
    path: StrPath,
    rows: int,
    columns: list[str] | None = None,
    row_groups: list[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Batches of at most `rows` rows of an open Parquet file; raises `BadInput` where its data are broken."""
    done = 0
    try:
        for batch in parquet.iter_batches(batch_size=rows, columns=columns, row_groups=row_groups):
            yield batch
            done += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise BadInput(
            f"broken Parquet data ({error})", file=path, row=done + 1, fix="build or fetch the file again"
        ) from None


def read_table(path: StrPath, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet table; a column that is not there is a `BadInput` naming it."""
    with open_parquet(path) as parquet:
        missing = sorted(set(columns or ()) - set(parquet.schema_arrow.names))
        if missing:
            raise BadInput(
                f"column {missing[0]} is missing",
                file=path,
                expected=f"columns {', '.join(columns or ())}",
                fix="build the file again with this version",
            )
        try:
            return parquet.read(columns=columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInput(f"broken Parquet data ({error})", file=path, fix="build the file again") from None


def write_table(path: StrPath, table: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
    """Write a Parquet table, atomically; `metadata` is added to the schema's key-value metadata."""
    if metadata:
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **metadata})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


class TableWriter:
    """Write a Parquet table batch by batch, atomically: the file appears when the block ends well."""

    def __init__(self, path: StrPath, schema: pa.Schema) -> None:
        self.path = path
        self.schema = schema
        self.rows = 0

    def __enter__(self) -> "TableWriter":
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self.path))
            self._writer = stack.enter_context(pq.ParquetWriter(temporary, self.schema, compression="zstd"))
            self._stack = stack.pop_all()
        return self

    def write(self, batch: pa.Table | pa.RecordBatch) -> None:
        if isinstance(batch, pa.RecordBatch):
            batch = pa.Table.from_batches([batch])
        self._writer.write_table(batch.cast(self.schema))
        self.rows += batch.num_rows

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


def _digest(update_from: Callable[[Any], None]) -> str:
    digest = hashlib.sha256()
    update_from(digest)
    return digest.hexdigest()


def sha256_file(path: StrPath) -> str:
    """Hex SHA-256 of a file's bytes."""

    def feed(digest: Any) -> None:
        with open(path, "rb") as handle:
            while block := handle.read(_BLOCK):
                digest.update(block)

    return _digest(feed)


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON (sorted keys, no spaces) of a value."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
