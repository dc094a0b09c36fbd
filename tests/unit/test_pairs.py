"""Drawing rows, pairing answers, weights and preference views."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from polyalign.critic.targets import Targets
from polyalign.errors import BadInput, BadInputs
from polyalign.files import read_json, read_table, write_jsonl, write_table
from polyalign.hdpo_weights import (
    WeightSettings,
    complete_scores,
    frequency_gaps,
    hdpo_weights,
    pair_type_bias,
)
from polyalign.pair_views import export_pair_views
from polyalign.pairs import (
    PAIR_ROWS_SCHEMA,
    allocate_rows,
    build_pairs,
    select_positions,
    write_pair_rows,
)
from polyalign.predictions import read_predictions
from polyalign.records import make_record, records_to_table, table_to_records

FAMILIES = (
    ("single", "qa", "qa_search"),
    ("multi", "dialogue", "open_chat"),
    ("single", "assistant", "assistant_like"),
)


def records(count):
    """`count` English records over three families, most of them qa."""
    rows = []
    for number in range(count):
        track, family, style = FAMILIES[(number % 10) // 4]
        history = (
            [("user", "hi"), ("assistant", "hello"), ("user", f"q {number}")] if track == "multi" else []
        )
        rows.append(
            make_record(
                id=f"r{number}",
                dataset="demo",
                split="train",
                language="en",
                track=track,
                family=family,
                style_bucket=style,
                question=f"q {number}",
                context="" if track == "multi" else f"context {number}",
                human_answer=f"human answer {number}",
                dialogue_history=history,
                meta={"n": number},
            )
        )
    return rows


def write_rows(path, rows, indices=None):
    table = records_to_table(rows)
    indices = list(range(len(rows))) if indices is None else indices
    write_table(path, table.append_column("source_index", pa.array(indices, pa.int64())))
    return path


def predictions(count):
    return [
        {"source_index": n, "id": f"r{n}", "prediction": f"model answer {n}", "finish_reason": "stop"}
        for n in range(count)
    ]


@pytest.fixture
def ten(tmp_path):
    """Paths of ten rows, their predictions and an output; targets of ten rows."""
    write_jsonl(tmp_path / "predictions.jsonl", predictions(10))
    paths = (
        write_rows(tmp_path / "rows.parquet", records(10)),
        tmp_path / "predictions.jsonl",
        tmp_path / "pairs.parquet",
    )
    return *paths, Targets(np.arange(10), np.linspace(0, 0.9, 10), "features")


class TestAllocation:
    def test_shares_follow_sizes_by_largest_remainder(self):
        assert allocate_rows({"a": 50, "b": 30, "c": 20}, 10) == {"a": 5, "b": 3, "c": 2}
        assert allocate_rows({"a": 5, "b": 3, "c": 3}, 4) == {"a": 2, "b": 1, "c": 1}

    @pytest.mark.parametrize("rows", range(1, 40))
    def test_sums_up_and_never_takes_more_than_there_is(self, rows):
        counts = {"a": 1, "b": 17, "c": 2, "d": 13}
        shares = allocate_rows(counts, rows)
        assert sum(shares.values()) == min(rows, 33)
        assert all(shares[bucket] <= counts[bucket] for bucket in counts)
        assert shares == allocate_rows(dict(reversed(counts.items())), rows)


class TestSelection:
    def draw(self, rows, order=None, seed=42):
        data = records(200)
        data = data if order is None else [data[place] for place in order]
        keys = [(row["dataset"], row["id"]) for row in data]
        places = select_positions(keys, [row["bucket_id"] for row in data], rows, seed)
        assert (np.diff(places) > 0).all()
        return [data[place] for place in places]

    def test_keeps_bucket_shares(self):
        drawn = Counter(row["bucket_id"] for row in self.draw(50))
        assert drawn == {
            "en|single|qa|short": 20,
            "en|multi|dialogue|short": 20,
            "en|single|assistant|short": 10,
        }

    def test_draws_the_same_records_in_any_row_order(self):
        straight = {row["id"] for row in self.draw(50)}
        shuffled = {row["id"] for row in self.draw(50, np.random.default_rng(0).permutation(200))}
        assert straight == shuffled

    def test_smaller_draws_are_part_of_larger_ones_within_a_bucket(self):
        """Raising pairs.rows must not throw away the answers that exist."""
        assert {row["id"] for row in self.draw(30)} <= {row["id"] for row in self.draw(60)}

    def test_seed_matters(self):
        assert self.draw(50, seed=1) != self.draw(50, seed=2)

    @pytest.mark.parametrize("rows", [None, 200, 999])
    def test_all_rows(self, rows):
        assert len(self.draw(rows)) == 200

    def test_no_rows_is_an_error(self):
        with pytest.raises(BadInput, match=r"pairs\.rows"):
            self.draw(0)

    def test_written_rows_are_those_of_the_split(self, tmp_path):
        data = records(5000)  # more than one batch
        write_table(tmp_path / "train.parquet", records_to_table(data))
        details = write_pair_rows(tmp_path / "train.parquet", tmp_path / "rows.parquet", rows=700, seed=3)
        table = read_table(tmp_path / "rows.parquet")
        assert table.schema.names == PAIR_ROWS_SCHEMA.names
        assert table.num_rows == details["selected_rows"] == 700
        for row in table_to_records(table):
            assert data[row.pop("source_index")] == row
        assert sum(counts["selected"] for counts in details["rows_by_bucket"].values()) == 700

    def test_empty_split_is_an_error(self, tmp_path):
        write_table(tmp_path / "val.parquet", records_to_table([]))
        with pytest.raises(BadInput, match="no rows"):
            write_pair_rows(tmp_path / "val.parquet", tmp_path / "rows.parquet", rows=5, seed=1)
        assert not (tmp_path / "rows.parquet").exists()


class TestBuildPairs:
    def test_human_is_chosen_and_model_rejected(self, ten):
        rows, answers, output, targets = ten
        model = Targets(np.arange(10)[::-1], np.arange(10.0)[::-1] + 1, "model features")
        build_pairs(rows, answers, targets, model, output)
        for number, pair in enumerate(read_table(output).to_pylist()):
            assert (pair["chosen"], pair["rejected"]) == (f"human answer {number}", f"model answer {number}")
            assert pair["chosen_target"] == pytest.approx(number / 10)
            assert pair["rejected_target"] == number + 1
            assert pair["pair_type"] == "global"

    def test_rows_of_a_subset_keep_their_source_index(self, ten, tmp_path):
        _, _, output, targets = ten
        rows = write_rows(tmp_path / "some.parquet", [records(10)[n] for n in (2, 7)], [2, 7])
        write_jsonl(tmp_path / "some.jsonl", [predictions(10)[n] for n in (7, 2)])
        build_pairs(rows, tmp_path / "some.jsonl", targets, targets, output)
        assert read_table(output)["source_index"].to_pylist() == [2, 7]

    def test_bucket_without_reference_keeps_its_pairs_without_targets(self, ten):
        rows, answers, output, targets = ten
        holes = Targets(np.arange(10), np.where(np.arange(10) < 4, np.nan, 0.5), "features")
        details = build_pairs(rows, answers, targets, holes, output)
        table = read_table(output)
        assert table.num_rows == 10
        assert table["chosen_target"].null_count == table["rejected_target"].null_count == 4
        assert details["pairs_without_target_by_bucket"] == {"en|single|qa|short": 4}

    def test_equal_and_empty_pairs_are_skipped_and_counted(self, ten):
        rows, answers, output, targets = ten
        changed = predictions(10)
        changed[0]["prediction"] = " human answer 0\n"
        changed[1].update(prediction="  ", finish_reason="error")
        write_jsonl(answers, changed)
        details = build_pairs(rows, answers, targets, targets, output)
        assert (details["skipped_exact_match"], details["skipped_empty_rejected"]) == (1, 1)
        assert details["paired_records"] == read_table(output).num_rows == 8
        assert details["finish_reasons"] == {"error": 1, "stop": 9}

    @pytest.mark.parametrize(
        "spoil, words",
        [
            (lambda rows: rows.pop(3), ["source_index 3", "id r3", "no prediction"]),
            (
                lambda rows: rows.append(dict(rows[3])),
                ["row 11", "source_index", "already answered in row 4"],
            ),
            (
                lambda rows: rows[3].update(source_index=10),
                ["row 4", "source_index 10", "was to be answered"],
            ),
            (lambda rows: rows[3].update(source_index=-1), ["row 4", "-1"]),
            (lambda rows: rows[3].update(source_index="3"), ["row 4", "'3'"]),
            (lambda rows: rows[3].update(prediction=None), ["row 4", "prediction"]),
            (lambda rows: rows[3].update(id="r4"), ["row 4", "field 'id'", "r3"]),
            (lambda rows: rows[3].update(instruction="another"), ["row 4", "field 'instruction'", "q 3"]),
            (lambda rows: rows[3].update(input="another"), ["row 4", "field 'input'", "context 3"]),
        ],
    )
    def test_predictions_of_other_rows_are_named(self, ten, spoil, words):
        rows, answers, output, targets = ten
        changed = predictions(10)
        spoil(changed)
        write_jsonl(answers, changed)
        with pytest.raises(BadInputs) as caught:
            build_pairs(rows, answers, targets, targets, output)
        for word in words:
            assert word in str(caught.value)
        assert not output.exists()

    def test_echoes_that_agree_pass(self, ten):
        rows, answers, output, targets = ten
        changed = [
            {**row, "instruction": f"q {n}", "bucket_id": None} for n, row in enumerate(predictions(10))
        ]
        write_jsonl(answers, changed)
        assert build_pairs(rows, answers, targets, targets, output)["paired_records"] == 10

    def test_a_row_without_features_is_named(self, ten):
        rows, answers, output, targets = ten
        with pytest.raises(BadInputs, match="no features for source_index 9"):
            build_pairs(rows, answers, targets, Targets(np.arange(9), np.zeros(9), "some.parquet"), output)

    def test_nothing_left_is_an_error(self, ten):
        rows, answers, output, targets = ten
        write_jsonl(answers, [{**row, "prediction": ""} for row in predictions(10)])
        with pytest.raises(BadInput, match="none is left"):
            build_pairs(rows, answers, targets, targets, output)

    def test_all_problems_are_told_at_once(self, tmp_path):
        write_jsonl(tmp_path / "p.jsonl", [{"source_index": None}, {"source_index": 0}])
        with pytest.raises(BadInputs) as caught:
            read_predictions(tmp_path / "p.jsonl")
        assert len(str(caught.value).splitlines()) == 2


class TestWeights:
    def weigh(self, **given):
        values = {
            "chosen": 0.2,
            "rejected": 0.2,
            "bucket_gap": 0.0,
            "language_gap": 0.0,
            "bias": 0.0,
            **given,
        }
        return hdpo_weights(*(np.array([value]) for value in values.values()), WeightSettings())[0]

    def test_each_part_and_the_clip(self):
        assert self.weigh() == 1.0
        assert self.weigh(bucket_gap=1.0) == 1.5
        assert self.weigh(rejected=0.5) == pytest.approx(1.3)
        assert self.weigh(rejected=0.1) == 1.0
        assert self.weigh(language_gap=1.0) == self.weigh(bias=1.0) == 1.25
        assert self.weigh(rejected=10.0) == 3.0

    def test_gaps(self):
        gaps = frequency_gaps(["a"] * 6 + ["b"] * 3 + ["c"] * 1)
        assert gaps["a"] == 0.0
        assert gaps["b"] == pytest.approx((10 / 9 - 1) / (10 / 3 - 1))
        assert gaps["c"] == 1.0
        assert frequency_gaps(["a", "b"]) == {"a": 0.0, "b": 0.0}
        assert frequency_gaps([]) == {}

    def test_a_missing_score_is_an_error_unless_published(self):
        scores = np.array([0.5, np.nan])
        with pytest.raises(BadInputs, match="id y"):
            complete_scores(scores, ["x", "y"], "error", field="chosen_dist_score")
        assert complete_scores(scores, ["x", "y"], "zero", field="chosen_dist_score").tolist() == [0.5, 0.0]

    def test_unknown_pair_type(self):
        with pytest.raises(BadInput, match="sideways"):
            pair_type_bias(["global", "sideways"], WeightSettings().pair_type_bias)


SCORED = {
    "chosen_dist_score": 0.1,
    "rejected_dist_score": 0.123456789123,
    "hdpo_weight": 1.25,
    "baseline_bucket_gap": 0.5,
    "lang_weight": 0.0,
    "critic_bucket_id": 3,
}


class TestViews:
    @pytest.fixture
    def exported(self, ten, tmp_path):
        rows, answers, output, targets = ten
        changed = predictions(10)
        changed[0]["prediction"] = ""
        write_jsonl(answers, changed)
        build_pairs(rows, answers, targets, targets, output)
        table = read_table(output)
        for name, value in SCORED.items():
            table = table.append_column(name, pa.array([value] * table.num_rows))
        write_table(tmp_path / "scored.parquet", table)
        self.rows, self.scored = rows, tmp_path / "scored.parquet"
        return export_pair_views(
            {"train": rows}, {"train": self.scored}, tmp_path / "views", "en_tiny"
        ), tmp_path / "views"

    def test_dpo_items(self, exported):
        items = read_json(exported[1] / "dpo_train.json")
        assert len(items) == 9
        assert items[0] == {
            "instruction": "q 1",
            "input": "context 1",
            "chosen": "human answer 1",
            "rejected": "model answer 1",
            "source_index": 1,
            "id": "r1",
        }
        assert next(item for item in items if "history" in item)["history"] == [["hi", "hello"]]

    def test_hdpo_items(self, exported):
        item = read_json(exported[1] / "hdpo_train.json")[0]
        assert item["system"].endswith("family=qa; track=single; style=qa_search; length=short.")
        assert item["rejected_dist_score"] == 0.12345679
        assert item["critic_bucket_id"] == 3
        for name in (
            "hdpo_weight",
            "chosen_dist_score",
            "bucket_id",
            "style_bucket",
            "length_bin",
            "family",
            "track",
        ):
            assert name in item

    def test_dataset_info_names_files_and_columns_that_are_there(self, exported):
        details, folder = exported
        info = read_json(folder / "dataset_info.json")
        assert sorted(info) == details["entries"] == ["dpo_en_tiny_train", "hdpo_en_tiny_train"]
        for entry in info.values():
            assert entry["ranking"] is True
            items = json.loads((folder / entry["file_name"]).read_text())
            have = set().union(*items)
            assert set(entry["columns"].values()) <= have
        assert info["hdpo_en_tiny_train"]["columns"]["system"] == "system"

    def test_pairs_of_other_rows_are_an_error(self, exported, tmp_path):
        other = write_rows(tmp_path / "other.parquet", records(3))
        with pytest.raises(BadInput, match="source_index 3 is not a row"):
            export_pair_views({"train": other}, {"train": self.scored}, tmp_path / "bad", "x")
        assert not (tmp_path / "bad" / "dpo_train.json").exists()
