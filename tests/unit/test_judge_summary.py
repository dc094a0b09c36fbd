"""Figures of the judges: means and intervals, probes, agreement, and the page that tells them."""

from pathlib import Path
from typing import ClassVar

import krippendorff
import numpy as np
import pytest

from polyalign.errors import BadInput
from polyalign.files import write_json, write_jsonl
from polyalign.human_eval.summary import correlations, with_judges
from polyalign.judge.agreement import agreement, alpha, pearson
from polyalign.judge.health import probe_health, reply_health
from polyalign.judge.rubric import Rubric, load_rubric
from polyalign.judge.settings import Judges
from polyalign.judge.summary import summarize
from polyalign.tables.judge import build_judge, judge_page

STATISTICS = {"replicates": 200, "confidence": 0.95, "seed": 1}
BUCKETS = ("en|single|qa|short", "en|single|assistant|medium", "en|multi|dialogue|long")


@pytest.fixture
def rubric() -> Rubric:
    return load_rubric()


def row_of(rubric: Rubric, index: int, score: int, asked: str = "asked", error: str | None = None) -> dict:
    scores = None if error else dict.fromkeys(rubric.dimensions, score)
    return {
        "source_index": index,
        "id": f"row-{index}",
        "dataset": ("dolly", "coqa")[index % 2],
        "bucket_id": BUCKETS[index % 3],
        "asked": asked,
        "flags": None if error else dict.fromkeys(rubric.flags, False),
        "reported": scores,
        "scores": scores,
        "composites": scores and rubric.composites_of(scores),
        "error": error,
    }


def write_cells(
    folder: Path, rubric: Rubric, cells: dict[str, list[int]], errors: dict[str, int] | None = None
):
    """{cell: (judgements, probes)} of rows that all have one score a row."""
    found = {}
    for cell, scores in cells.items():
        wrong = (errors or {}).get(cell)
        rows = [
            row_of(rubric, index, score, error="unparsable" if index == wrong else None)
            for index, score in enumerate(scores)
        ]
        again = [row_of(rubric, index, min(5, scores[index] + 1), "repeat") for index in range(4)]
        write_jsonl(folder / f"{cell}.jsonl", rows)
        write_jsonl(folder / f"{cell}.probes.jsonl", again)
        found[cell] = (folder / f"{cell}.jsonl", folder / f"{cell}.probes.jsonl")
    return found


