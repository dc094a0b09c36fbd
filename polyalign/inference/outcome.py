"""What came of answering a split: coverage, counts by bucket, and what has to be said aloud."""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath, sha256_json
from polyalign.inference.cot import extract_final_answer
from polyalign.predictions import FINISH_REASONS

log = logging.getLogger(__name__)

TOLD = {
    "empty": "empty answers",
    "length": "answers cut at the token limit",
    "error": "prompts longer than the model takes",
    "without_final_answer": "outputs without a final-answer label",
}
"""Counts that the log warns of."""
ALARMING = ("empty", "error")
"""Those of them that are told on the terminal too: such rows have no answer to compare."""


@dataclass(frozen=True)
class Source:
    """What the output needs of a record."""

    id: str
    bucket_id: str


def in_order(
    sources: Mapping[int, Source],
    answered: Mapping[int, dict[str, Any]],
    out_path: StrPath,
    reasons: Mapping[int, str] | None = None,
) -> list[dict[str, Any]]:
    """The rows of the output by source_index.

    Raises `BadInputs`, which names every row without an answer (with its reason, where one is known) and every
    answer without a row.
    """
    reasons = reasons or {}
    missing = [index for index in sources if index not in answered]
    strange = [index for index in answered if index not in sources]
    if missing or strange:
        raise BadInputs(
            [
                *(
                    BadInput(
                        f"no answer: {reasons[index]}" if index in reasons else "no answer",
                        file=out_path,
                        row=index,
                        id=sources[index].id,
                    )
                    for index in missing
                ),
                *(
                    BadInput("answer to a row that was not asked", file=out_path, row=index)
                    for index in strange
                ),
            ]
        )
    return [answered[index] for index in sorted(sources)]


def row_coverage(indices: Iterable[int]) -> dict[str, Any]:
    """{rows, source_index_sha256}: two files cover the same rows when these are equal."""
    ordered = sorted(indices)
    text = json.dumps(ordered, separators=(",", ":"))
    return {"rows": len(ordered), "source_index_sha256": sha256_json(text)}


def outcome(rows: Iterable[Mapping[str, Any]], sources: Mapping[int, Source], mode: str) -> dict[str, Any]:
    """Counts in all and by bucket: rows, empty answers, finish reasons, tokens; for cot, missing labels."""
    counters = ("rows", "empty", *FINISH_REASONS, "prompt_tokens", "completion_tokens")
    if mode == "cot":
        counters += ("without_final_answer",)
    total = dict.fromkeys(counters, 0)
    buckets: dict[str, dict[str, int]] = {}
    for row in rows:
        counted = {
            "rows": 1,
            "empty": int(not row["prediction"] and row["finish_reason"] != "error"),
            row["finish_reason"]: 1,
            "prompt_tokens": row["prompt_tokens"],
            "completion_tokens": row["completion_tokens"],
        }
        if mode == "cot" and row["finish_reason"] != "error":
            text = row.get("raw_prediction", row["prediction"])
            counted["without_final_answer"] = int(extract_final_answer(text) is None)
        bucket = buckets.setdefault(sources[row["source_index"]].bucket_id, dict.fromkeys(counters, 0))
        for name, value in counted.items():
            total[name] += value
            bucket[name] += value
    return {"counts": total, "buckets": dict(sorted(buckets.items()))}


def warn(details: Mapping[str, Any]) -> list[str]:
    """Log, by bucket, what would otherwise only show as a strange number in a table.

    Returns the lines that the terminal is to see: rows without an answer to compare, in all.
    """
    counts, run = details["counts"], f"{details['cell']} {details['split']}"
    alarms = []
    for name, words in TOLD.items():
        if not counts.get(name):
            continue
        line = f"{run}: {counts[name]} of {counts['rows']} {words}"
        where = ", ".join(
            f"{bucket} {found[name]} of {found['rows']}"
            for bucket, found in details["buckets"].items()
            if found[name]
        )
        log.warning("%s (%s)", line, where)
        if name in ALARMING:
            alarms.append(line)
    return alarms
