"""Example keys: the digest under which two records are the same example. docs/method.md, Deduplication."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from polyalign.data.record_columns import history_rows
from polyalign.errors import BadInput
from polyalign.files import StrPath, read_jsonl
from polyalign.records import RECORD_FIELDS, normalize_text, read_record_batches

KEY_BYTES = 20
"""Bytes of a key: SHA-1."""

_TEXT_FIELDS = ("language", "track", "family", "question", "context", "human_answer")
_LABELS = set(RECORD_FIELDS) - {*_TEXT_FIELDS, "id", "dialogue_history", "meta"}
_EMPTY = '""'


@lru_cache(maxsize=4096)
def _folded(text: str) -> str:
    """JSON string of the normalized, lower-cased text; contexts and turns recur from record to record."""
    return encode_basestring(normalize_text(text).lower())


def _key(texts: Iterable[str], turns: Iterable[tuple[str, str]]) -> bytes:
    """SHA-1 of the canonical JSON of one example.

    Args:
        texts: language, track, family, question, context and human_answer.
        turns: (role, text) of the dialogue history.
    """
    language, track, family, question, context, answer = map(_folded, texts)
    history = ", ".join(
        f'{{"role": {folded_role}, "text": {folded_text}}}'
        for role, text in turns
        if (folded_text := _folded(text or "")) != _EMPTY and (folded_role := _folded(role or "")) != _EMPTY
    )
    canonical = (
        f'{{"context": {context}, "dialogue_history": [{history}], "family": {family}, '
        f'"human_answer": {answer}, "language": {language}, "question": {question}, "track": {track}}}'
    )
    return hashlib.sha1(canonical.encode()).digest()


def example_key(record: Mapping[str, Any]) -> str:
    """Hex key under which two records are the same example (`paper`; docs/method.md, Deduplication)."""
    turns = ((turn.get("role"), turn.get("text")) for turn in record["dialogue_history"])
    return _key([record[field] for field in _TEXT_FIELDS], turns).hex()


def keyed_batches(path: StrPath) -> Iterator[tuple[list[str], list[bytes], list[Any]]]:
    """(ids, keys, metas) of a file, batch by batch; metas are objects or JSON text."""
    if str(path).endswith(".parquet"):
        for batch in read_record_batches(path, ["id", "meta", *_TEXT_FIELDS, "dialogue_history"]):
            columns = [batch.column(name).to_pylist() for name in _TEXT_FIELDS]
            histories = history_rows(batch.column("dialogue_history"))
            keys = [_key(texts, turns) for *texts, turns in zip(*columns, histories, strict=True)]
            yield batch.column("id").to_pylist(), keys, batch.column("meta").to_pylist()
    else:
        for row, record in read_jsonl(path):
            # Fields that the search does not need may be absent, but what is copied on has to be right.
            for field in record.keys() & _LABELS:
                _text(record, field, path, row)
            meta = record.get("meta")
            if not isinstance(meta, dict | None):
                raise BadInput(
                    f"found {meta!r:.60}",
                    file=path,
                    row=row,
                    id=record.get("id"),
                    field="meta",
                    expected="an object",
                )
            yield [_text(record, "id", path, row)], [_record_key(record, path, row)], [meta]


def _text(record: Mapping[str, Any], field: str, path: StrPath, row: int) -> str:
    value = record.get(field)
    if not isinstance(value, str):
        found = "missing" if field not in record else f"found {type(value).__name__}"
        raise BadInput(
            found,
            file=path,
            row=row,
            id=record.get("id"),
            field=field,
            expected="a string",
            fix="build the records again with `python -m polyalign format`",
        )
    return value


def _record_key(record: Mapping[str, Any], path: StrPath, row: int) -> bytes:
    texts = [_text(record, field, path, row) for field in _TEXT_FIELDS]
    history = record.get("dialogue_history")
    turns = history if isinstance(history, list) else [history]
    for turn in turns:
        if not isinstance(turn, dict) or not all(isinstance(turn.get(v), str) for v in ("role", "text")):
            raise BadInput(
                f"found {turn!r:.60}",
                file=path,
                row=row,
                id=record["id"],
                field="dialogue_history",
                expected="a list of {role, text}",
            )
    return _key(texts, ((turn.get("role"), turn.get("text")) for turn in turns))
