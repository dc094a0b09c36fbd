"""Critic, ranking loss, collapse check, HDPO weights and pair counters against the published numbers."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from polyalign.critic.losses import check_scores, critic_loss, score_diagnostics
from polyalign.critic.model import CriticHead, Encoder
from polyalign.critic.recipe import EncoderSettings
from polyalign.critic.targets import Targets, read_target_pair
from polyalign.errors import BadInput, PolyAlignError
from polyalign.features.origin import MadeBy
from polyalign.features.table import FeatureTable, read_features, write_features
from polyalign.files import write_json, write_jsonl, write_table
from polyalign.hdpo_weights import (
    WeightSettings,
    complete_scores,
    frequency_gaps,
    hdpo_weights,
    pair_type_bias,
)
from polyalign.pairs import PAIR_ROWS_SCHEMA, build_pairs

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def kit(shared):
    return shared / "data" / "parity" / "en"


def read(path):
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as handle:
        return json.load(handle)


@pytest.fixture(scope="module")
def critic_kit(kit):
    return read(kit / "critic_losses.json"), np.load(kit / "critic_mlp.npz")


@pytest.fixture(scope="module")
def head(critic_kit):
    shape, arrays = critic_kit[0]["mlp"], critic_kit[1]
    head = CriticHead(
        shape["response_dim"], shape["num_buckets"], shape["bucket_dim"], shape["hidden_dim"], 0.1
    )
    head.load_state_dict(
        {
            name.removeprefix("state."): torch.from_numpy(arrays[name])
            for name in arrays.files
            if name.startswith("state.")
        }
    )
    return head.eval()


def test_head_scores(critic_kit, head):
    arrays = critic_kit[1]
    with torch.no_grad():
        scores = head(torch.from_numpy(arrays["input_embedding"]), torch.from_numpy(arrays["input_bucket"]))
    np.testing.assert_allclose(scores.numpy(), arrays["output"], **CLOSE)


@pytest.mark.parametrize("batch_tokens", [100, 4096])
def test_encoder_vectors_whatever_the_batching(shared, critic_kit, head, batch_tokens):
    expected, arrays = critic_kit
    settings = EncoderSettings(
        max_length=expected["encoder"]["max_length"], batch_tokens=batch_tokens, dtype="float32"
    )
    encoder = Encoder(shared / "data" / "parity" / "tiny_lm", settings)
    vectors = encoder.encode(expected["encoder_texts"])
    np.testing.assert_allclose(vectors.numpy(), arrays["encoder_embedding"], rtol=1e-5, atol=2e-6)
    with torch.no_grad():
        scores = head(vectors, torch.from_numpy(arrays["input_bucket"]))
    np.testing.assert_allclose(scores.numpy(), arrays["encoder_scores"], **CLOSE)


def test_losses(critic_kit):
    def tensor(values):
        return None if values is None else torch.tensor(values, dtype=torch.float32)

    for case in critic_kit[0]["loss_cases"]:
        got = critic_loss(
            *(tensor(case[name]) for name in ("pred", "target", "chosen", "rejected")),
            margin=case["margin"],
            reg_lambda=case["reg_lambda"],
            rank_lambda=case["rank_lambda"],
        )
        expected = [case["loss"], case["reg_loss"], case["rank_loss"]]
        np.testing.assert_allclose([part.item() for part in got], expected, **CLOSE)


def test_collapse_diagnostics(critic_kit):
    for case in critic_kit[0]["score_pair_diagnostics"]:
        got = score_diagnostics(
            case["chosen_texts"],
            case["rejected_texts"],
            np.array(case["chosen"]),
            np.array(case["rejected"]),
        )
        assert got.keys() == case["diagnostics"].keys()
        for name, value in case["diagnostics"].items():
            assert got[name] == pytest.approx(value, abs=1e-9), name
        if case["collapse"]:
            with pytest.raises(PolyAlignError, match="collapsed"):
                check_scores(got, where="pairs")
        else:
            check_scores(got, where="pairs")


# The kit's records are as raw as published input: the fields go by several names and hold numbers as text.
SCORE_NAMES = ("{}_dist_score", "{}_distribution_score", "{}_critic_score")
TYPE_NAMES = {
    "dist": "distribution",
    "distributional": "distribution",
    "locality": "local",
    "local_alignment": "local",
}


def raw_number(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def raw_bucket(record):
    parts = ("language", "track", "family", "style_bucket", "length_bin")
    return record["bucket_id"] or "|".join(record[part] or "_" for part in parts)


def test_hdpo_weights(kit):
    data = read(kit / "hdpo_weights.json.gz")
    records, train = data["records"], data["records"][: data["train_rows_used_for_tables"]]
    gaps = frequency_gaps(raw_bucket(record) for record in train)
    languages = frequency_gaps(record["language"] or "__missing_language__" for record in train)
    assert gaps == pytest.approx(data["bucket_gap_table"], rel=1e-9, abs=1e-12)
    assert languages == pytest.approx(data["language_weight_table"], rel=1e-9, abs=1e-12)

    ids = [record["id"] for record in records]
    scores = {}
    for side in ("chosen", "rejected"):
        names = [name.format(side) for name in SCORE_NAMES]
        raw = [
            raw_number(next((record[name] for name in names if name in record), None)) for record in records
        ]
        scores[side] = complete_scores(np.array(raw), ids, "zero", field=side)
    bucket_gap = np.array(
        [record.get("baseline_bucket_gap", gaps.get(raw_bucket(record), 0.0)) for record in records]
    )
    language_gap = np.array(
        [
            record.get("lang_weight", languages.get(record["language"] or "__missing_language__", 0.0))
            for record in records
        ]
    )
    known = ("global", "local", "distribution")
    types = [TYPE_NAMES.get(record["pair_type"], record["pair_type"]).strip().lower() for record in records]
    types = [name if name in known else "global" for name in types]
    for params, outputs in zip(data["parameter_sets"], data["outputs_by_parameter_set"], strict=True):
        settings = WeightSettings(
            bucket_gap=params["alpha"],
            score_gap=params["beta"],
            language_gap=params["gamma"],
            pair_type=params["eta"],
            w_min=params["w_min"],
            w_max=params["w_max"],
            pair_type_bias=params["pair_type_scores"],
        )
        bias = pair_type_bias(types, settings.pair_type_bias)
        got = hdpo_weights(scores["chosen"], scores["rejected"], bucket_gap, language_gap, bias, settings)
        kept = [row for row, output in enumerate(outputs) if output is not None]
        assert len(kept) > 500
        np.testing.assert_allclose(
            got[kept], [outputs[row]["hdpo_weight"] for row in kept], rtol=0, atol=1e-9
        )


def test_pair_counters(kit, tmp_path):
    expected = read(kit / "edge_cases.json.gz")["hdpo_pair_summary"]
    with gzip.open(kit / "current.jsonl.gz", "rt") as handle:
        records = [json.loads(line) for line in handle]
    with gzip.open(kit / "predictions.jsonl.gz", "rt") as handle:
        predictions = [json.loads(line) for line in handle]
    rows = [
        {**record, "meta": json.dumps(record["meta"]), "source_index": number}
        for number, record in enumerate(records)
    ]
    write_table(tmp_path / "rows.parquet", pa.Table.from_pylist(rows, schema=PAIR_ROWS_SCHEMA))
    write_jsonl(tmp_path / "predictions.jsonl", predictions)
    targets = Targets(np.arange(len(rows)), np.zeros(len(rows)), "features")
    got = build_pairs(
        tmp_path / "rows.parquet",
        tmp_path / "predictions.jsonl",
        targets,
        targets,
        tmp_path / "pairs.parquet",
    )
    for name in (
        "source_records",
        "prediction_rows",
        "paired_records",
        "skipped_empty_chosen",
        "skipped_empty_rejected",
        "skipped_exact_match",
    ):
        assert got[name] == expected[name], name
    assert got["pairs_by_style"] == expected["dataset_counts"]


@pytest.fixture
def feature_tables(kit, tmp_path):
    """The kit's human and prediction features as our tables, with the kit's buckets."""
    with gzip.open(kit / "current.jsonl.gz", "rt") as handle:
        buckets = [json.loads(line)["bucket_id"] for line in handle]
    paths = []
    for side in ("human", "pred"):
        with gzip.open(kit / f"features_{side}.jsonl.gz", "rt") as handle:
            rows = [json.loads(line) for line in handle]
        names = list(rows[0]["features"])
        table = FeatureTable(
            source_index=np.arange(len(rows)),
            ids=[row["id"] for row in rows],
            datasets=[row["dataset"] for row in rows],
            splits=[row["split"] for row in rows],
            bucket_ids=buckets,
            field_names=[row["field_name"] for row in rows],
            names=names,
            values=np.array([[row["features"][name] for name in names] for row in rows], dtype=np.float64),
            made_by=MadeBy("paper-v1"),
        )
        paths.append(tmp_path / f"{side}.parquet")
        write_features(paths[-1], table)
    write_json(tmp_path / "references.json", read(kit / "bucket_references.json.gz"))
    return *paths, tmp_path / "references.json"


@pytest.mark.parametrize("support", ["q10_q90", "q25_q75"])
def test_published_targets(kit, feature_tables, support):
    targets = read_target_pair(*feature_tables, support=support, form="published")
    with gzip.open(kit / "expected_rows.jsonl.gz", "rt") as handle:
        expected = [json.loads(line) for line in handle]
    for side, got in zip(("human", "pred"), targets, strict=True):
        values = [row[f"support_distance_{side}_{support}"] for row in expected]
        wanted = np.array([np.nan if value is None else value for value in values])
        np.testing.assert_allclose(got.of(range(len(expected))), wanted, rtol=1e-9)


def test_corrected_targets_are_bounded(feature_tables):
    _, published = read_target_pair(*feature_tables, support="q10_q90", form="published")
    _, corrected = read_target_pair(*feature_tables, support="q10_q90", form="corrected")
    rows = range(2000)
    assert np.nanmax(published.of(rows)) > 1e5
    assert np.nanmax(corrected.of(rows)) <= 10


def test_features_of_two_sets_are_refused(feature_tables):
    human, model, references = feature_tables
    table = read_features(model)
    write_features(model, replace(table, made_by=MadeBy("core-v1")))
    with pytest.raises(BadInput, match="feature set is core-v1"):
        read_target_pair(human, model, references, support="q10_q90", form="published")
