"""Feature tables on disk, and describing the answers of a file."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from model_families import record_of, save_model

from polyalign.errors import BadInput, BadInputs
from polyalign.features import answers as answers_module
from polyalign.features.answers import read_chunks
from polyalign.features.files import describe_file
from polyalign.features.lm_files import add_lm_features
from polyalign.features.names import feature_names
from polyalign.features.origin import MadeBy
from polyalign.features.scorer import load_scorer
from polyalign.features.shards import WINDOW_ROWS, Shard, join_features
from polyalign.features.table import (
    KEYS,
    FeatureTable,
    FeatureWriter,
    check_combinable,
    read_feature_chunks,
    read_features,
    write_features,
)
from polyalign.features.text_files import write_text_features
from polyalign.files import write_jsonl
from polyalign.records import RecordWriter

ANSWERS = ["One red barn.", "", "Two barns! Or three?", "今天很好。", "No"]


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "records.parquet"
    with RecordWriter(path) as writer:
        for number, answer in enumerate(ANSWERS):
            writer.write(record_of(number, human_answer=answer))
    return path


def some_table(rows: int = 3, made_by: MadeBy | None = None) -> FeatureTable:
    names = ["char_count", "type_token_ratio", "lm_conditional_lm_truncated"]
    return FeatureTable(
        source_index=np.arange(rows),
        ids=[f"r{row}" for row in range(rows)],
        datasets=["dolly"] * rows,
        splits=["test"] * rows,
        bucket_ids=["en|single|qa|short"] * rows,
        field_names=["human_answer"] * rows,
        names=names,
        values=np.arange(rows * 3, dtype=np.float64).reshape(rows, 3) / 4,
        made_by=made_by or MadeBy("core-v1", "tiny", {"tokens": "nltk 3"}, "0a1b"),
    )


@pytest.mark.parametrize("name", ["f.parquet", "f.jsonl", "f.jsonl.gz"])
def test_a_table_comes_back_as_it_was_written(tmp_path, name):
    table = some_table()
    if not name.endswith(".parquet"):
        # JSON holds whole numbers and flags as such.
        table.values[:, 0] = [1, 2, 3]
        table.values[:, 2] = [0, 1, 0]
    write_features(tmp_path / name, table)
    back = read_features(tmp_path / name)
    np.testing.assert_array_equal(back.values, table.values)
    assert back.made_by == table.made_by
    assert list(back.ids) == table.ids
    assert list(back.bucket_ids) == table.bucket_ids
    assert back.source_index.tolist() == [0, 1, 2]
    assert [len(chunk) for chunk in read_feature_chunks(tmp_path / name, rows=2)] == [2, 1]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_json_rows_have_the_published_keys_and_types(tmp_path):
    write_features(tmp_path / "f.jsonl", some_table())
    row = json.loads((tmp_path / "f.jsonl").read_text().splitlines()[1])
    assert list(row)[:5] == ["id", "dataset", "split", "field_name", "features"]
    assert [type(value) for value in row["features"].values()] == [int, float, bool]


def test_parquet_has_the_declared_columns(tmp_path):
    write_features(tmp_path / "f.parquet", some_table())
    schema = pq.read_schema(tmp_path / "f.parquet")
    assert tuple(schema.names[:5]) == KEYS
    assert all(field.type == pa.float64() for field in list(schema)[5:])
    assert schema.metadata[b"polyalign.scorer"] == b"tiny"


def test_published_rows_are_numbered_by_their_place(tmp_path):
    rows = [
        {"id": f"r{n}", "dataset": "d", "split": "test", "field_name": "x", "features": {"a": n}}
        for n in range(5)
    ]
    write_jsonl(tmp_path / "f.jsonl", rows)
    chunks = list(read_feature_chunks(tmp_path / "f.jsonl", rows=2))
    assert [index for chunk in chunks for index in chunk.source_index.tolist()] == [0, 1, 2, 3, 4]
    assert chunks[0].made_by == MadeBy(None)


@pytest.mark.parametrize(
    ("features", "problem"),
    [
        ({"a": 1}, "row 2, id r1, field 'features'"),
        ({"a": 1, "b": None}, "row 2, id r1, field 'b': found None; expected a number"),
        ([1, 2], "row 2, id r1, field 'features'"),
    ],
)
def test_a_broken_json_row_is_named(tmp_path, features, problem):
    write_jsonl(
        tmp_path / "f.jsonl", [{"id": "r0", "features": {"a": 1, "b": 2}}, {"id": "r1", "features": features}]
    )
    with pytest.raises(BadInput, match=problem):
        read_features(tmp_path / "f.jsonl")


@pytest.mark.parametrize(
    ("names", "other", "problem"),
    [
        (["a"], MadeBy("paper-v1", "tiny"), "feature set is paper-v1, that of one is core-v1"),
        (["a"], MadeBy("core-v1", "big"), "scorer is big, that of one is tiny"),
        (["a"], MadeBy("core-v1"), "scorer is none, that of one is tiny"),
        (["a"], MadeBy("core-v1", "tiny", {"tags": "x 2"}), "tool of tags is x 2, that of one is x 1"),
        (
            ["a"],
            MadeBy("core-v1", "tiny", scorer_digest="b" * 64),
            "scorer is tiny .b{12}., that of one is tiny .a",
        ),
        (["b"], MadeBy("core-v1", "tiny"), "first difference: a"),
        (["b"], MadeBy(None), "first difference: a"),
    ],
)
def test_tables_of_different_origin_are_never_combined(names, other, problem):
    with pytest.raises(BadInput, match=problem):
        check_combinable(
            [("one", ["a"], MadeBy("core-v1", "tiny", {"tags": "x 1"}, "a" * 64)), ("two", names, other)]
        )


def test_a_scorer_counts_by_its_content_and_not_by_its_name():
    check_combinable(
        [("one", [], MadeBy("core-v1", "tiny", {}, "a")), ("two", [], MadeBy("core-v1", "x", {}, "a"))]
    )


def test_a_published_table_is_held_to_its_names_alone():
    check_combinable([("one", ["a"], MadeBy("core-v1", "tiny")), ("two", ["a"], MadeBy(None))])


def fail_while_writing(path):
    table = some_table()
    with FeatureWriter(path, table.names, table.made_by) as writer:
        writer.write(table)
        raise RuntimeError


def test_a_failed_write_leaves_nothing(tmp_path):
    for name in ("f.parquet", "f.jsonl"):
        with pytest.raises(RuntimeError):
            fail_while_writing(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_two_steps_give_what_one_step_gives(tmp_path, records, monkeypatch):
    monkeypatch.setattr(answers_module, "CHUNK_ROWS", 2)
    monkeypatch.setattr("polyalign.features.lm_files.CHUNK_ROWS", 2)
    model = save_model(tmp_path / "tiny")
    assert describe_file(records, tmp_path / "one.parquet", feature_set="core-v1", lm=model) == len(ANSWERS)
    details = write_text_features(records, tmp_path / "text.parquet", feature_set="core-v1")
    assert (details["rows"], details["features"], details["scorer"]) == (len(ANSWERS), 134, None)
    scorer = load_scorer(model, max_length=4096)
    details = add_lm_features(
        tmp_path / "text.parquet", records, tmp_path / "two.parquet", scorer, scorer_name="tiny"
    )
    assert (details["features"], details["scorer"]) == (177, "tiny")
    one, two = read_features(tmp_path / "one.parquet"), read_features(tmp_path / "two.parquet")
    assert one.names == two.names == feature_names("core-v1", lm=True)
    np.testing.assert_allclose(one.values, two.values, rtol=1e-4, atol=1e-4)
    assert one.made_by == two.made_by


def test_text_features_of_other_rows_are_refused(tmp_path, records):
    write_jsonl(tmp_path / "p.jsonl", [{"source_index": 1, "prediction": "x"}])
    write_text_features(records, tmp_path / "text.parquet", feature_set="core-v1")
    scorer = load_scorer(save_model(tmp_path / "tiny"), max_length=64)
    with pytest.raises(BadInput, match="text features of other rows"):
        add_lm_features(
            tmp_path / "text.parquet",
            records,
            tmp_path / "out.parquet",
            scorer,
            scorer_name="tiny",
            predictions=tmp_path / "p.jsonl",
        )
    assert not (tmp_path / "out.parquet").exists()


def test_predictions_are_matched_to_their_records_in_any_order(tmp_path, records):
    rows = [{"source_index": 3, "id": "row-3", "prediction": "yes"}, {"source_index": 0, "prediction": "no"}]
    write_jsonl(tmp_path / "p.jsonl", rows)
    (chunk,) = read_chunks(records, predictions=tmp_path / "p.jsonl")
    assert (chunk.source_index, chunk.texts) == ([0, 3], ["no", "yes"])
    assert [record["id"] for record in chunk.records] == ["row-0", "row-3"]
    describe_file(records, tmp_path / "f.parquet", feature_set="core-v1", predictions=tmp_path / "p.jsonl")
    assert read_features(tmp_path / "f.parquet").field_names == ["prediction"] * 2


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"prediction": "x"}], "row 1, field 'source_index': found None; expected a row number from 0"),
        ([{"source_index": 0, "prediction": None}], "row 1, field 'prediction': found None"),
        (
            [{"source_index": 0, "prediction": "x"}] * 2,
            "row 2, field 'source_index': 0 already answered in row 1",
        ),
        ([{"source_index": 9, "prediction": "x"}], "row 1: source_index 9 is out of range; expected 0 to 4"),
        ([{"source_index": 0, "id": "other", "prediction": "x"}], "row 1, id other: .*expected id row-0"),
    ],
)
def test_a_wrong_prediction_is_named_and_nothing_is_written(tmp_path, records, rows, problem):
    write_jsonl(tmp_path / "p.jsonl", rows)
    out = tmp_path / "f.parquet"
    with pytest.raises((BadInput, BadInputs), match=problem):
        describe_file(records, out, feature_set="core-v1", predictions=tmp_path / "p.jsonl")
    assert not out.exists()


def test_a_field_that_is_not_there_is_named(tmp_path, records):
    with pytest.raises(BadInput, match=r"row 1, id row-0, field 'model_answer'"):
        describe_file(records, tmp_path / "f.parquet", feature_set="core-v1", field="model_answer")


def test_shards_cover_all_rows_in_whole_windows():
    assert Shard.parse(None) == Shard(1, 1)
    for rows, count in ((0, 3), (700, 3), (5000, 4), (51_480, 8)):
        parts = [Shard.parse(f"{number}-of-{count}").rows(rows) for number in range(1, count + 1)]
        assert [start for start, _ in parts] == [0, *(stop for _, stop in parts[:-1])]
        assert parts[-1][1] == rows
        assert all(start % WINDOW_ROWS == 0 or start == rows for start, _ in parts)
    assert Shard(2, 8).rows(51_480) == (12 * WINDOW_ROWS, 25 * WINDOW_ROWS)
    for name in ("0-of-2", "3-of-2", "2"):
        with pytest.raises(BadInput, match="is no shard"):
            Shard.parse(name)


@pytest.mark.parametrize("predicted", [False, True])
def test_joined_shards_equal_the_whole_value_for_value(tmp_path, monkeypatch, predicted):
    monkeypatch.setattr("polyalign.features.shards.WINDOW_ROWS", 4)
    monkeypatch.setattr("polyalign.features.lm.WINDOW_ROWS", 4)
    monkeypatch.setattr("polyalign.features.answers.CHUNK_ROWS", 8)
    monkeypatch.setattr("polyalign.features.lm_files.CHUNK_ROWS", 8)
    answers = [f"{word} and {number}, said the {word}." for number in range(3) for word in ANSWERS]
    with RecordWriter(tmp_path / "records.parquet") as writer:
        for number, answer in enumerate(answers * 2):
            writer.write(record_of(number, human_answer=answer))
    predictions = None
    if predicted:
        predictions = tmp_path / "predictions.jsonl"
        rows = [{"source_index": n, "prediction": answers[n % 15] + "!"} for n in range(29, 1, -2)]
        write_jsonl(predictions, rows)
    records, scorer = (
        tmp_path / "records.parquet",
        load_scorer(save_model(tmp_path / "tiny"), max_length=4096),
    )

    def measure(shard: str | None) -> Path:
        text, out = tmp_path / f"{shard}_text.parquet", tmp_path / f"{shard}.parquet"
        options = {"predictions": predictions, "shard": shard}
        write_text_features(records, text, feature_set="core-v1", **options)
        add_lm_features(text, records, out, scorer, scorer_name="tiny", **options)
        return out

    whole = read_features(measure(None))
    parts = [measure(f"{number}-of-3") for number in (1, 2, 3)]
    details = join_features(parts, tmp_path / "joined.parquet")
    joined = read_features(tmp_path / "joined.parquet")
    assert details["rows"] == len(whole) == (14 if predicted else 30)
    assert joined.source_index.tolist() == whole.source_index.tolist()
    assert (joined.ids, joined.made_by) == (whole.ids, whole.made_by)
    np.testing.assert_array_equal(joined.values, whole.values)
    assert sum(len(read_features(part)) > 0 for part in parts) > 1
    with pytest.raises(BadInput, match="comes after"):
        join_features(parts[::-1], tmp_path / "joined.parquet")


def test_an_empty_shard_is_a_table_without_rows(tmp_path, records):
    write_text_features(records, tmp_path / "empty.parquet", feature_set="core-v1", shard="1-of-2")
    write_text_features(records, tmp_path / "full.parquet", feature_set="core-v1", shard="2-of-2")
    assert len(read_features(tmp_path / "empty.parquet")) == 0
    details = join_features([tmp_path / "empty.parquet", tmp_path / "full.parquet"], tmp_path / "all.parquet")
    assert details["rows"] == len(ANSWERS)
