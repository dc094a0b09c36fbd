"""The normalized record: its schema, its text rules, and reading and writing it as Parquet or JSONL.

A record is one human answer with what it answers. Definitions: docs/method.md, Records and buckets.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from polyalign.errors import BadInput
from polyalign.files import (
    StrPath,
    TableWriter,
    atomic_path,
    dump_json,
    open_parquet,
    open_text,
    parquet_batches,
    parse_json,
    read_jsonl,
)

LANGUAGES = ("en", "zh")
TRACKS = ("single", "multi")
FAMILIES = ("assistant", "qa", "dialogue")
STYLE_BUCKETS = ("assistant_like", "longform_qa", "open_chat", "qa_search", "task_dialogue")
LENGTH_BINS = ("short", "medium", "long", "xlong")
SPLITS = ("train", "dev", "test", "validation2")
"""Splits of a corpus; validation2 exists in ELI5 alone and stays out of the merged splits."""
VIEW_SPLITS = ("train", "val", "test")
"""Splits of the merged corpora of a language: `dev` is called `val` there."""

RECORD_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("dataset", pa.string()),
        ("split", pa.string()),
        ("language", pa.string()),
        ("track", pa.string()),
        ("family", pa.string()),
        ("style_bucket", pa.string()),
        ("length_bin", pa.string()),
        ("question", pa.string()),
        ("context", pa.string()),
        ("dialogue_history", pa.list_(pa.struct([("role", pa.string()), ("text", pa.string())]))),
        ("human_answer", pa.string()),
        ("bucket_id", pa.string()),
        # Keys differ by corpus, so the column holds JSON text; record dicts hold the object.
        ("meta", pa.string()),
    ]
)
RECORD_FIELDS = tuple(RECORD_SCHEMA.names)
BATCH_ROWS = 4096

_ALLOWED = {
    "language": LANGUAGES,
    "track": TRACKS,
    "family": FAMILIES,
    "style_bucket": STYLE_BUCKETS,
    "length_bin": LENGTH_BINS,
}
CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKENS = {
    "neutral": re.compile(rf"[A-Za-z]+(?:'[A-Za-z]+)?|\d+|[{CJK}]|[^\w\s]"),
    "published": re.compile(r"\w+|[^\w\s]"),
}

_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_CJK_RUN = re.compile(rf"[{CJK}]+")
_SYMBOL = re.compile(r"[^\w\s]")
_FOREIGN_SYMBOL = re.compile(rf"[^\w\s{CJK}]")
_DIGIT = re.compile(r"\d")
_LETTERS = bytes(ord("a") if bytes([code]).isalpha() else ord(" ") for code in range(256))
_DIGITS = bytes(ord("a") if bytes([code]).isdigit() else ord(" ") for code in range(256))
_NO_SYMBOL = bytes(code for code in range(128) if not _SYMBOL.match(chr(code)))


def normalize_text(text: str | None) -> str:
    """Normalize line ends, strip lines, collapse inner whitespace and runs of blank lines (`paper`)."""
    if not text:
        return ""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\n" not in text:
        return _one_line(text)
    lines: list[str] = []
    for line in text.strip().split("\n"):
        line = _one_line(line)
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).strip()


def _one_line(text: str) -> str:
    """A line stripped, its inner whitespace collapsed; split() and \\s agree on what is a space."""
    # Most English lines have nothing to collapse. Looking for what there could be takes a quarter of the time of
    # taking the line apart, which Chinese lines with their few spaces do not cost.
    if (
        text.isascii()
        and "  " not in text
        and "\t" not in text
        and "\x0b" not in text
        and "\x0c" not in text
        and "\x1c" not in text
        and "\x1d" not in text
        and "\x1e" not in text
        and "\x1f" not in text
    ):
        return text.strip(" ")
    return " ".join(text.split())


def count_tokens(text: str, rule: str = "neutral") -> int:
    """Tokens of a normalized text: `neutral` takes CJK characters singly, `published` is `\\w+|[^\\w\\s]`."""
    if rule != "neutral":
        return len(_TOKENS[rule].findall(text))
    if text.isascii():
        return _count_ascii(text)
    foreign = "".join(_FOREIGN.findall(text))
    if _DIGIT.search(foreign):
        # Digits of other scripts join ASCII digits to one token.
        return len(_TOKENS[rule].findall(text))
    # No other token crosses from ASCII to the rest, so the two are counted apart.
    cjk = sum(map(len, _CJK_RUN.findall(foreign)))
    return _count_ascii(_FOREIGN.sub(" ", text)) + cjk + len(_FOREIGN_SYMBOL.findall(foreign))


def _count_ascii(text: str) -> int:
    """Tokens of an ASCII text: runs of letters and of digits, and every other visible sign but `_`."""
    content = text.encode("ascii")
    letters, digits = content.translate(_LETTERS), content.translate(_DIGITS)
    count = letters.count(b" a") + digits.count(b" a") + letters.startswith(b"a") + digits.startswith(b"a")
    count += len(content.translate(None, _NO_SYMBOL))
    joined_until = 0
    apostrophe = text.find("'")
    while apostrophe != -1:
        following = text.find("'", apostrophe + 1)
        before = text[joined_until:apostrophe][-1:]
        if before.isalpha() and text[apostrophe + 1 : apostrophe + 2].isalpha():
            # Two words and the apostrophe between them are one token; it can take no second apostrophe.
            count -= 2
            word = text[apostrophe + 1 : following if following != -1 else None]
            joined_until = following if following != -1 and word.isalpha() else apostrophe + 1
        apostrophe = following
    return count


def length_bin(tokens: int) -> str:
    """Bin of an answer of `tokens` tokens: <=40 short, <=120 medium, <=240 long, else xlong (`paper`)."""
    if tokens <= 40:
        return "short"
    if tokens <= 120:
        return "medium"
    return "long" if tokens <= 240 else "xlong"


def bucket_id(language: str, track: str, family: str, length_bin: str) -> str:
    """`language|track|family|length_bin` (`paper`)."""
    return f"{language}|{track}|{family}|{length_bin}"


def choose_split(key: str, weights: Sequence[tuple[str, float]], seed: int = 42) -> str:
    """The split of `key`: the first whose cumulative weight reaches the hash of seed and key (`paper`)."""
    point = int(hashlib.md5(f"{seed}:{key}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    cumulative = 0.0
    for split, weight in weights:
        cumulative += weight
        if point <= cumulative:
            return split
    return weights[-1][0]


def make_record(
    *,
    question: str,
    human_answer: str,
    context: str = "",
    dialogue_history: Sequence[tuple[str, str]] = (),
    **labels: Any,
) -> dict[str, Any]:
    """A record from texts that are not yet normalized; fills length bin, bucket and meta.length_tokens.

    Args:
        dialogue_history: earlier (role, text) turns, role `user` or `assistant`.
        labels: what else `normalized_record` takes.
    """
    return normalized_record(
        question=normalize_text(question),
        context=normalize_text(context),
        dialogue_history=[{"role": role, "text": normalize_text(text)} for role, text in dialogue_history],
        human_answer=normalize_text(human_answer),
        **labels,
    )


def normalized_record(
    *,
    id: str,
    dataset: str,
    split: str,
    language: str,
    track: str,
    family: str,
    style_bucket: str,
    question: str,
    context: str,
    dialogue_history: list[dict[str, str]],
    human_answer: str,
    meta: dict[str, Any],
    token_rule: str = "neutral",
) -> dict[str, Any]:
    """A record from texts that are normalized already; fills length bin, bucket and meta.length_tokens.

    Args:
        token_rule: how the answer's tokens are counted for the length bin, see `count_tokens`.
    """
    tokens = count_tokens(human_answer, token_rule)
    bin_name = length_bin(tokens)
    return {
        "id": id,
        "dataset": dataset,
        "split": split,
        "language": language,
        "track": track,
        "family": family,
        "style_bucket": style_bucket,
        "length_bin": bin_name,
        "question": question,
        "context": context,
        "dialogue_history": dialogue_history,
        "human_answer": human_answer,
        "bucket_id": bucket_id(language, track, family, bin_name),
        "meta": {**meta, "length_tokens": tokens},
    }


def records_to_table(records: Iterable[dict[str, Any]]) -> pa.Table:
    """Record dicts as a table of `RECORD_SCHEMA`."""
    rows = list(records)
    columns: list[pa.Array] = []
    for field in RECORD_SCHEMA:
        if field.name == "dialogue_history":
            columns.append(_history_column([row["dialogue_history"] for row in rows], field.type))
        elif field.name == "meta":
            columns.append(pa.array([dump_json(row["meta"]) for row in rows], field.type))
        else:
            columns.append(pa.array([row[field.name] for row in rows], field.type))
    return pa.Table.from_arrays(columns, schema=RECORD_SCHEMA)


def _history_column(histories: list[list[dict[str, str]]], kind: pa.DataType) -> pa.ListArray:
    """Dialogue histories as an Arrow list of structs, built from flat columns: far faster than row by row."""
    ends = list(accumulate(map(len, histories), initial=0))
    turns = list(chain.from_iterable(histories))
    fields = [pa.array([turn[name] for turn in turns], pa.string()) for name in ("role", "text")]
    structs = pa.StructArray.from_arrays(fields, fields=list(kind.value_type))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), structs, type=kind)


def table_to_records(table: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows of a record table as record dicts; further columns, such as source_index, are kept."""
    rows = table.to_pylist()
    for row in rows:
        row["meta"] = json.loads(row["meta"])
    return rows


