"""The page of the embedding analysis in a real browser, from disk: hover, colours, systems, keyboard."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from polyalign.embeddings.run import analyze_files
from tests.embedding_world import save_encoder, write_world
from tests.human_eval_world import HOSTILE, page_data, write_published

OPTIONS = {"bootstrap": 0, "permutations": 0, "projections": ["pca", "tsne"], "figure_rows": 60}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The page of two systems, one of which answers with markup."""
    folder = tmp_path_factory.mktemp("world")
    records, predictions = write_world(folder)
    analyze_files(records, predictions, save_encoder(folder / "encoder"), folder / "out", options=OPTIONS)
    return folder / "out/embeddings.html"


def lonely_point(page, points: range) -> int:
    """The one of some points that lies farthest from all others: hovering it hits no other."""
    places = page.evaluate("App.points.map((point) => { const {x, y} = Plot.place(point); return [x, y]; })")
    found = np.array(places)
    gaps = np.linalg.norm(found[:, None] - found[None], axis=2) + 1e9 * np.eye(len(found))
    return max(points, key=lambda point: gaps[point].min())


def hover(page, point: int) -> None:
    box = page.locator("#plot").bounding_box()
    at = page.evaluate(f"Plot.place({point})")
    page.mouse.move(box["x"] + at["x"], box["y"] + at["y"])


def colour_at(page, point: int) -> tuple[int, ...]:
    """Colour of the canvas where a point is."""
    return tuple(
        page.evaluate(
            """async (point) => {
                await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
                const {x, y} = Plot.place(point);
                const canvas = document.getElementById('plot');
                const density = window.devicePixelRatio;
                return [...canvas.getContext('2d').getImageData(x * density, y * density, 1, 1).data];
            }""",
            point,
        )
    )


def test_hovering_shows_the_answer_and_a_click_keeps_it(built, visit):
    data = page_data(built)
    page = visit(built)
    rows = len(data["rows"])
    point = lonely_point(page, range(rows, 2 * rows))
    row = data["rows"][point % rows]
    hover(page, point)
    texts = page.locator("#answer .text").all_text_contents()
    assert texts == [row["answers"][1], row["question"], row["answers"][0]]
    assert page.locator("#answer h2").all_text_contents() == ["same", "Human"]
    assert f"row {row['source_index']}" in page.inner_text("#answer .where")
    page.mouse.move(5, 5)
    expect(page.locator("#answer .text")).to_have_count(0)
    hover(page, point)
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(5, 5)
    # Kept, with every answer to the question.
    assert page.locator("#answer .text").all_text_contents() == [
        row["answers"][1], row["question"], row["answers"][0], row["answers"][2],
    ]  # fmt: skip
    page.keyboard.press("Escape")
    expect(page.locator("#answer .text")).to_have_count(0)


def test_markup_in_answers_stays_text(built, visit):
    data = page_data(built)
    page = visit(built)
    rows = len(data["rows"])
    (place,) = [number for number, row in enumerate(data["rows"]) if row["answers"][2] == HOSTILE[0]]
    page.evaluate(f"App.state.pinned = {2 * rows + place} - 1")
    page.focus("#plot")
    page.keyboard.press("ArrowRight")
    assert page.locator("#answer .current").text_content() == HOSTILE[0]
    assert page.locator("#answer img, #answer script, #answer b").count() == 0
    assert page.evaluate("window.hacked") is None


def test_colours_are_by_method_dataset_or_bucket(built, visit):
    data = page_data(built)
    page = visit(built)
    rows = len(data["rows"])
    point = lonely_point(page, range(rows, 2 * rows))
    seen = {}
    for choice in ("method", "dataset", "bucket"):
        page.select_option("#colour", choice)
        seen[choice] = colour_at(page, point)
        keys = page.locator("#colours .key").all_text_contents()
        expected = set() if choice == "method" else {row[choice] for row in data["rows"]}
        assert set(keys) == expected
    assert seen["method"] != seen["dataset"]
    assert all(colour[3] > 0 for colour in seen.values())


def test_systems_are_hidden_and_answers_found(built, visit):
    data = page_data(built)
    page = visit(built)
    rows = len(data["rows"])
    point = lonely_point(page, range(rows, 2 * rows))
    assert page.inner_text("#count") == f"{3 * rows} answers"
    page.click(".system:nth-child(2)")
    assert page.get_attribute(".system:nth-child(2)", "aria-pressed") == "false"
    assert page.inner_text("#count") == f"{2 * rows} answers"
    assert colour_at(page, point)[3] == 0
    hover(page, point)
    assert page.locator("#answer .text").count() == 0
    page.click(".system:nth-child(2)")
    page.fill("#find", "ONERROR")
    assert (
        page.inner_text("#count")
        == f"{sum('onerror' in a for r in data['rows'] for a in r['answers'])} answers"
    )


def test_projections_zoom_and_keyboard(built, visit):
    page = visit(built)
    first = page.evaluate("Plot.place(3)")
    assert "PC1" in page.inner_text("#across")
    page.click("#projections button:nth-child(2)")
    assert page.inner_text("#across") == ""
    second = page.evaluate("Plot.place(3)")
    assert first != second
    page.focus("#plot")
    page.keyboard.press("+")
    assert page.evaluate("Plot.place(3)") != second
    page.keyboard.press("0")
    assert page.evaluate("Plot.place(3)") == second
    page.keyboard.press("ArrowRight")
    assert page.locator("#answer h2").first.text_content() == "Human"
    page.keyboard.press("ArrowDown")
    assert page.locator("#answer h2").first.text_content() == "same"
    page.locator("#plot").hover()
    page.mouse.wheel(0, -600)
    expect(page.locator("#plot")).to_be_visible()
    assert page.evaluate("Plot.place(3)") != second
    page.click("#reset")
    assert page.evaluate("Plot.place(3)") == second


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_runs_out_of_the_window_and_every_control_has_a_name(built, visit, width):
    page = visit(built, width=width)
    page.focus("#plot")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, canvas')].filter((node) =>
            !(node.textContent.trim() || node.getAttribute('aria-label') || (node.labels ?? []).length))
            .map((node) => node.outerHTML)"""
    )
    assert nameless == []


def test_pictures_of_the_published_outputs(shared, visit, screenshots, tmp_path):
    """Real outputs in both schemes, to be looked at."""
    records, predictions = write_published(shared, tmp_path)
    given = {name: path for name, path in predictions.items() if name.startswith("Llama")}
    encoder = shared / "data/parity/tiny_lm"
    analyze_files(records, given, encoder, tmp_path / "out", options={**OPTIONS, "max_length": 256})
    for scheme in ("light", "dark"):
        page = visit(tmp_path / "out/embeddings.html")
        page.emulate_media(color_scheme=scheme)
        page.select_option("#colour", "bucket")
        page.focus("#plot")
        page.keyboard.press("ArrowRight")
        page.screenshot(path=screenshots / f"embeddings_{scheme}.png", full_page=True)
        assert page.get_attribute("#answer", "lang") == "zh"
