"""Bucket references and support distances on numbers that can be checked by hand."""

import json

import numpy as np
import pytest
from model_families import record_of

from polyalign.errors import BadInput
from polyalign.features.origin import MadeBy
from polyalign.features.table import FeatureTable, read_features, write_features
from polyalign.files import read_json, write_json
from polyalign.records import RecordWriter
from polyalign.references import build_references, feature_statistics, quantile_index, read_references
from polyalign.support import CLIP, support_distances, table_distances

NAMES = ["wide", "constant", "steps"]
LARGE, SMALL = "en|single|qa|short", "en|single|qa|long"


@pytest.fixture
def corpus(tmp_path):
    """Two splits, 24 rows of one bucket and 3 of another; 'steps' is 0, 1, 2, ... over the rows of the large bucket."""
    files = []
    step = 0
    for split, rows in (("train", 16), ("test", 11)):
        records, values = [], []
        for row in range(rows):
            bucket = SMALL if row % 9 == 8 else LARGE
            name = record_of(row)["id"] + split
            records.append(
                record_of(row)
                | {"id": name, "split": split, "bucket_id": bucket, "style_bucket": "qa_search"}
            )
            values.append([row * 10.0, 7.0, float(step)])
            step += bucket == LARGE
        with RecordWriter(tmp_path / f"{split}.jsonl") as writer:
            for record in records:
                writer.write(record)
        table = FeatureTable(
            np.arange(rows),
            [record["id"] for record in records],
            [record["dataset"] for record in records],
            [split] * rows,
            [record["bucket_id"] for record in records],
            ["human_answer"] * rows,
            NAMES,
            np.array(values),
            MadeBy("core-v1", "tiny"),
        )
        write_features(tmp_path / f"{split}_features.parquet", table)
        files.append((tmp_path / f"{split}.jsonl", tmp_path / f"{split}_features.parquet"))
    return [list(paths) for paths in zip(*files, strict=True)]


def test_quantiles_are_values_at_rounded_indices():
    # (n - 1) p halfway between two indices goes to the even one.
    assert [quantile_index(6, 0.1), quantile_index(16, 0.1), quantile_index(26, 0.1)] == [0, 2, 2]
    assert [quantile_index(1, 0.9), quantile_index(21, 0.5)] == [0, 10]


def test_statistics_do_not_keep_the_values_they_were_taken_from():
    values = np.arange(60, dtype=np.float64).reshape(3, 20)[:, ::-1].copy()
    found = feature_statistics(values)
    assert found["q50"].tolist() == [10.0, 30.0, 50.0]
    assert all(part.base is None for part in found.values())


def test_references_of_a_small_corpus(corpus, tmp_path):
    details = build_references(*corpus, tmp_path / "out", min_bucket_size=20)
    references = read_references(tmp_path / "out" / "bucket_references.json")
    assert list(references) == [LARGE]
    reference = references[LARGE]
    assert (reference["count"], reference["feature_count"]) == (25, 3)
    assert reference["feature_stats"]["steps"] == {
        "count": 25,
        "min": 0.0,
        "max": 24.0,
        "mean": 12.0,
        "std": pytest.approx(np.arange(25).std()),
        "q10": 2.0,
        "q25": 6.0,
        "q50": 12.0,
        "q75": 18.0,
        "q90": 22.0,
    }
    assert reference["support_q10_q90"]["steps"] == {"low": 2.0, "high": 22.0}
    assert reference["prototype_median"]["constant"] == 7.0
    assert reference["split_counts"] == {"test": 10, "train": 15}
    assert reference["dataset_counts"] == {"dolly": 25}
    assert list(reference)[-4:] == ["feature_set", "scorer", "scorer_digest", "backends"]
    assert (reference["feature_set"], reference["scorer"]) == ("core-v1", "tiny")
    assert details["skipped_buckets"] == [{"bucket_id": SMALL, "count": 2}]
    assert read_json(tmp_path / "out" / "skipped_buckets.json")["buckets"] == details["skipped_buckets"]


