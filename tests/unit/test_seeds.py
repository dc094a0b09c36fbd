"""Several seeds of a cell: models for them in the configuration, and their mean and spread in tables."""

import copy
import csv
import io
from typing import Any

import numpy as np
import pytest
from metrics_world import World, predict
from test_tables import changed

from polyalign.base_models import SeededModel
from polyalign.config import Config, load_config
from polyalign.errors import PolyAlignError
from polyalign.files import read_json
from polyalign.tables.build import build_tables, in_order
from polyalign.tables.comparisons import best_cells, difference, seeds_agree
from polyalign.tables.entries import read_entry
from polyalign.tables.formats import to_csv, to_markdown
from polyalign.tables.guards import check_comparable
from polyalign.tables.main import main_page
from polyalign.tables.model import Column
from polyalign.tables.seeds import gather_seeds

VALUES: dict[str, Any] = {
    "grid": {"languages": ["en"], "methods": ["base", "sft", "hdpo"], "models": ["tiny", "llama3b"]},
    "corpora": {"en": ["dolly"]},
    "models": {
        "tiny": {"build": {"layers": 2}, "chat_template": "tiny"},
        "llama3b": {"hub": "owner/llama", "chat_template": "llama3.2", "scorer": "tiny"},
        "gpt2": {"hub": "owner/gpt2"},
    },
}
F1 = Column("qa_f1", "F1", 1)


def load(**changes: Any) -> Config:
    return load_config({**copy.deepcopy(VALUES), **changes}, "mine.yaml")


class TestConfiguration:
    def test_one_seed_adds_nothing(self):
        plain, listed = load(), load(seeds=[42])
        assert plain == listed
        assert list(listed.models) == ["tiny", "llama3b", "gpt2"]
        assert not any(isinstance(model, SeededModel) for model in listed.models.values())
        product = [
            ("en", method, model) for model in ("tiny", "llama3b") for method in ("base", "sft", "hdpo")
        ]
        assert listed.grid_cells() == product
        assert load(seed=7).seeds == [7]
        assert load(seeds=[7, 8]).seed == 7

    def test_a_further_seed_is_a_model_of_the_same_base(self):
        config = load(seeds=[42, 43])
        assert list(config.models) == [*VALUES["models"], "tiny-s43", "llama3b-s43"]
        first, further = config.models["llama3b"], config.models["llama3b-s43"]
        same = {"hub", "revision", "chat_template", "max_length", "dtype", "recipe_overrides"}
        assert first.model_dump(include=same) == further.model_dump(include=same)
        assert config.scorer_of("llama3b-s43") == config.scorer_of("llama3b") == "tiny"
        assert config.scorer_of("tiny-s43") == "tiny"
        assert config.original_of("llama3b-s43") == config.original_of("llama3b") == "llama3b"
        assert (config.further_seed("llama3b-s43"), config.further_seed("llama3b")) == (43, None)

    def test_training_sampling_and_the_critic_take_the_seed_and_metrics_do_not(self):
        config = load(seeds=[42, 43])
        assert config.decoding_of("sft", "tiny-s43").seed == 43
        assert config.decoding_of("sft", "tiny") == config.decoding_of("sft") == load().decoding_of("sft")
        assert config.overrides_of("critic", "tiny-s43") == {"seed": 43}
        assert config.overrides_of("critic", "tiny") == config.overrides_of("sft", "tiny-s43") == {}
        assert config.metrics == load().metrics

    def test_further_seeds_follow_their_model_in_the_grid(self):
        cells = load(seeds=[42, 43]).grid_cells()
        assert list(dict.fromkeys(model for _, _, model in cells)) == [
            "tiny",
            "tiny-s43",
            "llama3b",
            "llama3b-s43",
        ]
        assert len(cells) == len(set(cells)) == 4 * 3

    def test_what_no_seed_changes_stands_in_the_grid_once(self):
        greedy = load(seeds=[42, 43], decoding={"temperature": 0}).grid_cells()
        assert [method for _, method, model in greedy if model == "tiny-s43"] == ["sft", "hdpo"]
        released = load(
            seeds=[42, 43],
            cells={
                "en_base_tiny": {"source": "predictions", "predictions": {"hub": "o/d", "file": "p.jsonl"}}
            },
        )
        assert ("en", "base", "tiny-s43") not in released.grid_cells()
        assert ("en", "base", "llama3b-s43") in released.grid_cells()

    def test_a_released_checkpoint_holds_for_further_seeds_unless_they_have_their_own(self):
        first, own = {"hub": "owner/sft"}, {"hub": "owner/sft-43"}
        cells = {"en_sft_tiny": {"source": "checkpoint", "checkpoint": first}}
        config = load(seeds=[42, 43], cells=cells)
        assert config.cells["en_sft_tiny-s43"] == config.cells["en_sft_tiny"]
        cells["en_sft_tiny-s43"] = {"source": "checkpoint", "checkpoint": own}
        assert load(seeds=[42, 43], cells=cells).cells["en_sft_tiny-s43"].checkpoint.hub == "owner/sft-43"

    @pytest.mark.parametrize(
        "changes, said",
        [
            (
                {"models": {**VALUES["models"], "tiny-s43": VALUES["models"]["tiny"]}},
                "the name stands for tiny with seed 43",
            ),
            ({"seeds": [42, 43, 42]}, "a seed stands twice"),
            ({"seed": 7}, "the first seed is 42, but `seed` is 7"),
            ({"seeds": []}, "at least 1 item"),
            ({"seeds": [42, -1]}, "greater than or equal to 0"),
            ({"seeds": 42}, "valid list"),
            ({"models": {"tiny": {**VALUES["models"]["tiny"], "seed": 3}}}, "models.tiny.seed"),
        ],
    )
    def test_mistakes_are_one_line(self, changes, said):
        with pytest.raises(PolyAlignError) as error:
            load(**{"seeds": [42, 43], "grid": {**VALUES["grid"], "models": ["tiny"]}, **changes})
        (line,) = str(error.value).splitlines()
        assert said in line
        assert "mine.yaml" in line


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> list:
    """Base with one seed; SFT and HDPO with three, HDPO far better than SFT with each."""
    world = World(tmp_path_factory.mktemp("seeds"))
    files = [world.report("base", 0.0, seed=42)]
    for method, share in (("sft", 0.3), ("hdpo", 0.9)):
        for seed in (42, 43, 44):
            cell = {"model": "tiny"} if seed == 42 else {"model": f"tiny-s{seed}", "seed_of": "tiny"}
            rows = predict(world.records, share, seed)
            files.append(world.report(method, share, rows=rows, seed=seed, **cell))
    return files


