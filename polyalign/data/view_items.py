"""What a batch of records adds to the files of the views, as JSON text. Definitions: docs/method.md, Views."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from json.encoder import encode_basestring as quoted

import pyarrow as pa
import pyarrow.compute as pc

from polyalign.data.json_columns import content, escaped, filled, listed
from polyalign.data.record_columns import history_rows
from polyalign.prompts import profile_system_prompt, turn_pairs
from polyalign.records import RECORD_FIELDS

WEIGHT_DECIMALS = 8
"""Decimals of a written bucket weight, as published."""

_ALPACA_FIELDS = ("question", "context", "human_answer")
_PROFILE_FIELDS = ("bucket_id", "style_bucket", "length_bin", "family", "track")
_JSON_FIELDS = ("dialogue_history", "meta")
# Texts are filled in between quotes; history and meta are JSON already.
_RECORD = ", ".join(f'"{name}": %s' if name in _JSON_FIELDS else f'"{name}": "%s"' for name in RECORD_FIELDS)
_RECORD_LINE = f"{{{_RECORD}}}\n"
_TURN = '{"role": "%s", "text": "%s"}'
_ITEM = ',\n{"instruction": "%s", "input": "%s", "output": "%s"%s}'


def columns_of(views: Sequence[str]) -> tuple[str, ...]:
    """Columns of a record table that these views are made from."""
    if "current" in views:
        return RECORD_FIELDS
    return (*_ALPACA_FIELDS, *_PROFILE_FIELDS, "dialogue_history")


def view_texts(
    batch: pa.RecordBatch, views: Sequence[str], weights: Mapping[str, float]
) -> tuple[dict[str, memoryview], bool]:
    """({view: UTF-8 text of the batch}, whether any item has a history).

    `current` is lines; every item of the other views has the comma before it that parts it from the one before.

    Args:
        batch: records, with the columns `columns_of(views)`.
        weights: of each bucket, for `dist_sft`.
    """
    fields = {name: escaped(batch.column(name)) for name in batch.schema.names if name not in _JSON_FIELDS}
    texts = {}
    if "current" in views:
        texts["current"] = content(_record_lines(fields, batch))
    alpaca = [fields[name] for name in _ALPACA_FIELDS]
    histories = _history_fields(batch)
    if "llamafactory" in views:
        texts["llamafactory"] = content(filled(_ITEM, *alpaca, histories))
    if "dist_sft" in views:
        more = filled("%s%s", _profile_fields(fields, weights), histories)
        texts["dist_sft"] = content(filled(_ITEM, *alpaca, more))
    return texts, pc.any(pc.not_equal(histories, "")).as_py()


def _record_lines(fields: Mapping[str, pa.StringArray], batch: pa.RecordBatch) -> pa.StringArray:
    """Records as lines of the published layout."""
    history = batch.column("dialogue_history")
    turns = history.flatten()
    items = filled(_TURN, escaped(turns.field("role")), escaped(turns.field("text")))
    lists = listed(items, pc.list_value_length(history).to_numpy())
    columns = {**fields, "dialogue_history": filled("[%s]", lists), "meta": batch.column("meta")}
    return filled(_RECORD_LINE, *(columns[name] for name in RECORD_FIELDS))


def _history_fields(batch: pa.RecordBatch) -> pa.StringArray:
    """The history key of each alpaca item with the comma before it, or nothing where no pair came before."""
    history = batch.column("dialogue_history")
    some = pc.greater(pc.list_value_length(history), 0)
    rows = history_rows(history.filter(some))
    questions = batch.column("question").filter(some).to_pylist()
    found = pa.array(map(_history_field, rows, questions), pa.string())
    return pc.replace_with_mask(pa.repeat("", batch.num_rows), some, found)


# Records of one conversation follow each other and share their turns.
_quoted_turn = lru_cache(maxsize=4096)(quoted)


def _history_field(history: list[tuple[str, str]], question: str) -> str:
    pairs = turn_pairs(history, question)
    if not pairs:
        return ""
    items = ", ".join([f"[{_quoted_turn(user)}, {_quoted_turn(answer)}]" for user, answer in pairs])
    return f', "history": [{items}]'


def _profile_fields(fields: Mapping[str, pa.StringArray], weights: Mapping[str, float]) -> pa.StringArray:
    """System prompt, weight and bucket fields of each Bucket-SFT item with the comma before them."""
    # Made once for all records of a profile. What is escaped holds no NUL.
    profiles = pc.binary_join_element_wise(*(fields[name] for name in _PROFILE_FIELDS), "\0")
    profiles = profiles.dictionary_encode()
    found = []
    for profile in profiles.dictionary.to_pylist():
        values = (json.loads(f'"{value}"') for value in profile.split("\0"))
        found.append(_profile_field(dict(zip(_PROFILE_FIELDS, values, strict=True)), weights))
    return pa.array(found, pa.string()).take(profiles.indices)


def _profile_field(profile: Mapping[str, str], weights: Mapping[str, float]) -> str:
    weight = round(weights[profile["bucket_id"]], WEIGHT_DECIMALS)
    names = ", ".join(f'"{name}": {quoted(value)}' for name, value in profile.items())
    return f', "system": {quoted(profile_system_prompt(profile))}, "dist_sft_weight": {weight!r}, {names}'
