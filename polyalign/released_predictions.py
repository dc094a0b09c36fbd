"""Released predictions: their rows read, compared with their records field by field, and taken as a cell's.

    import_predictions("predictions.jsonl", "test.parquet", "test.jsonl", cell="en_sft_llama3b",
                       place={"hub": "owner/name", "file": "runs/sft/predictions.jsonl"})

The layout of released files is described in docs/released.md.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath, read_lines, write_jsonl
from polyalign.inference.outcome import row_coverage, warn
from polyalign.methods import ORACLE_METHODS
from polyalign.predictions import FINISH_REASONS, echo_problem, read_predictions
from polyalign.prompts import MODE_OF_METHOD
from polyalign.records import read_records
from polyalign.released import Place, file_source, looks_oracle

log = logging.getLogger(__name__)

TOKEN_LIMIT = "[TOKEN_LIMIT_EXCEEDED]"
"""What the published runner wrote in place of an answer that did not fit."""
_REFERENCE_LABEL = "Reference answer:"
# A released row may repeat these fields of its record; one of the first group must be there to check it by.
_ECHOES = ("instruction", "input", "id")
_KEPT = (
    "source_index",
    "prediction",
    "finish_reason",
    "prompt_tokens",
    "raw_prediction",
    *_ECHOES,
    "history",
    "reference_output",
    "dataset",
    "language",
    "bucket_id",
)
_FIX = "check that these predictions and records were released together"


def read_objects(path: StrPath) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line, object) of a released JSONL file, in which a line may hold several objects one after another.

    Raises:
        BadInput: what is no JSON object, naming the line.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON value")

    decoder = json.JSONDecoder(parse_constant=refuse)
    for line, text in read_lines(path):
        start = 0
        while start < len(text):
            try:
                value, end = decoder.raw_decode(text, start)
            except ValueError as error:
                raise BadInput(
                    f"not valid JSON ({error})", file=path, row=line, fix="fetch the file again"
                ) from None
            if not isinstance(value, dict):
                raise BadInput(f"a {type(value).__name__}", file=path, row=line, expected="an object")
            yield line, value
            start = end + len(text[end:]) - len(text[end:].lstrip())


class _Oracle:
    """Counts rows whose prompts showed the reference answer."""

    def __init__(self) -> None:
        self.rows = self.shown = 0

    def see(self, row: Mapping[str, Any]) -> None:
        self.rows += 1
        prompt, reference = row.get("prompt"), row.get("reference_output")
        labelled = isinstance(prompt, str) and isinstance(reference, str) and bool(reference.strip())
        self.shown += bool(
            row.get("reference_conditioning")
            or looks_oracle(str(row.get("run_kind", "")))
            or (labelled and f"{_REFERENCE_LABEL}\n{reference.strip()}" in prompt)
        )

    @property
    def found(self) -> bool:
        """Whether most rows were answered so; a context may hold such a label by chance."""
        return 2 * self.shown > self.rows


def _released_rows(
    path: StrPath, oracle: _Oracle, counts: Counter[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows in this project's layout, with the fields that repeat their records."""
    for line, row in read_objects(path):
        oracle.see(row)
        kept = {name: row[name] for name in _KEPT if row.get(name) is not None}
        # Rows of a run over preference pairs are numbered by pair; this is then the row of the split.
        if row.get("preference_source_index") is not None:
            kept["source_index"] = row["preference_source_index"]
            counts["numbered_by_pair"] += 1
        reason = kept.pop("finish_reason", None)
        if kept.get("prediction") == TOKEN_LIMIT:
            kept["prediction"], reason = "", "error"
        if reason is not None:
            kept["finish_reason"] = reason if reason in FINISH_REASONS else "error"
        yield line, kept


