"""Rows to judge: records and predictions joined by source_index and id, and compared field by field.

A judge that is shown the answer to another row gives scores that look like any others, so a single row that does not
agree with its record ends the run before anything is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath
from polyalign.pairs import select_positions
from polyalign.predictions import echo_problem, read_predictions
from polyalign.records import read_records

_FIX = "give the predictions of these records"


@dataclass(frozen=True)
class JudgedRow:
    """A record and the answer to it; `answer` is None where there is none."""

    source_index: int
    record: Mapping[str, Any]
    answer: str | None

    @property
    def id(self) -> str:
        return self.record["id"]

    @property
    def bucket_id(self) -> str:
        return self.record["bucket_id"]


def join_rows(records: StrPath, predictions: StrPath) -> list[JudgedRow]:
    """Every record of a split with the answer to it, in order.

    Raises:
        BadInputs: predictions without an id, or of which the id or any other field that they repeat is not the
            record's; each is named.
    """
    known = list(read_records(records))
    found = read_predictions(predictions, len(known))
    problems = []
    for index, (line, prediction) in found.items():
        if prediction.get("id") is None:
            problems.append(
                BadInput(
                    "no id",
                    file=predictions,
                    row=line,
                    field="id",
                    expected=repr(known[index]["id"]),
                    fix="rows are judged by source_index and id; add the record's id to each",
                )
            )
        elif problem := echo_problem(predictions, line, prediction, known[index], index=index, fix=_FIX):
            problems.append(problem)
    if problems:
        raise BadInputs(problems)
    return [JudgedRow(index, record, _answer(found.get(index))) for index, record in enumerate(known)]


def _answer(found: tuple[int, Mapping[str, Any]] | None) -> str | None:
    if found is None or found[1].get("finish_reason") == "error":
        return None
    return found[1]["prediction"]


def draw_rows(rows: Sequence[JudgedRow], most: int | None, seed: int) -> list[JudgedRow]:
    """At most `most` rows, from every bucket in proportion; the draw depends on the records alone."""
    keys = [(row.record["dataset"], row.id) for row in rows]
    chosen = select_positions(keys, [row.bucket_id for row in rows], most, seed)
    return [rows[position] for position in chosen]


def probed(rows: Sequence[JudgedRow], count: int, seed: int) -> frozenset[int]:
    """The source_index of the rows that are asked again, `count` of them or all."""
    return frozenset(row.source_index for row in draw_rows(rows, count, seed)) if count else frozenset()


def of_shard(rows: Sequence[JudgedRow], shard: tuple[int, int]) -> list[JudgedRow]:
    """Rows of shard k of n: those at positions k, k + n, k + 2 n ..., 1 <= k <= n."""
    number, count = shard
    return list(rows[number - 1 :: count])
