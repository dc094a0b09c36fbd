"""Preference pairs: which rows get a model answer, and human answer against model answer for each of them.

A pair is one row of a split: `chosen` is the human answer, `rejected` the SFT model's to the same prompt.
Definitions: docs/method.md, Views; how the critic uses the pairs: docs/critic.md.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from polyalign.critic.targets import Targets
from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath, TableWriter
from polyalign.predictions import echo_problem, read_predictions
from polyalign.progress import track
from polyalign.records import RECORD_FIELDS, RECORD_SCHEMA, read_record_batches

PAIR_ROWS_SCHEMA = RECORD_SCHEMA.append(pa.field("source_index", pa.int64()))
_PROFILE_FIELDS = ("bucket_id", "style_bucket", "length_bin", "family", "track", "language")
PAIR_SCHEMA = pa.schema(
    [
        ("source_index", pa.int64()),
        ("id", pa.string()),
        *((name, pa.string()) for name in _PROFILE_FIELDS),
        ("pair_type", pa.string()),
        ("chosen", pa.string()),
        ("rejected", pa.string()),
        # Support distance of each answer in the bucket; null where the bucket has no reference.
        ("chosen_target", pa.float64()),
        ("rejected_target", pa.float64()),
    ]
)
PAIR_TYPE = "global"
"""Human answer against the answer of a model trained on all data: the published type with bias 0."""

_FIX_PREDICTIONS = "generate the predictions of this split again"


def allocate_rows(counts: Mapping[str, int], rows: int) -> dict[str, int]:
    """Share `rows` among buckets in proportion to their sizes, by largest remainder.

    Equal remainders go to the larger bucket, then by name, so the order of `counts` does not matter.
    """
    total = sum(counts.values())
    if rows >= total:
        return dict(counts)
    quotas = {bucket: rows * count / total for bucket, count in counts.items()}
    shares = {bucket: int(quota) for bucket, quota in quotas.items()}
    by_remainder = sorted(
        counts, key=lambda bucket: (shares[bucket] - quotas[bucket], -counts[bucket], bucket)
    )
    for bucket in by_remainder[: rows - sum(shares.values())]:
        shares[bucket] += 1
    return shares


def _rank(seed: int, dataset: str, record_id: str) -> bytes:
    """A row's place in the draw: it hangs on the seed and the record's name, never on the row's position."""
    return hashlib.sha256(f"{seed}:{dataset}:{record_id}".encode()).digest()


def select_positions(
    keys: Sequence[tuple[str, str]], bucket_ids: Sequence[str], rows: int | None, seed: int
) -> np.ndarray:
    """Positions [m] of a seeded, bucket-stratified subset, ascending; `rows` None or too large takes all.

    Args:
        keys: (dataset, id) of each row.
        bucket_ids: bucket of each row.
    """
    if rows is None or rows >= len(keys):
        return np.arange(len(keys))
    if rows < 1:
        raise BadInput(
            f"{rows} pair rows asked for", field="pairs.rows", expected="null or a positive number"
        )
    shares = allocate_rows(Counter(bucket_ids), rows)
    members: dict[str, list[tuple[bytes, int]]] = {bucket: [] for bucket in shares}
    for position, ((dataset, record_id), bucket) in enumerate(zip(keys, bucket_ids, strict=True)):
        members[bucket].append((_rank(seed, dataset, record_id), position))
    chosen = [position for bucket in shares for _, position in sorted(members[bucket])[: shares[bucket]]]
    return np.sort(np.asarray(chosen, dtype=np.int64))


def write_pair_rows(split: StrPath, output: StrPath, *, rows: int | None, seed: int) -> dict[str, Any]:
    """Write the rows of a split that get a model answer, with their `source_index`; returns counts.

    Two passes over the file: the first reads the columns that the draw needs, the second copies those drawn.
    """
    keys: list[tuple[str, str]] = []
    buckets: list[str] = []
    for batch in read_record_batches(split, columns=["dataset", "id", "bucket_id"]):
        keys += zip(batch["dataset"].to_pylist(), batch["id"].to_pylist(), strict=True)
        buckets += batch["bucket_id"].to_pylist()
    if not keys:
        raise BadInput(
            "no rows to draw pairs from", file=split, fix="add a corpus that has this split to the config"
        )
    positions = select_positions(keys, buckets, rows, seed)
    start = 0
    with TableWriter(output, PAIR_ROWS_SCHEMA) as writer:
        for batch in read_record_batches(split, columns=list(RECORD_FIELDS)):
            here = positions[(positions >= start) & (positions < start + batch.num_rows)]
            taken = batch.select(RECORD_FIELDS).take(pa.array(here - start))
            writer.write(pa.Table.from_batches([taken]).append_column("source_index", pa.array(here)))
            start += batch.num_rows
    drawn = Counter(buckets[position] for position in positions)
    return {
        "split_rows": len(keys),
        "selected_rows": len(positions),
        "rows_by_bucket": {
            bucket: {"split": count, "selected": drawn[bucket]}
            for bucket, count in sorted(Counter(buckets).items())
        },
    }


