"""The closing words of a run: methods in a terminal's width, and paths that are there."""

import pytest
from metrics_world import World

from polyalign.errors import BadInput
from polyalign.overview import overview
from polyalign.tables.build import build_tables


def test_methods_and_places_of_a_run(tmp_path):
    world = World(tmp_path / "world")
    reports = [world.report(method, share) for method, share in (("base", 0.0), ("sft", 0.8))]
    build_tables(reports, tmp_path / "results/tables")
    (tmp_path / "results/report.html").touch()
    text = overview(tmp_path)
    head, base, sft, *_ = text.splitlines()
    assert head.split() == [
        "English",
        "F1",
        "↑",
        "BNG",
        "↓",
        "Calibrated",
        "HCR",
        "↑",
        "Tokens",
    ]
    assert base.split()[1] == "Base"
    assert sft.split()[1] == "SFT"
    assert float(base.split()[2]) < float(sft.split()[2])
    assert max(map(len, text.split("\n\n")[0].splitlines())) <= 110
    for place in ("results/report.html", "results/tables/main_en.html"):
        assert f"  {tmp_path}/{place}  (" in text
    assert "human_eval" not in text


def test_a_folder_without_tables(tmp_path):
    with pytest.raises(BadInput, match=r"no tables here.*make demo"):
        overview(tmp_path)
