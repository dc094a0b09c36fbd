"""Several runs of a cell that differ in their seed."""

import pytest
from metrics_world import World, predict

from polyalign.errors import PolyAlignError
from polyalign.files import read_json, write_json
from polyalign.tables.build import build_all
from polyalign.tables.entries import read_entry


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("seeds"))


@pytest.fixture(scope="module")
def runs(world) -> list:
    """Base once, SFT with three seeds, each report in a folder of its own."""
    files = [world.report("base", 0.1, seed=1)]
    for seed in (3, 1, 2):
        folder = world.folder / f"seed{seed}"
        folder.mkdir()
        path = world.report("sft", 0.5, rows=predict(world.records, 0.5, seed=seed), seed=seed)
        for file in (path, path.with_name("en_sft_tiny_bootstrap.parquet")):
            file.rename(folder / file.name)
        files.append(folder / path.name)
    return files


def test_runs_of_one_cell_are_one_row(runs, tmp_path):
    (details,) = build_all(runs, tmp_path)
    assert details["cells"] == ["en_base_tiny", *["en_sft_tiny"] * 3]
    scores = [read_entry(path).estimates["qa_f1"] for path in runs[1:]]
    text = (tmp_path / "main_en.md").read_text()
    assert "seeds 1, 2, 3: tiny SFT" in text
    assert f"{sum(scores) / 3:.3f}" in text
    assert f"{min(scores):.3f} to {max(scores):.3f}, 3 seeds" in text


def test_one_seed_twice_or_none_is_refused(runs, tmp_path):
    report = read_json(runs[1])
    for seed, said in ((2, "seed 2 comes twice"), (None, "states no seed")):
        write_json(tmp_path / "other.json", report | {"seed": seed})
        with pytest.raises(PolyAlignError) as error:
            build_all([*runs[2:], tmp_path / "other.json"], tmp_path / "out")
        assert said in str(error.value)
        assert "other.json" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_seeds_on_other_rows_are_refused(world, runs, tmp_path):
    path = world.report("sft", 0.5, rows=predict(world.records, 0.5)[:80], seed=9)
    with pytest.raises(PolyAlignError, match="set of source_index"):
        build_all([*runs, path], tmp_path / "out")
    assert not (tmp_path / "out").exists()
