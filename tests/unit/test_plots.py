"""Figures: what they are drawn from, that they fit, and that labels do not overlap."""

import itertools
from pathlib import Path

import pytest
from metrics_world import World
from PIL import Image

from polyalign.judge.rubric import load_rubric
from polyalign.plots import contributions, detection, frontier, heat_map, judge, methods, style
from polyalign.tables.entries import Entry, read_entry
from polyalign.tables.groups import bucket_page
from polyalign.tables.main import main_page


@pytest.fixture(scope="module")
def entries(tmp_path_factory) -> list[Entry]:
    folder = tmp_path_factory.mktemp("plots")
    worlds = [World(folder / model, scorer=model) for model in ("one", "two")]
    return [
        read_entry(world.report(method, share, model=world.scorer))
        for world in worlds
        for method, share in (("base", 0.0), ("sft", 0.4), ("hdpo", 0.8))
    ]


CELLS = [f"en_{method}_{model}" for model in ("one", "two") for method in ("base", "bucketsft", "hdpo")]


def detector_summary(name: str) -> dict:
    """What the figure of the detectors reads of a summary."""
    human = {"histogram": [5, 9, 4, 1], "median_score": -0.2}
    systems = {
        cell: {"histogram": [1, 4, 9, 5], "median_score": 0.1 * place} for place, cell in enumerate(CELLS)
    }
    return {
        "detector": name, "threshold": 0.5, "edges": [-1, -0.5, 0, 0.5, 1], "human": human, "systems": systems
    }  # fmt: skip


def judge_summary(name: str) -> dict:
    """What the figure of the judges reads of a summary."""
    means = {
        name: {"estimate": 50.0, "low": 40.0, "high": 60.0 + place}
        for place, name in enumerate(load_rubric().composites)
    }
    return {"judge": name, "cells": {cell: {"means": means} for cell in CELLS}}


@pytest.fixture(scope="module")
def drawn(entries, tmp_path_factory) -> tuple[Path, dict]:
    """(folder of the files, the figures that they were saved from by name)."""
    folder, kept = tmp_path_factory.mktemp("drawn"), {}

    def keep(figure, png, pdf):
        style.save(figure, png, pdf)
        kept[png.stem] = figure

    def where(name):
        return folder / f"{name}.png", folder / f"{name}.pdf"

    with pytest.MonkeyPatch.context() as patch:
        for module in (contributions, detection, frontier, heat_map, judge, methods):
            patch.setattr(module, "save", keep)
        assert methods.draw_methods(main_page(entries, "en").tables[0], "Methods", *where("methods"))
        assert frontier.draw_frontier(entries, "Frontier", *where("frontier"))
        assert heat_map.draw_heat_map(bucket_page(entries, "en").tables, "Buckets", *where("buckets"))
        assert contributions.draw_contributions(entries, "Contributions", *where("contributions"))
        titles = {"binoculars": "Binoculars", "radar": "RADAR"}
        detection.draw_detection(
            [detector_summary(name) for name in titles], CELLS, titles, "Detectors", *where("detection")
        )
        composites = {name: name for name in load_rubric().composites}
        judges = [judge_summary(name) for name in ("large-judge", "small-judge")]
        judge.draw_judge(judges, CELLS, composites, "Judges", *where("judge"))
    return folder, kept


@pytest.mark.parametrize("name", ["methods", "frontier", "buckets", "contributions", "detection", "judge"])
def test_everything_drawn_is_inside_the_frame(drawn, name):
    folder, figures = drawn
    with Image.open(folder / f"{name}.png") as image:
        assert image.width > 700
        assert len(image.convert("RGB").getcolors(maxcolors=1 << 24)) > 20
    assert (folder / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"
    figure = figures[name]
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(box.x0, box.y0) >= 0
    assert box.x1 <= width
    assert box.y1 <= height


def test_labels_of_an_axis_do_not_overlap(drawn):
    for figure in drawn[1].values():
        renderer = figure.canvas.get_renderer()
        for axes in figure.axes:
            for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
                boxes = [label.get_window_extent(renderer) for label in labels if label.get_text()]
                for one, other in itertools.pairwise(boxes):
                    assert not one.overlaps(other), [label.get_text() for label in labels]


def test_the_heat_map_writes_the_numbers_of_the_table(entries, drawn):
    bng = next(table for table in bucket_page(entries, "en").tables if table.key == "bng")
    texts = [text.get_text() for text in drawn[1]["buckets"].axes[0].texts]
    assert texts == [
        f"{row.values[column.key].estimate:.2f}"
        for row in bng.rows
        if row.method != "human"
        for column in bng.columns
    ]


def test_shares_of_contributions_add_up(entries, drawn):
    columns: dict[float, float] = {}
    for text in drawn[1]["contributions"].axes[0].texts:
        if text.get_text() not in ("one", "two"):
            place = text.get_position()[0]
            columns[place] = columns.get(place, 0) + float(text.get_text())
    assert list(columns.values()) == pytest.approx([100] * len(entries), abs=0.5)


def test_figures_of_judges_and_detectors_name_methods_as_tables_do(drawn):
    labels = [label.get_text() for label in drawn[1]["judge"].axes[0].get_yticklabels()]
    assert labels == ["Base", "Bucket-SFT", "HDPO"] * 2
    (legend,) = drawn[1]["detection"].legends
    assert [text.get_text() for text in legend.get_texts()] == ["Base", "Bucket-SFT", "HDPO"]


def test_methods_are_told_apart_by_colour_and_by_mark():
    known = list(style.COLOURS)
    assert (
        len({style.colour(name) for name in known}) == len({style.mark(name) for name in known}) == len(known)
    )
    assert style.mark("mine") not in style.MARKS.values()


def test_nothing_is_drawn_without_features(entries, tmp_path):
    bare = Entry(entries[0].file, entries[0].report)
    bare.estimates["bng"] = None
    assert not frontier.draw_frontier([bare], "Frontier", tmp_path / "f.png", tmp_path / "f.pdf")
    assert not list(tmp_path.iterdir())