def entries_of(files) -> list:
    entries = in_order([read_entry(path) for path in files])
    check_comparable(entries)
    return gather_seeds(entries)


class TestTables:
    def test_a_row_is_the_mean_over_seeds_with_their_spread(self, reports):
        entries = entries_of(reports[::-1])
        assert [(entry.method, len(entry.runs)) for entry in entries] == [
            ("base", 1),
            ("sft", 3),
            ("hdpo", 3),
        ]
        sft = entries[1]
        assert [run.report.seed for run in sft.runs] == [42, 43, 44]
        values = [read_json(path)["metrics"]["utility"]["overall"]["qa_f1"] for path in reports[1:4]]
        assert len(set(values)) == 3
        assert sft.estimates["qa_f1"] == pytest.approx(np.mean(values), abs=1e-12)
        spread = sft.spread("qa_f1")
        assert (spread.seeds, spread.low, spread.high) == (3, min(values), max(values))
        assert spread.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-12)
        assert sft.interval("qa_f1") == read_entry(reports[1]).interval("qa_f1")
        assert entries[0].spread("qa_f1") is None

    def test_tests_are_of_the_means_on_rows_drawn_together(self, reports):
        base, sft, hdpo = entries_of(reports)
        found = difference(hdpo, sft, "qa_f1")
        assert found.estimate == pytest.approx(hdpo.estimates["qa_f1"] - sft.estimates["qa_f1"])
        assert found.beyond_noise
        assert best_cells([base, sft, hdpo], [F1]) == {("tiny", "hdpo", "qa_f1")}

    def test_seeds_that_overlap_are_noise_whatever_the_test_says(self, reports):
        base, sft, hdpo = entries_of(reports)
        assert seeds_agree(hdpo, sft, "qa_f1")
        hdpo.further[0] = read_entry(reports[1])
        assert not seeds_agree(hdpo, sft, "qa_f1")
        assert difference(hdpo, sft, "qa_f1").beyond_noise
        assert best_cells([base, sft, hdpo], [F1]) == set()

    def test_pages_tell_spread_from_interval_and_csv_has_every_seed(self, reports):
        page = main_page(entries_of(reports), "en")
        text = to_markdown(page)
        row = next(line for line in text.splitlines() if line.startswith("| tiny | SFT |"))
        assert ", 3 seeds" in row
        assert "sd " not in next(line for line in text.splitlines() if line.startswith("| tiny | Base |"))
        assert "seeds 42, 43, 44: tiny SFT, tiny HDPO" in text
        assert "interval of the first seed alone" in text
        lines = [
            line
            for line in csv.DictReader(io.StringIO(to_csv(page)))
            if (line["table"], line["method"], line["metric"]) == ("methods", "sft", "qa_f1")
        ]
        assert [line["seed"] for line in lines] == ["", "42", "43", "44"]
        mean = np.mean([float(line["estimate"]) for line in lines[1:]])
        assert float(lines[0]["estimate"]) == pytest.approx(mean, abs=1e-12)
        assert lines[0]["seeds"] == "3"
        assert len({(line["low"], line["high"]) for line in lines[1:]}) == 3

    def test_one_seed_looks_as_if_there_were_no_seeds(self, reports):
        files = [reports[0], reports[1], reports[4]]
        page = main_page(entries_of(files), "en")
        assert "seed" not in to_markdown(page)
        assert to_csv(page).splitlines()[0].endswith(",best,text")

    def test_every_page_and_figure_takes_several_seeds(self, reports, tmp_path):
        details = build_tables(reports, tmp_path)
        assert "en_sft_tiny-s44" in details["cells"]
        assert details["models"] == ["tiny"]
        assert all(
            (tmp_path / name).stat().st_size for name in ("main_en.png", "published_en.html", "main_en.tex")
        )

    @pytest.mark.parametrize(
        "changes, said",
        [
            ({"seed": 42}, "and seed 42 comes twice"),
            ({"decoding": {"temperature": 0.1, "seed": 43}}, "how the answers of SFT of tiny were made"),
            ({"features__scorer": "qwen3b"}, "scorer differs"),
            ({"coverage__source_index_digest": "f" * 64}, "the set of source_index differs"),
        ],
    )
    def test_seeds_that_cannot_be_compared_are_refused(self, reports, tmp_path, changes, said):
        other = changed(reports[2], tmp_path, **changes)
        with pytest.raises(PolyAlignError, match=said) as error:
            build_tables([*reports[:2], other, *reports[3:]], tmp_path / "out")
        assert str(other) in str(error.value)
        assert not (tmp_path / "out").exists()
