"""The features and references of an evaluation, checked against its rows and against each other.

Features of other rows, of other texts, of another set or by another scorer are refused here, in one line each.
"""

from dataclasses import dataclass, replace

import numpy as np

from polyalign.errors import BadInput
from polyalign.features.origin import refuse_different
from polyalign.features.table import FeatureTable, check_combinable, read_features
from polyalign.files import StrPath
from polyalign.metrics.hcr import SUPPORTS, Support
from polyalign.metrics.inputs import Rows
from polyalign.records import normalize_text
from polyalign.references import read_references, references_origin

_FIX = "compute the features again from the same records and predictions"


@dataclass(frozen=True)
class RowFeatures:
    """Features of the rows of a split, by source_index.

    Attributes:
        human: float64 (n, f).
        generated: float64 (n, f); NaN rows where a row was not answered.
        names: f feature names.
        supports: {bucket: {support region: its ranges over the same features}}.
        human_table: what measured them.
    """

    human: np.ndarray
    generated: np.ndarray
    names: list[str]
    supports: dict[str, dict[str, Support]]
    human_table: FeatureTable

    def take(self, rows: np.ndarray) -> "RowFeatures":
        """Features of some of the rows, by number."""
        return replace(self, human=self.human[rows], generated=self.generated[rows])


def _refuse(table: FeatureTable, path: StrPath, rows: Rows) -> None:
    """Raise for a source_index that is there twice or out of range, an id of another record, a value not finite."""
    index = table.source_index
    unique, first = np.unique(index, return_index=True)
    if len(unique) != len(index):
        row = int(np.setdiff1d(np.arange(len(index)), first)[0])
        problem = f"source_index {index[row]} comes twice"
        raise BadInput(problem, file=path, row=row + 1, field="source_index", fix=_FIX)
    if len(index) and not (unique[0] >= 0 and unique[-1] < len(rows.ids)):
        raise BadInput(
            f"source_index {unique[-1] if unique[0] >= 0 else unique[0]} is out of range",
            file=path,
            field="source_index",
            expected=f"0 to {len(rows.ids) - 1}",
            fix=_FIX,
        )
    if any(table.ids):
        differing = np.flatnonzero(np.array(table.ids) != rows.ids[index])
        if len(differing):
            row = int(differing[0])
            expected = f"id {rows.ids[index[row]]}, the record at source_index {index[row]}"
            raise BadInput(
                "features of another record",
                file=path,
                row=row + 1,
                id=table.ids[row],
                expected=expected,
                fix=_FIX,
            )
    wrong = np.argwhere(~np.isfinite(table.values))
    if len(wrong):
        row, column = (int(place) for place in wrong[0])
        raise BadInput("not finite", file=path, row=row + 1, field=table.names[column], fix=_FIX)


def _values_by_row(
    table: FeatureTable, path: StrPath, rows: Rows, wanted: np.ndarray, texts: list[str | None]
) -> np.ndarray:
    """Feature values at the wanted rows, NaN elsewhere, (n, f); texts are what should have been measured."""
    _refuse(table, path, rows)
    missing = np.setdiff1d(wanted, table.source_index)
    if len(missing):
        problem = (
            f"no features for {len(missing)} of {len(wanted)} rows, the first at source_index {missing[0]}"
        )
        raise BadInput(problem, file=path, fix=_FIX)
    values = np.full((len(rows.ids), len(table.names)), np.nan)
    wanted_here = np.isin(table.source_index, wanted)
    values[table.source_index[wanted_here]] = table.values[wanted_here]
    if "char_count" in table.names:
        measured = values[wanted, table.names.index("char_count")]
        lengths = np.array([len(normalize_text(texts[row])) for row in wanted])
        stale = np.flatnonzero(measured != lengths)
        if len(stale):
            raise BadInput(
                f"features of another text: {measured[stale[0]]:g} characters at source_index {wanted[stale[0]]}",
                file=path,
                field="char_count",
                expected=f"{lengths[stale[0]]}",
                fix=_FIX,
            )
    return values


def _supports(reference: dict, names: list[str], path: StrPath, bucket: str) -> dict[str, Support]:
    stats = reference["feature_stats"]
    missing = [name for name in names if name not in stats]
    if missing:
        raise BadInput(
            f"no reference for feature {missing[0]} in bucket {bucket}",
            file=path,
            expected="references of the same feature set",
            fix="build the references again from the same features",
        )
    std = np.array([stats[name]["std"] for name in names], dtype=np.float64)
    ranges = {}
    for region in SUPPORTS:
        low, high = (
            np.array([reference[region][n][end] for n in names], dtype=np.float64) for end in ("low", "high")
        )
        ranges[region] = Support(low, high, std)
    return ranges


def read_row_features(
    rows: Rows, references_path: StrPath, human_path: StrPath, prediction_path: StrPath
) -> RowFeatures:
    """Human and prediction features of the rows, and the supports of their buckets.

    Raises:
        BadInput: features of other rows or texts, missing rows, two feature sets, tools, scorers or name lists.
    """
    human, generated = read_features(human_path), read_features(prediction_path)
    check_combinable(
        [
            (path, table.names, table.made_by)
            for path, table in ((human_path, human), (prediction_path, generated))
        ]
    )
    references = read_references(references_path)
    refuse_different(references_origin(references), references_path, human.made_by, human_path)
    everyone = np.arange(len(rows.ids))
    return RowFeatures(
        _values_by_row(human, human_path, rows, everyone, rows.answers),
        _values_by_row(generated, prediction_path, rows, rows.answered, rows.predictions),
        human.names,
        {
            bucket: _supports(part, human.names, references_path, bucket)
            for bucket, part in references.items()
        },
        human,
    )
