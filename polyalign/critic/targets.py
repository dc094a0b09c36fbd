"""Critic targets: how far an answer lies outside the human support of its bucket.

docs/method.md, Critic and HDPO. Targets are computed from feature tables and bucket references, once a table.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from polyalign.errors import BadInput, BadInputs
from polyalign.features.table import check_combinable, read_feature_chunks
from polyalign.files import StrPath, write_jsonl
from polyalign.records import read_records
from polyalign.references import read_references
from polyalign.support import table_distances


class Targets:
    """Support distances of the answers of one feature table, looked up by source_index.

    Args:
        source_index: row numbers [n], in any order.
        distances: support distance [n] of each, NaN where the bucket has no reference.
        name: where they come from, for messages.
    """

    def __init__(self, source_index: np.ndarray, distances: np.ndarray, name: str) -> None:
        order = np.argsort(source_index, kind="stable")
        self._index, self._distances, self._name = source_index[order], distances[order], name

    def of(self, wanted: Sequence[int]) -> np.ndarray:
        """Distances [m] of the rows `wanted`; raises `BadInputs` naming rows without features."""
        rows = np.asarray(wanted, dtype=np.int64)
        place = np.searchsorted(self._index, rows)
        known = place < len(self._index)
        known[known] = self._index[place[known]] == rows[known]
        if not known.all():
            raise BadInputs(
                [
                    BadInput(
                        f"no features for source_index {row}",
                        file=self._name,
                        fix="extract the features of this file again",
                    )
                    for row in rows[~known]
                ]
            )
        return self._distances[place]


def _read_targets(file: StrPath, references: Mapping[str, Any], support: str, form: str) -> Targets:
    indices, distances = [np.empty(0, np.int64)], [np.empty(0)]
    for chunk in read_feature_chunks(file):
        indices.append(chunk.source_index)
        distances.append(table_distances(chunk, references, file=str(file), support=support, form=form))
    return Targets(np.concatenate(indices), np.concatenate(distances), str(file))


def read_target_pair(
    human_features: StrPath, model_features: StrPath, references: StrPath, *, support: str, form: str
) -> tuple[Targets, Targets]:
    """Targets of the human and of the model answers, from their feature tables, streamed.

    Args:
        references: bucket_references.json of the same feature set and scorer.
        support: `q10_q90` or `q25_q75`.
        form: `published` or `corrected`, see docs/critic.md.

    Raises:
        BadInput: the three were not made with the same features and scorer.
    """
    first = [(file, next(read_feature_chunks(file), None)) for file in (human_features, model_features)]
    check_combinable([(file, chunk.names, chunk.made_by) for file, chunk in first if chunk is not None])
    known = read_references(references)
    return (
        _read_targets(human_features, known, support, form),
        _read_targets(model_features, known, support, form),
    )


def write_targets(
    records: StrPath, features: StrPath, references: StrPath, out: StrPath, *, support: str, form: str
) -> tuple[int, int]:
    """Write {source_index, id, bucket_id, target} of every row of a feature file, as JSONL.

    Args:
        records: the records that the features' answers belong to; they say the bucket of a row.
        support, form: as in `read_target_pair`.

    Returns:
        (rows, rows in a bucket without reference, whose target is null).

    Raises:
        BadInput: a row of the features is not the record it claims to be.
    """
    known = read_references(references)
    labels = [(record["id"], record["bucket_id"]) for record in read_records(records)]
    without = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal without
        for chunk in read_feature_chunks(features):
            buckets = []
            for index, row_id in zip(chunk.source_index.tolist(), chunk.ids, strict=True):
                if not (0 <= index < len(labels) and labels[index][0] == row_id):
                    raise BadInput(
                        f"source_index {index} is not this record",
                        file=features,
                        id=row_id,
                        expected=f"rows of {records}",
                        fix="extract the features from these records",
                    )
                buckets.append(labels[index][1])
            distances = table_distances(
                chunk, known, file=str(features), support=support, form=form, bucket_ids=buckets
            )
            for index, row_id, bucket, target in zip(
                chunk.source_index.tolist(), chunk.ids, buckets, distances.tolist(), strict=True
            ):
                missing = np.isnan(target)
                without += int(missing)
                yield {
                    "source_index": index,
                    "id": row_id,
                    "bucket_id": bucket,
                    "target": None if missing else target,
                }

    return write_jsonl(out, rows()), without
