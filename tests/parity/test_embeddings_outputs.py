"""The embedding analysis on real Chinese outputs of twenty systems, from prediction files to tables and pictures."""

import numpy as np
import pytest

from polyalign.embeddings.run import analyze_files
from polyalign.files import read_table
from tests.human_eval_world import page_data, write_published

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def analyzed(shared, tmp_path_factory):
    """(folder, summary) of the five variants of one published model."""
    folder = tmp_path_factory.mktemp("published")
    records, predictions = write_published(shared, folder)
    given = {name: path for name, path in predictions.items() if name.startswith("Llama")}
    # The kit's vocabulary is so small that the longest outputs have 15,000 tokens.
    options = {"max_length": 256, "bootstrap": 50, "permutations": 100, "projections": ["pca", "tsne"]}
    encoder = shared / "data/parity/tiny_lm"
    return folder, analyze_files(records, given, encoder, folder / "out", options=options)


def test_real_outputs_are_compared_on_the_prompts_that_all_answer(analyzed):
    _, summary = analyzed
    assert summary["language"] == "zh"
    assert len(summary["systems"]) == 5
    assert summary["common_rows"] == 20
    for system in summary["systems"].values():
        assert system["counts"]["no_answer"] == 0
        assert 0 <= system["overall"]["auc"] <= 1
        assert system["overall"]["frechet"] > 0
    # Long outputs are cut, and that is said.
    assert max(system["counts"]["cut"] for system in summary["systems"].values()) > 0


def test_pictures_and_pages_hold_the_outputs(analyzed, shared):
    folder, summary = analyzed
    data = page_data(folder / "out/embeddings.html")
    assert data["language"] == "zh"
    assert len(data["rows"]) == 20
    assert [system["label"] for system in data["systems"]] == ["Human", *summary["systems"]]
    places = read_table(folder / "out/coordinates.parquet")
    assert places.num_rows == 6 * 20
    assert np.isfinite(places["tsne_x"].to_numpy()).all()
    page = (folder / "out/embeddings_zh.html").read_text()
    assert "20 of 20 rows" in page
    assert "Too few rows for figures of their own" in page
