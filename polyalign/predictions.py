"""Prediction files: JSON lines of source_index, prediction and, where given, id, finish_reason and token counts.

A row may repeat what it answers, as published predictions do; `echo_problem` compares that with the record.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath, read_jsonl
from polyalign.prompts import history_pairs
from polyalign.records import normalize_text

ECHOES = {
    "id": "id",
    "dataset": "dataset",
    "language": "language",
    "bucket_id": "bucket_id",
    "instruction": "question",
    "input": "context",
    "reference_output": "human_answer",
}
"""Field of a prediction row that may repeat its record -> the record's field."""
FINISH_REASONS = ("stop", "length", "error")
_FIX = "predict the split again, or give the records that were predicted"


def read_predictions(
    path: StrPath, rows: int | None = None, lines: Iterable[tuple[int, dict[str, Any]]] | None = None
) -> dict[int, tuple[int, dict[str, Any]]]:
    """Predictions as {source_index: (line, row)}, in file order.

    Args:
        rows: number of records of the split, where it is known; a source_index beyond them is then a problem.
        lines: (line, row) of the file where it was read in another way than as JSON lines.

    Raises:
        BadInputs: a line for every row whose source_index is no row number or comes twice, whose prediction is no
            text, or whose finish_reason is not known.
        BadInput: there are no predictions.
    """
    found: dict[int, tuple[int, dict[str, Any]]] = {}
    problems: list[BadInput] = []
    for line, row in read_jsonl(path) if lines is None else lines:
        index, text, reason = row.get("source_index"), row.get("prediction"), row.get("finish_reason")
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            problem, field, expected = f"found {index!r:.40}", "source_index", "a row number from 0"
        elif rows is not None and index >= rows:
            problem, field, expected = f"{index} is out of range", "source_index", f"0 to {rows - 1}"
        elif index in found:
            problem, field = f"{index} already answered in row {found[index][0]}", "source_index"
            expected = "one prediction a row"
        elif not isinstance(text, str):
            problem, field, expected = f"found {text!r:.40}", "prediction", "a text"
        elif reason is not None and reason not in FINISH_REASONS:
            problem, field = f"found {reason!r:.40}", "finish_reason"
            expected = f"one of {', '.join(FINISH_REASONS)}"
        else:
            found[index] = (line, row)
            continue
        place = {"file": path, "row": line, "id": row.get("id"), "field": field}
        problems.append(BadInput(problem, **place, expected=expected, fix=_FIX))
    if problems:
        raise BadInputs(problems)
    if not found:
        raise BadInput("no predictions", file=path, expected="one JSON object a line", fix=_FIX)
    return found


def id_problem(
    path: StrPath, line: int, prediction: Mapping[str, Any], index: int, known: str
) -> BadInput | None:
    """The problem of a prediction whose id, where it has one, is not `known`, that of record `index`."""
    found = prediction.get("id")
    if found is None or str(found) == known:
        return None
    expected = f"{known!r}, the id of row {index}"
    return BadInput(f"found {found!r}", file=path, row=line, field="id", expected=expected, fix=_FIX)


def _same_text(a: str, b: str) -> bool:
    return a == b or normalize_text(a) == normalize_text(b)


def echo_problem(
    path: StrPath,
    line: int,
    prediction: Mapping[str, Any],
    record: Mapping[str, Any],
    *,
    index: int,
    fix: str = _FIX,
) -> BadInput | None:
    """The first field that a prediction repeats and that is not its record's, white space aside; None if all agree.

    Args:
        line: of the prediction in its file.
        record: the record at `index`, its source_index; fields that it lacks are not compared.
    """
    wrong: tuple[str, Any, Any] | None = None
    for echo, field in ECHOES.items():
        value = prediction.get(echo)
        if value is not None and field in record and not _same_text(str(value), record[field]):
            wrong = (echo, value, record[field])
            break
    history = prediction.get("history")
    if wrong is None and history and "dialogue_history" in record:
        expected = history_pairs(record["dialogue_history"], record["question"])
        found = [[normalize_text(str(text)) for text in pair] for pair in history if isinstance(pair, list)]
        if found != expected:
            wrong = ("history", history, expected)
    if wrong is None:
        return None
    field, value, expected = wrong
    return BadInput(
        f"{value!r:.60} is not what row {index} holds",
        file=path,
        row=line,
        id=record["id"],
        field=field,
        expected=f"{expected!r:.60}",
        fix=fix,
    )