def validate_record(record: dict[str, Any], *, file: StrPath, row: int) -> None:
    """Raise `BadInput` unless the record has every field with the right type and an allowed value."""

    def problem(field: str, text: str, expected: str) -> BadInput:
        fix = "build the records again with `python -m polyalign format`"
        return BadInput(
            text, file=file, row=row, id=record.get("id"), field=field, expected=expected, fix=fix
        )

    for field in RECORD_FIELDS:
        value = record.get(field)
        kind = {"dialogue_history": list, "meta": dict}.get(field, str)
        if not isinstance(value, kind):
            found = "missing" if field not in record else f"found {type(value).__name__}"
            raise problem(field, found, f"a {kind.__name__}")
        if field in _ALLOWED and value not in _ALLOWED[field]:
            raise problem(field, f"found {value!r}", f"one of {', '.join(_ALLOWED[field])}")
    for turn in record["dialogue_history"]:
        if not (
            isinstance(turn, dict)
            and turn.get("role") in ("user", "assistant")
            and isinstance(turn.get("text"), str)
        ):
            raise problem("dialogue_history", f"found turn {turn!r:.80}", "{role: user|assistant, text}")


def read_record_batches(
    path: StrPath, columns: list[str] | None = None, row_groups: list[int] | None = None
) -> Iterator[pa.RecordBatch]:
    """Stream a record table in batches of `BATCH_ROWS`; `columns` and `row_groups` narrow what is read."""
    with open_parquet(path) as parquet:
        missing = [name for name in columns or RECORD_FIELDS if name not in parquet.schema_arrow.names]
        if missing:
            raise BadInput(
                f"column {missing[0]} is missing", file=path, expected="a table of normalized records"
            )
        yield from parquet_batches(parquet, path, BATCH_ROWS, columns, row_groups)