def _pair_batches(
    rows: StrPath, predictions: StrPath, counts: Counter[str], reasons: Counter[str]
) -> Iterator[list[dict[str, Any]]]:
    """Yield pairs batch by batch, counting what is skipped; raises `BadInputs` after the last row."""
    answers = read_predictions(predictions)
    counts["prediction_rows"] = len(answers)
    problems: list[BadInput] = []
    columns = ["source_index", "id", *_PROFILE_FIELDS, "question", "context", "human_answer"]
    for batch in read_record_batches(rows, columns=columns):
        pairs = []
        for record in batch.to_pylist():
            counts["source_records"] += 1
            index = record["source_index"]
            if index not in answers:
                problems.append(
                    BadInput(
                        f"no prediction for source_index {index}",
                        file=predictions,
                        id=record["id"],
                        fix=_FIX_PREDICTIONS,
                    )
                )
                continue
            line, prediction = answers.pop(index)
            if problem := echo_problem(
                predictions, line, prediction, record, index=index, fix=_FIX_PREDICTIONS
            ):
                problems.append(problem)
                continue
            reasons[str(prediction.get("finish_reason"))] += 1
            chosen, rejected = record["human_answer"].strip(), prediction["prediction"].strip()
            if not chosen:
                counts["skipped_empty_chosen"] += 1
            elif not rejected:
                counts["skipped_empty_rejected"] += 1
            elif chosen == rejected:
                counts["skipped_exact_match"] += 1
            else:
                kept = {name: record[name] for name in ("source_index", "id", *_PROFILE_FIELDS)}
                pairs.append({**kept, "pair_type": PAIR_TYPE, "chosen": chosen, "rejected": rejected})
        yield pairs
    for index, (line, prediction) in answers.items():
        problems.append(
            BadInput(
                f"source_index {index} is not a row that was to be answered",
                file=predictions,
                row=line,
                id=prediction.get("id"),
                field="source_index",
                expected=f"a source_index of {rows}",
                fix=_FIX_PREDICTIONS,
            )
        )
    if problems:
        raise BadInputs(problems)


def build_pairs(
    rows: StrPath,
    predictions: StrPath,
    human_targets: Targets,
    model_targets: Targets,
    output: StrPath,
) -> dict[str, Any]:
    """Write the pair table (`PAIR_SCHEMA`, in row order) and return its counts.

    Equal and empty pairs are skipped and counted under the published names. A pair in a bucket without
    reference keeps null targets: DPO can use it, the critic cannot.

    Args:
        rows: table of `PAIR_ROWS_SCHEMA`: what was to be answered.
        predictions: JSONL with source_index, prediction and, where given, echoed fields.
        human_targets, model_targets: support distances of the human and of the model answers.

    Raises:
        BadInputs: naming predictions that are missing, double, out of range, of another row or featureless.
        BadInput: no pair is left.
    """
    counts: Counter[str] = Counter(
        skipped_empty_chosen=0, skipped_empty_rejected=0, skipped_exact_match=0, source_records=0
    )
    reasons: Counter[str] = Counter()
    styles: Counter[str] = Counter()
    buckets: Counter[str] = Counter()
    without: Counter[str] = Counter()
    with TableWriter(output, PAIR_SCHEMA) as writer:
        for pairs in track(_pair_batches(rows, predictions, counts, reasons), label="pairs", unit="batches"):
            if not pairs:
                continue
            wanted = [pair["source_index"] for pair in pairs]
            chosen, rejected = human_targets.of(wanted), model_targets.of(wanted)
            for pair, human, model in zip(pairs, chosen.tolist(), rejected.tolist(), strict=True):
                known = human == human and model == model
                pair["chosen_target"] = human if known else None
                pair["rejected_target"] = model if known else None
                if not known:
                    without[pair["bucket_id"]] += 1
            writer.write(pa.Table.from_pylist(pairs, schema=PAIR_SCHEMA))
            styles.update(pair["style_bucket"] for pair in pairs)
            buckets.update(pair["bucket_id"] for pair in pairs)
        if not writer.rows:
            raise BadInput(
                "every pair is empty or equal, so none is left",
                file=predictions,
                fix="check the SFT model: it answers nothing, or exactly like the human",
            )
        counts["paired_records"] = writer.rows
    return {
        **dict(sorted(counts.items())),
        "finish_reasons": dict(sorted(reasons.items())),
        "pairs_by_style": dict(sorted(styles.items())),
        "pairs_by_bucket": dict(sorted(buckets.items())),
        "pairs_without_target_by_bucket": dict(sorted(without.items())),
    }
