"""Draw the prompts of a human evaluation: so many of each length bin, spread over its corpora.

Only rows that every system answered take part. A row's rank is a digest of the seed and its id, so the draw depends
on neither the order of the files nor the other rows of its corpus.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.methods import HUMAN
from polyalign.predictions import id_problem, read_predictions
from polyalign.prompts import earlier_turns
from polyalign.records import LENGTH_BINS, read_records


@dataclass(frozen=True)
class Prompt:
    """A drawn row: what was asked, the human answer, and the answer of each system by its name."""

    source_index: int
    record: Mapping[str, Any]
    answers: Mapping[str, str]

    @property
    def id(self) -> str:
        return self.record["id"]

    def shown(self) -> dict[str, Any]:
        """Context, earlier turns and question, as an annotator reads them."""
        record = self.record
        turns = earlier_turns(record["dialogue_history"], record["question"])
        return {
            "context": record["context"],
            "history": [{"role": role, "text": text} for role, text in turns],
            "question": record["question"],
        }

    def row(self) -> dict[str, Any]:
        """The prompt as a line of the sample file, which names the systems."""
        keys = ("id", "dataset", "length_bin", "bucket_id")
        return {
            "source_index": self.source_index,
            **{key: self.record[key] for key in keys},
            **self.shown(),
            "human_answer": self.record["human_answer"],
            "answers": dict(self.answers),
        }


def choose_rows(rows: Iterable[tuple[int, str, str, str]], per_length_bin: int, seed: int) -> list[int]:
    """Source indices of the drawn rows, bin by bin, corpora in turn.

    Args:
        rows: (source_index, id, dataset, length_bin) of those that may be drawn.
        per_length_bin: most rows of a length bin.
    """
    groups: dict[str, dict[str, list[tuple[str, int]]]] = defaultdict(lambda: defaultdict(list))
    for index, identifier, dataset, length_bin in rows:
        rank = hashlib.sha256(f"{seed}\0{identifier}\0{index}".encode()).hexdigest()
        groups[length_bin][dataset].append((rank, index))
    chosen: list[int] = []
    for length_bin in LENGTH_BINS:
        # Corpora by their best rank: by name, the last ones would lose whenever there are more corpora than prompts.
        ranked = sorted(sorted(members) for members in groups[length_bin].values())
        in_turn = [row for turn in zip_longest(*ranked) for row in turn if row is not None]
        chosen += [index for _, index in in_turn[:per_length_bin]]
    return chosen


def _usable(row: Mapping[str, Any]) -> bool:
    return row.get("finish_reason") != "error"


def _answered_by_all(predictions: Mapping[str, StrPath], ids: Sequence[str]) -> set[int]:
    """Rows that every file answers; one file in memory at a time, for there may be dozens."""
    common = set(range(len(ids)))
    for path in predictions.values():
        found = read_predictions(path, rows=len(ids))
        for index, (line, row) in found.items():
            if problem := id_problem(path, line, row, index, ids[index]):
                raise problem
        common &= {index for index, (_, row) in found.items() if _usable(row)}
    return common


def draw_prompts(
    records_path: StrPath, predictions: Mapping[str, StrPath], *, per_length_bin: int, seed: int
) -> list[Prompt]:
    """The drawn prompts with the answers of all systems.

    Args:
        predictions: prediction files by the system's name.

    Raises:
        BadInput, BadInputs: a broken file, predictions of other records, a name that is taken, no common row.
    """
    if not predictions:
        raise BadInput("no predictions", fix="give at least one file of predictions")
    if HUMAN in predictions:
        raise BadInput(f"a system cannot be called {HUMAN!r}", fix="give its predictions another name")
    keys = [(record["id"], record["dataset"], record["length_bin"]) for record in read_records(records_path)]
    common = _answered_by_all(predictions, [identifier for identifier, *_ in keys])
    if not common:
        raise BadInput(
            "no row is answered by every system",
            file=records_path,
            expected=f"rows that all {len(predictions)} prediction files answer",
            fix="leave out the system whose predictions are of other rows",
        )
    chosen = choose_rows(((index, *keys[index]) for index in sorted(common)), per_length_bin, seed)
    wanted = set(chosen)
    records = {index: record for index, record in enumerate(read_records(records_path)) if index in wanted}
    answers: dict[int, dict[str, str]] = {index: {} for index in chosen}
    for system, path in predictions.items():
        found = read_predictions(path)
        for index in chosen:
            answers[index][system] = found[index][1]["prediction"]
    return [Prompt(index, records[index], answers[index]) for index in chosen]