def _check_rows(
    path: StrPath, records: StrPath, found: Mapping[int, tuple[int, dict[str, Any]]]
) -> dict[str, Any]:
    """Compare every row with its record, field by field; returns counts by bucket.

    Raises:
        BadInputs: a line for each row that repeats something else than its record says, or nothing at all.
    """
    problems: list[BadInput] = []
    buckets: dict[str, dict[str, int]] = {}
    for index, record in enumerate(read_records(records)):
        bucket = buckets.setdefault(record["bucket_id"], {"rows": 0, "answered": 0, "empty": 0})
        bucket["rows"] += 1
        if index not in found:
            continue
        line, row = found[index]
        bucket["answered"] += 1
        bucket["empty"] += not row["prediction"].strip()
        if problem := echo_problem(path, line, row, record, index=index, fix=_FIX):
            problems.append(problem)
        elif not any(name in row for name in _ECHOES):
            problems.append(
                BadInput(
                    "nothing in the row says which record it answers",
                    file=path,
                    row=line,
                    id=record["id"],
                    expected=f"at least one of {', '.join(_ECHOES)}",
                    fix="evaluate such predictions with `python -m polyalign evaluate`",
                )
            )
        row["id"] = record["id"]
    if problems:
        raise BadInputs(problems)
    return dict(sorted(buckets.items()))


def import_predictions(
    source: StrPath,
    records: StrPath,
    output: StrPath,
    *,
    cell: str,
    place: Place | Mapping[str, Any],
    decoding: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Take released predictions as those of a cell, after checking each row against its record.

    Args:
        source: released JSONL: source_index, prediction and what it repeats of the record (instruction, input, ...).
        records: the split that source_index counts in.
        output: JSONL as `generate_predictions` writes it, ordered by source_index.
        cell: {lang}_{method}_{model} that they become; an oracle run can become hdporef alone.
        place: where the predictions come from.
        decoding: how they were decoded, where that is known.

    Returns:
        Details as of predictions made here: source, prompt mode, decoding, coverage and counts by bucket. The prompt
        mode is null: released prompts are none of ours.

    Raises:
        BadInput, BadInputs: predictions of an oracle under another method's name, a row of another record, a broken
            row, one line each.
    """
    oracle = _Oracle()
    counts: Counter[str] = Counter()
    expected = sum(1 for _ in read_records(records))
    found = read_predictions(source, rows=expected, lines=_released_rows(source, oracle, counts))
    method = cell.split("_")[1]
    is_oracle = method in ORACLE_METHODS
    if oracle.found and not is_oracle:
        raise BadInput(
            f"{oracle.shown} of {oracle.rows} rows were predicted from a prompt that shows the reference answer",
            file=source,
            expected=f"predictions of {method}",
            fix=f"give them to {cell.replace(f'_{method}_', '_hdporef_')}, which no table shows as a method",
        )
    buckets = _check_rows(source, records, found)
    rows = [_own_row(index, row) for index, (_, row) in sorted(found.items())]
    write_jsonl(output, rows)
    reasons = Counter(row.get("finish_reason", "not stated") for row in rows)
    details = {
        "cell": cell,
        "split": "test",
        "source": file_source("predictions", place, source),
        "prompt_mode": MODE_OF_METHOD[method] if is_oracle else None,
        "oracle": is_oracle,
        "decoding": dict(decoding) if decoding is not None else None,
        "coverage": row_coverage(found),
        "rows_expected": expected,
        "missing": expected - len(rows),
        "counts": {
            "rows": len(rows),
            "empty": sum(bucket["empty"] for bucket in buckets.values()),
            "numbered_by_pair": counts["numbered_by_pair"],
            "finish_reasons": dict(sorted(reasons.items())),
        },
        "buckets": buckets,
    }
    return {**details, "warnings": _warn(details)}


def _own_row(index: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """A released row in the layout of predictions made here."""
    kept = {"source_index": index, "id": row["id"], "prediction": row["prediction"]}
    kept |= {name: row[name] for name in ("finish_reason", "prompt_tokens") if name in row}
    if row.get("raw_prediction", row["prediction"]) != row["prediction"]:
        kept["raw_prediction"] = row["raw_prediction"]
    return kept


def _warn(details: Mapping[str, Any]) -> list[str]:
    """Log what a reader of the report must know; returns the lines that the terminal is to see."""
    if not details["missing"]:
        return warn(details)
    line = (
        f"{details['cell']}: {details['missing']} of {details['rows_expected']} rows are not among the released "
        "predictions"
    )
    short = ", ".join(
        f"{bucket} {counts['answered']} of {counts['rows']}"
        for bucket, counts in details["buckets"].items()
        if counts["answered"] < counts["rows"]
    )
    log.warning("%s (%s); a table refuses to compare the cell with one that answers them", line, short)
    return [line, *warn(details)]