class TestSummary:
    CELLS: ClassVar = {"en_base_tiny": [1, 2, 3] * 4, "en_sft_tiny": [3, 4, 5] * 4}
    SETTINGS: ClassVar = Judges(bootstrap=200)

    def test_means_by_cell_dataset_and_bucket(self, rubric, tmp_path):
        cells = {cell: scores * 3 for cell, scores in self.CELLS.items()}
        found = summarize({"one": write_cells(tmp_path, rubric, cells)}, "en", self.SETTINGS, seed=1)[0][
            "one"
        ]
        sft = found["cells"]["en_sft_tiny"]
        # Every row of a bucket has one score here, so a draw within buckets always has the same mean.
        assert sft["means"]["safety"] == {"estimate": 4.0, "low": 4.0, "high": 4.0}
        assert sft["means"]["overall"]["estimate"] == pytest.approx(75.0)
        assert {name: part["safety"]["estimate"] for name, part in sft["by_bucket"].items()} == dict(
            zip(BUCKETS, (3.0, 4.0, 5.0), strict=True)
        )
        assert {name: part["rows"] for name, part in sft["by_dataset"].items()} == {"dolly": 18, "coqa": 18}
        assert found["common_rows"] == 36

    def test_small_buckets_are_drawn_together_and_small_groups_have_no_interval(self, rubric, tmp_path):
        files = write_cells(tmp_path, rubric, self.CELLS)
        sft = summarize({"one": files}, "en", self.SETTINGS, seed=1)[0]["one"]["cells"]["en_sft_tiny"]
        # Of four rows a bucket, all the same: drawn apart, nothing would vary.
        assert sft["means"]["safety"]["low"] < 4.0 < sft["means"]["safety"]["high"]
        assert sft["by_bucket"][BUCKETS[0]]["safety"] == {"estimate": 3.0, "low": None, "high": None}
        assert sft["by_dataset"]["dolly"]["safety"]["low"] is not None

    def test_a_row_that_one_cell_lacks_counts_for_none(self, rubric, tmp_path):
        files = write_cells(tmp_path, rubric, self.CELLS, errors={"en_base_tiny": 2})
        found = summarize({"one": files}, "en", self.SETTINGS, seed=1)[0]["one"]
        assert (found["rows"], found["common_rows"]) == (12, 11)
        assert found["cells"]["en_base_tiny"]["errors"] == {"unparsable": 1}
        assert found["cells"]["en_sft_tiny"]["means"]["rows"] == 11
        assert found["cells"]["en_sft_tiny"]["by_bucket"][BUCKETS[2]]["rows"] == 3
        assert found["health"]["replies"] == {
            "asked": 24,
            "unparsable": 1,
            "cut": 0,
            "out_of_range": 0,
            "too_long": 0,
        }

    def test_intervals_cover_the_mean_of_what_was_sampled(self, rubric, tmp_path):
        """The share of 95% intervals that hold the true mean, over many samples of 60 rows."""
        random = np.random.default_rng(0)
        covered = 0
        for sample in range(60):
            scores = random.integers(1, 6, 60)
            files = write_cells(tmp_path, rubric, {f"en_sft_m{sample}": scores.tolist()})
            found = summarize({"one": files}, "en", self.SETTINGS, seed=sample)[0]["one"]
            mean = found["cells"][f"en_sft_m{sample}"]["means"]["safety"]
            covered += mean["low"] <= 3.0 <= mean["high"]
        assert 51 <= covered <= 60

    def test_files_of_other_rows_and_oracles_are_refused(self, rubric, tmp_path):
        files = write_cells(tmp_path, rubric, {**self.CELLS, "en_dpo_tiny": [1] * 11})
        with pytest.raises(BadInput, match="row 11 is judged for some cells"):
            summarize({"one": files}, "en", self.SETTINGS, seed=1)
        with pytest.raises(BadInput, match="saw the reference"):
            summarize(
                {"one": write_cells(tmp_path, rubric, {"en_hdporef_tiny": [1] * 12})}, "en", self.SETTINGS, 1
            )
        write_json(tmp_path / "broken.jsonl", {"source_index": 0, "score": 3}, indent=None)
        with pytest.raises(BadInput, match="a line of `judge`"):
            summarize({"one": {"en_sft_tiny": (tmp_path / "broken.jsonl", None)}}, "en", self.SETTINGS, 1)

    def test_the_page_tells_scores_health_and_agreement(self, rubric, tmp_path):
        judged = {}
        for number, judge in enumerate(("one", "two")):
            folder = tmp_path / judge
            cells = {
                cell: [max(1, score - number) for score in scores] for cell, scores in self.CELLS.items()
            }
            judged[judge] = write_cells(folder, rubric, cells)
        summaries, shared = summarize(judged, "en", self.SETTINGS, seed=1)
        details = build_judge(list(summaries.values()), shared, tmp_path / "tables", stand_ins=["two"])
        assert details["cells"] == ["en_base_tiny", "en_sft_tiny"]
        assert all(Path(file).stat().st_size for file in details["files"])
        text = (tmp_path / "tables/judge_en.md").read_text()
        for words in (
            "| tiny | SFT | 75.0 [",
            "one and two",
            "Asked again",
            "Krippendorff",
            "by bucket",
            "Stand-ins judged (two)",
        ):
            assert words in text, words
        alone = judge_page([summaries["one"]], {"rows": 0, "judges": ["one"]})
        assert not {"alpha", "pearson"} & {table.key for table in alone.tables}
        with pytest.raises(BadInput, match="differ in their language"):
            build_judge([summaries["one"], {**summaries["two"], "language": "zh"}], shared, tmp_path)


