"""Text features from file to file: records, or predictions for them, in; a feature table out."""

from typing import Any

from polyalign.features.answers import PREDICTION, read_chunks
from polyalign.features.backends import backends
from polyalign.features.names import feature_names
from polyalign.features.nltk_data import use_folder
from polyalign.features.origin import MadeBy
from polyalign.features.shards import Shard
from polyalign.features.table import FeatureWriter
from polyalign.features.text import TextExtractor
from polyalign.files import StrPath
from polyalign.progress import track


def write_text_features(
    records: StrPath,
    out: StrPath,
    *,
    feature_set: str,
    field: str = "human_answer",
    predictions: StrPath | None = None,
    workers: int = 1,
    nltk_data: StrPath | None = None,
    shard: str | None = None,
) -> dict[str, Any]:
    """Write the text features of a file's answers.

    Args:
        records: records, Parquet or JSONL(.gz).
        out: feature file, Parquet or JSONL(.gz) by suffix.
        feature_set: `paper-v1` or `core-v1`.
        field: the field of a record that holds its answer.
        predictions: JSONL rows with source_index and prediction to describe instead of the records' own answers.
        workers: processes.
        nltk_data: folder that the NLTK data of `paper-v1` are read from; None: NLTK's own.
        shard: the part of the answers to measure, such as `2-of-8`; None: all.

    Returns:
        Details for the manifest.

    Raises:
        BadInput: a broken or mismatching file.
        PolyAlignError: a tool of the feature set is missing or not the one expected.
    """
    use_folder(nltk_data)
    made_by = MadeBy(feature_set, None, backends(feature_set))
    names = feature_names(feature_set)
    label = field if predictions is None else PREDICTION
    with TextExtractor(feature_set, workers) as extract, FeatureWriter(out, names, made_by) as writer:
        chunks = read_chunks(records, field, predictions, Shard.parse(shard))
        for chunk in track(chunks, label="text features", count=lambda chunk: len(chunk.texts)):
            values = extract(chunk.texts)
            writer.write(chunk.table(label, values, names, made_by))
    return made_by.details(writer.rows, len(names))
