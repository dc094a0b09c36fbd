"""Training rows as token ids, rendered by `polyalign.prompts` and kept as Arrow files that are memory-mapped.

Checked on the ids of every row: one BOS at the start (where the tokenizer has one) and an EOS that ends the
answer and is learned. Rows that are too long are shortened, prompt first, or left out, and counted.
"""

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from polyalign.bucket_weights import bucket_weights
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_path, read_table
from polyalign.progress import track
from polyalign.prompts import MODE_OF_METHOD, completion_ids, prompt_ids, training_ids
from polyalign.records import RECORD_FIELDS, read_records, table_to_records
from polyalign.training.recipe import PreferenceRecipe, SftRecipe

SFT_SCHEMA = pa.schema(
    [("input_ids", pa.list_(pa.int32())), ("labels", pa.list_(pa.int32())), ("weight", pa.float32())]
)
PREFERENCE_SCHEMA = pa.schema(
    [
        ("prompt_ids", pa.list_(pa.int32())),
        ("chosen_ids", pa.list_(pa.int32())),
        ("rejected_ids", pa.list_(pa.int32())),
        ("weight", pa.float32()),
        ("chosen_score", pa.float32()),
        ("rejected_score", pa.float32()),
        ("bucket", pa.int32()),
    ]
)
BATCH_ROWS = 2048
IGNORED = -100
# A prompt is never shortened below this share of max_length, so an answer is cut before its prompt is gone.
PROMPT_SHARE = 4


@dataclass
class RowCounts:
    """What became of the rows of one split."""

    rows: int = 0
    tokens: int = 0
    answer_tokens: int = 0
    prompts_shortened: int = 0
    answers_shortened: int = 0
    dropped_overlong: int = 0
    missing_scores: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def check_ids(tokenizer: Any, prompt: Sequence[int], completion: Sequence[int], *, row_id: str) -> None:
    """Raise `BadInput` unless the prompt starts with exactly one BOS and the completion ends with EOS."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if bos is not None and list(prompt[:2]).count(bos) != 1:
        raise BadInput(
            f"the prompt starts with token ids {list(prompt[:2])}",
            id=row_id,
            expected=f"exactly one BOS ({bos})",
            fix="correct the chat template",
        )
    if not completion or completion[-1] != eos:
        raise BadInput("the answer does not end with EOS", id=row_id, expected=f"token id {eos} at the end")


def fit(
    prompt: list[int], completions: Sequence[list[int]], max_length: int, has_bos: bool
) -> tuple[list[int], list[list[int]]]:
    """Shorten a prompt, then its completions, so that prompt and longest completion fit in `max_length`
    tokens.

    The prompt loses tokens after its BOS, down to a quarter of `max_length`; completions lose their end.
    """
    longest = max(len(ids) for ids in completions)
    if len(prompt) + longest <= max_length:
        return prompt, list(completions)
    room = max(max_length - longest, min(len(prompt), max(max_length // PROMPT_SHARE, 1)))
    if len(prompt) > room:
        head = prompt[:1] if has_bos else []
        prompt = head + prompt[len(prompt) - (room - len(head)) :]
    return prompt, [ids[: max_length - len(prompt)] for ids in completions]


def fit_counted(
    tokenizer: Any,
    prompt: list[int],
    completions: Sequence[list[int]],
    max_length: int,
    overlong: str,
    counts: RowCounts,
) -> tuple[list[int], list[list[int]]] | None:
    """`fit`, counting what was cut; None for a row that `overlong` = drop leaves out."""
    longest = len(prompt) + max(len(ids) for ids in completions)
    if longest > max_length and overlong == "drop":
        counts.dropped_overlong += 1
        return None
    fitted, answers = fit(prompt, completions, max_length, tokenizer.bos_token_id is not None)
    counts.prompts_shortened += len(fitted) < len(prompt)
    counts.answers_shortened += any(len(a) < len(b) for a, b in zip(answers, completions, strict=True))
    counts.rows += 1
    counts.tokens += sum(len(fitted) + len(ids) for ids in answers)
    counts.answer_tokens += sum(len(ids) for ids in answers)
    return fitted, answers


def drawn_rows(total: int, rows: int | None, seed: int) -> set[int] | None:
    """Row numbers of a seeded draw of `rows` out of `total`; None for all."""
    if rows is None or rows >= total:
        return None
    return set(random.Random(seed).sample(range(total), rows))


def sft_rows(
    records: StrPath,
    tokenizer: Any,
    recipe: SftRecipe,
    counts: RowCounts,
    *,
    max_length: int,
    draw: int | None,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Rows of `SFT_SCHEMA` from a record table; `draw` limits them to a seeded sample.

    Weights are N / (B * n_b) over the whole split, so buckets keep equal mass in a draw's expectation.
    """
    mode = MODE_OF_METHOD[recipe.method]
    buckets = read_table(records, ["bucket_id"])["bucket_id"].to_pylist()
    weights = bucket_weights(buckets) if recipe.weights == "bucket" else None
    wanted = drawn_rows(len(buckets), draw, seed)
    total = len(buckets) if wanted is None else len(wanted)
    rows = (row for number, row in enumerate(read_records(records)) if wanted is None or number in wanted)
    for record in track(rows, total=total, label=f"tokenize {Path(records).name}"):
        prompt, completion = training_ids(tokenizer, record, record["human_answer"], mode)
        check_ids(tokenizer, prompt, completion, row_id=record["id"])
        fitted = fit_counted(tokenizer, prompt, [completion], max_length, recipe.overlong, counts)
        if fitted is None:
            continue
        prompt, (completion,) = fitted
        yield {
            "input_ids": prompt + completion,
            "labels": [IGNORED] * len(prompt) + completion,
            "weight": 1.0 if weights is None else weights[record["bucket_id"]],
        }


