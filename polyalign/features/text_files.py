"""Text features from file to file: records, or predictions for them, in; a feature table out."""

from typing import Any

from polyalign.features.answers import PREDICTION, read_chunks
from polyalign.features.backends import backends
from polyalign.features.names import feature_names
from polyalign.features.table import FeatureWriter, MadeBy
from polyalign.features.text import TextExtractor
from polyalign.files import StrPath


def write_text_features(
    records: StrPath,
    out: StrPath,
    *,
    feature_set: str,
    field: str = "human_answer",
    predictions: StrPath | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Write the text features of a file's answers; returns details for the manifest."""
    made_by = MadeBy(feature_set, None, backends(feature_set))
    names = feature_names(feature_set)
    label = field if predictions is None else PREDICTION
    with TextExtractor(feature_set, workers) as extract, FeatureWriter(out, names, made_by) as writer:
        for chunk in read_chunks(records, field, predictions):
            values = extract(chunk.texts)
            writer.write(chunk.table(label, values, names, made_by))
    return made_by.details(writer.rows, len(names))