def read_records(path: StrPath, start: int = 0, stop: int | None = None) -> Iterator[dict[str, Any]]:
    """Stream the records of a Parquet or JSONL(.gz) file as validated dicts.

    Args:
        start, stop: rows from 0 to read, `stop` not included; the others are passed over unread.

    Raises:
        BadInput: naming file, row and field of the first row that is not a record.
    """
    if str(path).endswith(".parquet"):
        row = 0
        for batch in read_record_batches(path):
            if stop is not None and row >= stop:
                return
            here = slice(max(0, start - row), None if stop is None else stop - row)
            first, row = row + here.start, row + batch.num_rows
            for number, record in enumerate(batch[here].to_pylist() if first < row else [], start=first + 1):
                if isinstance(record["meta"], str):
                    record["meta"] = parse_json(record["meta"], file=path, row=number)
                validate_record(record, file=path, row=number)
                yield record
    else:
        for row, record in islice(read_jsonl(path), start, stop):
            validate_record(record, file=path, row=row)
            yield record


class RecordWriter:
    """Write records to Parquet or JSONL(.gz), by suffix, in batches and atomically."""

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        self.rows = 0
        self._stack = ExitStack()
        self._pending: list[dict[str, Any]] = []

    def __enter__(self) -> "RecordWriter":
        if self.path.suffix == ".parquet":
            self._table = self._stack.enter_context(TableWriter(self.path, RECORD_SCHEMA))
        else:
            temporary = self._stack.enter_context(atomic_path(self.path))
            self._text = self._stack.enter_context(open_text(temporary, "w"))
        # Unwound first: a last batch that cannot be written discards the file like any other failure.
        self._stack.push(lambda kind, *_: self._flush() if kind is None else None)
        return self

    def write(self, record: dict[str, Any]) -> None:
        self._pending.append(record)
        if len(self._pending) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self.path.suffix == ".parquet":
            self._table.write(records_to_table(self._pending))
        else:
            self._text.writelines(dump_json(record) + "\n" for record in self._pending)
        self.rows += len(self._pending)
        self._pending = []

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)