def _required(value: Any, field: str, pair: Mapping[str, Any], file: StrPath, row: int) -> float:
    if value is None or not math.isfinite(value):
        raise BadInput(
            f"found {value}",
            file=file,
            row=row,
            id=pair["id"],
            field=field,
            expected="a finite number",
            fix="score the pairs again",
        )
    return float(value)


def _score(
    pair: Mapping[str, Any], field: str, recipe: PreferenceRecipe, file: StrPath, row: int
) -> float | None:
    """Critic score of one side; None where it is missing and the recipe allows that."""
    value = pair[field]
    if recipe.missing_score == "zero" and (value is None or not math.isfinite(value)):
        return None
    return _required(value, field, pair, file, row)


def pair_columns(recipe: PreferenceRecipe) -> list[str]:
    """Columns of the pair table that a recipe needs."""
    columns = ["source_index", "id", "bucket_id", "chosen", "rejected"]
    if recipe.weights == "hdpo":
        columns.append("hdpo_weight")
    if recipe.needs_scores:
        columns += ["chosen_dist_score", "rejected_dist_score"]
    return columns


def records_by_source_index(path: StrPath, wanted: set[int]) -> dict[int, dict[str, Any]]:
    """Records of the wanted source_index values; a table without that column counts rows from 0."""
    records: dict[int, dict[str, Any]] = {}
    table = read_table(path)
    missing = [name for name in RECORD_FIELDS if name not in table.column_names]
    if missing:
        raise BadInput(f"column {missing[0]} is missing", file=path, expected="a table of normalized records")
    start = 0
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        for number, record in enumerate(table_to_records(batch), start=start):
            index = record.get("source_index", number)
            if index in wanted:
                records[index] = record
        start += batch.num_rows
    return records


def preference_rows(
    pairs: StrPath,
    records: StrPath,
    tokenizer: Any,
    recipe: PreferenceRecipe,
    counts: RowCounts,
    buckets: Sequence[str],
    *,
    max_length: int,
    draw: int | None,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Rows of `PREFERENCE_SCHEMA` from a pair table and the records its source_index points to.

    Args:
        buckets: bucket vocabulary; the `bucket` column holds positions in it.

    Raises:
        BadInput: a pair has no record, another record's id, or lacks a weight or score the recipe needs.
    """
    mode = MODE_OF_METHOD[recipe.method]
    table = read_table(pairs, pair_columns(recipe))
    wanted = drawn_rows(table.num_rows, draw, seed)
    if wanted is not None:
        table = table.take(sorted(wanted))
    known = records_by_source_index(records, set(table["source_index"].to_pylist()))
    number_of = {bucket: number for number, bucket in enumerate(buckets)}
    rows = (pair for batch in table.to_batches(max_chunksize=BATCH_ROWS) for pair in batch.to_pylist())
    for row, pair in enumerate(
        track(rows, total=table.num_rows, label=f"tokenize {Path(pairs).name}", unit="pairs"), start=1
    ):
        record = known.get(pair["source_index"])
        if record is None or record["id"] != pair["id"]:
            raise BadInput(
                f"source_index {pair['source_index']} is "
                + (f"id {record['id']}" if record else "not a row"),
                file=pairs,
                row=row,
                id=pair["id"],
                expected=f"the same id in {records}",
                fix="build the pairs again",
            )
        weight = 1.0
        if recipe.weights == "hdpo":
            weight = _required(pair["hdpo_weight"], "hdpo_weight", pair, pairs, row)
        scores: list[float | None] = [0.0, 0.0]
        if recipe.needs_scores:
            scores = [
                _score(pair, field, recipe, pairs, row)
                for field in ("chosen_dist_score", "rejected_dist_score")
            ]
            counts.missing_scores += sum(score is None for score in scores)
        prompt = prompt_ids(tokenizer, record, mode)
        answers = [completion_ids(tokenizer, pair[side], mode) for side in ("chosen", "rejected")]
        for answer in answers:
            check_ids(tokenizer, prompt, answer, row_id=pair["id"])
        fitted = fit_counted(tokenizer, prompt, answers, max_length, recipe.overlong, counts)
        if fitted is None:
            continue
        prompt, (chosen, rejected) = fitted
        yield {
            "prompt_ids": prompt,
            "chosen_ids": chosen,
            "rejected_ids": rejected,
            "weight": weight,
            "chosen_score": scores[0] or 0.0,
            "rejected_score": scores[1] or 0.0,
            "bucket": number_of[pair["bucket_id"]],
        }


def write_arrow(path: StrPath, schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as an Arrow stream, the format `datasets` memory-maps, atomically; returns their number."""
    written = 0
    pending: list[Mapping[str, Any]] = []
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as out,
    ):

        def flush() -> None:
            out.write_batch(pa.RecordBatch.from_pylist(pending, schema=schema))
            pending.clear()

        for row in rows:
            pending.append(row)
            written += 1
            if len(pending) == BATCH_ROWS:
                flush()
        if pending:
            flush()
    return written
