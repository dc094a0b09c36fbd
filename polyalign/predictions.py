"""Prediction files: JSON lines of source_index, prediction and, where given, id, finish_reason and token counts."""

from typing import Any

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath, read_jsonl

FINISH_REASONS = ("stop", "length", "error")
_FIX = "predict the split again, or give the records that were predicted"


def read_predictions(path: StrPath, rows: int | None = None) -> dict[int, tuple[int, dict[str, Any]]]:
    """Predictions as {source_index: (line, row)}, in file order.

    Args:
        rows: number of records of the split, where it is known; a source_index beyond them is then a problem.

    Raises:
        BadInputs: a line for every row whose source_index is no row number or comes twice, whose prediction is no
            text, or whose finish_reason is not known.
        BadInput: there are no predictions.
    """
    found: dict[int, tuple[int, dict[str, Any]]] = {}
    problems: list[BadInput] = []
    for line, row in read_jsonl(path):
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