def test_the_matrix_has_every_row_with_its_labels(corpus, tmp_path):
    import pyarrow.parquet as pq

    build_references(*corpus, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out" / "feature_matrix.parquet").to_pylist()
    assert len(rows) == 27
    assert rows[16]["split"] == "test"
    assert rows[16]["style_bucket"] == "qa_search"
    assert [rows[16][name] for name in NAMES] == [0.0, 7.0, 15.0]


def test_blocks_of_columns_do_not_change_the_result(corpus, tmp_path, monkeypatch):
    build_references(*corpus, tmp_path / "whole")
    monkeypatch.setattr("polyalign.references.BLOCK_VALUES", 1)
    build_references(*corpus, tmp_path / "blocks")
    one, two = (read_json(tmp_path / name / "bucket_references.json")[LARGE] for name in ("whole", "blocks"))
    assert list(one["feature_stats"]) == list(two["feature_stats"])
    for name, stats in one["feature_stats"].items():
        assert two["feature_stats"][name] == pytest.approx(stats, rel=1e-12)


def test_features_of_another_corpus_or_scorer_are_refused(corpus, tmp_path):
    records, features = corpus
    with pytest.raises(BadInput, match="features of another record"):
        build_references(records, features[::-1][:1] + features[:1], tmp_path / "out")
    other = read_features(features[1])
    write_features(features[1], other.with_columns([], np.zeros((len(other), 0)), MadeBy("core-v1", "big")))
    with pytest.raises(BadInput, match="scorer is big, that of"):
        build_references(records, features, tmp_path / "out")
    with pytest.raises(BadInput, match="2 record files and 1 feature files"):
        build_references(records, features[:1], tmp_path / "out")
    assert not (tmp_path / "out" / "feature_matrix.parquet").exists()


def test_published_references_are_read_and_other_json_is_not(tmp_path):
    write_json(tmp_path / "x.json", {"a": {"count": 3}})
    with pytest.raises(BadInput, match="id a: not a bucket reference"):
        read_references(tmp_path / "x.json")
    (tmp_path / "x.json").write_text(json.dumps([1]))
    with pytest.raises(BadInput, match="not bucket references"):
        read_references(tmp_path / "x.json")


@pytest.fixture
def references(corpus, tmp_path):
    build_references(*corpus, tmp_path / "out")
    return read_references(tmp_path / "out" / "bucket_references.json")


def test_distances_by_hand(references):
    # Supports: wide [10, 120] or so is met below; constant 7 with scale 1e-6; steps [2, 22] with scale 20.
    wide = references[LARGE]["support_q10_q90"]["wide"]
    inside = [wide["low"], 7.0, 10.0]
    values = np.array([inside, [wide["low"], 7.0, 42.0], [wide["low"], 8.0, 10.0], inside])
    buckets = [LARGE, LARGE, LARGE, SMALL]
    found = support_distances(values, buckets, references, names=NAMES)
    np.testing.assert_allclose(found, [0.0, 1.0 / 3, 1e6 / 3, np.nan])
    # Without the constant feature two are left.
    corrected = support_distances(values, buckets, references, names=NAMES, form="corrected")
    np.testing.assert_allclose(corrected, [0.0, 1.0 / 2, 0.0, np.nan])
    far = support_distances(
        np.array([[wide["low"], 7.0, 1e9]]), [LARGE], references, names=NAMES, form="corrected"
    )
    assert far[0] == CLIP / 2


def test_distances_refuse_what_does_not_fit(references, corpus):
    table = read_features(corpus[1][0])
    assert np.isfinite(table_distances(table, references, file="f")).sum() == 15
    other = table.with_columns([], np.zeros((len(table), 0)), MadeBy("paper-v1", "tiny"))
    with pytest.raises(BadInput, match="feature set is paper-v1, that of the references is core-v1"):
        table_distances(other, references, file="f")
    other = table.with_columns([], np.zeros((len(table), 0)), MadeBy("core-v1", "tiny", {"tags": "x 1"}))
    references[LARGE]["backends"] = {"tags": "x 2"}
    with pytest.raises(BadInput, match="tool of tags is x 1, that of the references is x 2"):
        table_distances(other, references, file="f")
    with pytest.raises(BadInput, match="no reference for feature odd"):
        support_distances(np.zeros((1, 1)), [LARGE], references, names=["odd"])
    for setting in ({"support": "q5_q95"}, {"form": "other"}):
        with pytest.raises(BadInput, match=next(iter(setting.values()))):
            support_distances(np.zeros((1, 3)), [LARGE], references, names=NAMES, **setting)
