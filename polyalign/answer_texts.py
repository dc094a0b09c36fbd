"""Answers to the rows of a split as texts: the human ones, or a system's predictions; all rows or a seeded draw.

    for text in predicted_texts("predictions.jsonl", "test.parquet"):
        print(text.source_index, text.text)

The draw depends on the seed and the number of rows alone, so it is the same for humans and every system.
"""

from dataclasses import dataclass

import numpy as np

from polyalign.files import StrPath
from polyalign.predictions import id_problem, read_predictions
from polyalign.records import normalize_text, read_records


@dataclass(frozen=True)
class Text:
    """An answer and the row that it answers; `text` is None where there is no answer."""

    source_index: int
    id: str | None
    text: str | None


def choose_rows(count: int, most: int | None, seed: int) -> list[int]:
    """Row numbers that are scored, in order: all, or `most` of them drawn by the seed alone."""
    if most is None or most >= count:
        return list(range(count))
    return sorted(np.random.default_rng(seed).choice(count, size=most, replace=False).tolist())


def human_texts(records: StrPath, most: int | None, seed: int) -> list[Text]:
    """Human answers of the chosen rows of a split."""
    rows = list(read_records(records))
    chosen = choose_rows(len(rows), most, seed)
    return [Text(row, rows[row]["id"], normalize_text(rows[row]["human_answer"])) for row in chosen]


def predicted_texts(
    predictions: StrPath, records: StrPath | None = None, most: int | None = None, seed: int = 42
) -> list[Text]:
    """Predictions of the chosen rows of a split, None where there is none; without records, of all rows of the file.

    Raises:
        BadInput: an id that is not the record's.
    """
    ids = None if records is None else [record["id"] for record in read_records(records)]
    found = read_predictions(predictions, None if ids is None else len(ids))
    chosen = sorted(found) if ids is None else choose_rows(len(ids), most, seed)
    texts = []
    for row in chosen:
        if row not in found:
            texts.append(Text(row, None if ids is None else ids[row], None))
            continue
        line, answer = found[row]
        known = answer.get("id") if ids is None else ids[row]
        if ids is not None and (problem := id_problem(predictions, line, answer, row, known)):
            raise problem
        failed = answer.get("finish_reason") == "error"
        texts.append(Text(row, known, None if failed else normalize_text(answer["prediction"])))
    return texts
