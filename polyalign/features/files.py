"""Describe the answers of a file: records in, a feature file with all features out.

    describe_file("test.jsonl", "features.jsonl", feature_set="core-v1")

The workflow extracts text features and language-model features in two steps (`text_files`, `lm_files`), so that the
first needs no model and the second can have a GPU; the command line does both at once.
"""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from polyalign.features.answers import PREDICTION, read_chunks
from polyalign.features.backends import backends
from polyalign.features.names import feature_names
from polyalign.features.origin import LM_GROUP, MadeBy
from polyalign.features.table import FeatureWriter
from polyalign.features.text import TextExtractor
from polyalign.files import StrPath


def describe_file(
    records: StrPath,
    out: StrPath,
    *,
    feature_set: str,
    field: str = "human_answer",
    lm: StrPath | None = None,
    predictions: StrPath | None = None,
    workers: int = 1,
    max_length: int = 4096,
    batch_tokens: int = 16384,
) -> int:
    """Write text features and, with a model, language-model features of a file's answers.

    Args:
        records: records, Parquet or JSONL(.gz).
        out: feature file, Parquet or JSONL(.gz) by suffix.
        feature_set: `paper-v1` or `core-v1`.
        field: the field of a record that holds its answer.
        lm: folder of the model that scores the answers, in float32; None for text features alone.
        predictions: JSONL rows with source_index and prediction to describe instead of the records' own answers.
        workers: processes for text features.
        max_length: maximum tokens of a scored sequence; the model's own limit where that is less.
        batch_tokens: tokens of a scoring batch.

    Returns:
        Number of rows.

    Raises:
        BadInput: a broken or mismatching file, or no model there.
        PolyAlignError: a tool of the feature set is missing.
    """
    made_by = MadeBy(feature_set, None, backends(feature_set))
    names = feature_names(feature_set)
    scorer = None
    if lm is not None:
        from polyalign.features.lm import LmScorer, load_scorer

        scorer = load_scorer(lm, max_length=max_length)
        names = feature_names(feature_set, lm=True)
        made_by = replace(
            made_by,
            scorer=Path(lm).resolve().name,
            scorer_digest=scorer.digest,
            backends={**made_by.backends, LM_GROUP: scorer.describe()},
        )
    label = field if predictions is None else PREDICTION
    with ExitStack() as stack:
        extract = stack.enter_context(TextExtractor(feature_set, workers))
        score = None if scorer is None else stack.enter_context(LmScorer(scorer, batch_tokens))
        writer = stack.enter_context(FeatureWriter(out, names, made_by))
        for chunk in read_chunks(records, field, predictions):
            values = extract(chunk.texts)
            if score is not None:
                values = np.hstack([values, score(chunk.records, chunk.texts)])
            writer.write(chunk.table(label, values, names, made_by))
    return writer.rows