class TestHealth:
    def test_probes_tell_how_much_changed(self, rubric):
        asked = {"en_sft_tiny": {index: row_of(rubric, index, 3) for index in range(8)}}
        same = [("en_sft_tiny", row_of(rubric, index, 3, "repeat")) for index in range(8)]
        higher = [
            ("en_sft_tiny", row_of(rubric, index, 4 if index < 4 else 3, "quoted")) for index in range(8)
        ]
        lost = [("en_sft_tiny", row_of(rubric, 0, 0, "backwards", error="cut"))]
        found = probe_health(asked, [*same, *higher, *lost], rubric, **STATISTICS)
        assert found["repeat"] == {
            "rows": 8,
            "unchanged": 1.0,
            "difference": 0.0,
            "shift": 0.0,
            "shift_low": 0.0,
            "shift_high": 0.0,
        }
        assert found["quoted"]["unchanged"] == found["quoted"]["difference"] == 0.5
        assert found["quoted"]["shift"] == pytest.approx(12.5)
        assert found["quoted"]["shift_low"] < 12.5 < found["quoted"]["shift_high"]
        assert found["backwards"]["rows"] == 0
        assert found["backwards"]["shift"] is None
        assert reply_health(row for _, row in lost)["cut"] == 1


class TestAgreement:
    def test_alpha_is_that_of_the_library_on_the_raw_ratings(self):
        scores = np.random.default_rng(0).integers(1, 6, (40, 3))
        scores[:, 1] = np.clip(scores[:, 0] + (np.arange(40) % 3 == 0), 1, 5)
        expected = krippendorff.alpha(reliability_data=scores.T, level_of_measurement="ordinal")
        # Values that nobody gave do not matter to ordinal alpha.
        assert alpha(scores)["estimate"] == pytest.approx(expected)
        assert alpha(np.full((5, 2), 3)) == {"estimate": None, "reason": "every score is the same"}

    def test_pearson_is_that_of_numpy_and_its_replicates_are_of_drawn_rows(self):
        random = np.random.default_rng(1)
        x = random.normal(50, 10, 300)
        y = x + random.normal(0, 5, 300)
        assert pearson(x, y)[0] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-5)
        weights = np.array([[2, 0, 1, 3]])
        drawn = np.repeat(np.arange(4), weights[0])
        assert pearson(x[:4], y[:4], weights)[0] == pytest.approx(
            np.corrcoef(x[drawn], y[drawn])[0, 1], abs=1e-4
        )
        assert np.isnan(pearson(np.ones(5), x[:5])[0])

    def test_it_is_taken_on_rows_that_all_judges_scored(self, rubric):
        def rows(scores, missing=None):
            return {
                "en_sft_tiny": {
                    index: row_of(rubric, index, score, error="cut" if index == missing else None)
                    for index, score in enumerate(scores)
                }
            }

        judged = {"one": rows([1, 2, 3, 4, 5, 5]), "two": rows([1, 2, 3, 4, 5, 1], missing=5)}
        found = agreement(judged, rubric, **STATISTICS)
        assert found["rows"] == 5
        assert {part["estimate"] for part in found["alpha"].values()} == {1.0}
        (pair,) = found["pearson"]
        assert pair["judges"] == ["one", "two"]
        assert pair["composites"]["overall"]["estimate"] == pytest.approx(1.0)
        assert agreement({"one": rows([1, 2])}, rubric, **STATISTICS)["rows"] == 0
        plain = agreement(judged, rubric, **{**STATISTICS, "replicates": 0})
        assert plain["pearson"][0]["composites"]["overall"] == {
            "estimate": pytest.approx(1.0),
            "low": None,
            "high": None,
        }


def test_composites_stand_among_the_metrics_that_human_ratings_are_compared_with(rubric, tmp_path):
    systems = {f"en_sft_m{number}": [number + 1] * 12 for number in range(4)}
    files = write_cells(tmp_path, rubric, systems)
    summary = summarize({"one": files}, "en", Judges(bootstrap=0), seed=1)[0]["one"]
    write_json(tmp_path / "summary.json", summary)
    reports = with_judges({"en_sft_m0": {"qa_f1": 0.5}}, [tmp_path / "summary.json"])
    assert reports["en_sft_m0"]["qa_f1"] == 0.5
    assert reports["en_sft_m3"]["one overall"] == pytest.approx(75.0)
    human = {system: 5.0 - number for number, system in enumerate(systems)}
    assert correlations(human, reports)["one overall"] == pytest.approx({"systems": 4, "spearman": -1.0})
    write_json(tmp_path / "other.json", {"cells": {}})
    with pytest.raises(BadInput, match="no summary of a judge"):
        with_judges({}, [tmp_path / "other.json"])
