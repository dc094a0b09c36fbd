"""Language-model features from file to file: a table of text features in, the same with 43 more columns out."""

from typing import Any

from polyalign.errors import BadInput
from polyalign.features.answers import CHUNK_ROWS, read_chunks
from polyalign.features.lm import LmScorer
from polyalign.features.names import LM_NAMES
from polyalign.features.origin import LM_GROUP, MadeBy
from polyalign.features.scorer import Scorer
from polyalign.features.shards import Shard
from polyalign.features.table import FeatureWriter, read_feature_chunks, read_origin
from polyalign.files import StrPath


def add_lm_features(
    text_features: StrPath,
    records: StrPath,
    out: StrPath,
    scorer: Scorer,
    *,
    scorer_name: str,
    field: str = "human_answer",
    predictions: StrPath | None = None,
    batch_tokens: int = 16384,
    shard: str | None = None,
) -> dict[str, Any]:
    """Write the text features of `text_features` (Parquet) with the language-model features of the same answers.

    Args:
        shard: the part of the answers that the text features are of, such as `2-of-8`; None: all.

    Raises:
        BadInput: the text features are of other rows.
    """
    text_names, origin = read_origin(text_features)
    made_by = MadeBy(
        origin.feature_set, scorer_name, {**origin.backends, LM_GROUP: scorer.describe()}, scorer.digest
    )
    tables = read_feature_chunks(text_features, CHUNK_ROWS)
    with (
        LmScorer(scorer, batch_tokens) as score,
        FeatureWriter(out, [*text_names, *LM_NAMES], made_by) as writer,
    ):
        for chunk in read_chunks(records, field, predictions, Shard.parse(shard)):
            table = next(tables, None)
            if table is None or table.source_index.tolist() != chunk.source_index:
                raise BadInput(
                    "text features of other rows than these answers",
                    file=text_features,
                    expected=f"the rows of {predictions or records}",
                    fix="extract the text features again",
                )
            values = score(chunk.records, chunk.texts)
            writer.write(table.with_columns(LM_NAMES, values, made_by))
    return made_by.details(writer.rows, len(text_names) + len(LM_NAMES))
