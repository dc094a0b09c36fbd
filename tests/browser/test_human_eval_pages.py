"""The pages of the human evaluation in a real browser, from disk: rated, left, found again, exported, summarized."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

from polyalign.files import read_json
from polyalign.human_eval.build import build_sites
from polyalign.human_eval.settings import DIMENSIONS
from polyalign.human_eval.summary import summarize
from tests.human_eval_world import HOSTILE, page_data, site_of, write_published, write_world


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Pages of 8 prompts and three systems, one of which answers with markup."""
    folder = tmp_path_factory.mktemp("world")
    records, predictions = write_world(folder)
    settings = {"prompts_per_length_bin": 2}
    build_sites(records, predictions, folder / "out", language="en", settings=settings)
    return folder / "out"


def stored(page) -> dict:
    """What the page keeps in this browser."""
    return json.loads(page.evaluate("localStorage.getItem(localStorage.key(0))"))


def exported(page, folder: Path) -> Path:
    """Click on the export and keep its file."""
    with page.expect_download() as waiting:
        page.click("#export")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_scores_by_keyboard_and_mouse_survive_a_reload_and_are_summarized(built, visit, tmp_path):
    page = visit(built / "site/single.html")
    first, second = (item["id"] for item in page_data(built / "site/single.html")["items"][:2])
    page.fill("#annotator", "Ana")
    page.keyboard.press("Escape")
    for key in ("5", "4", "3", "2", "1"):
        page.keyboard.press(key)
    page.keyboard.press("c")
    page.keyboard.type("nice, 5 of 5")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    assert "2 of 24" in page.inner_text("#heading")
    for name in DIMENSIONS:
        page.click(f"#line-{name} .choice:nth-child(4)")
    page.click("#next")
    page.keyboard.press("3")
    assert page.inner_text("#done") == "2 of 24 rated"

    page.reload()
    assert page.inner_text("#done") == "2 of 24 rated"
    assert page.input_value("#annotator") == "Ana"
    assert "3 of 24" in page.inner_text("#heading")
    assert page.is_checked("#line-task_success input[value='3']")
    page.keyboard.press("p")
    page.keyboard.press("p")
    assert page.input_value("#comment") == "nice, 5 of 5"
    page.keyboard.press("u")
    assert "3 of 24" in page.inner_text("#heading")

    path = exported(page, tmp_path)
    answers = read_json(path)["answers"]
    assert answers[first]["scores"] == dict(zip(DIMENSIONS, (5, 4, 3, 2, 1), strict=True))
    assert set(answers[second]["scores"].values()) == {4}
    summarize([path], built / "key.json", tmp_path / "summary", bootstrap=50)
    summary = read_json(tmp_path / "summary/summary.json")
    _, site = site_of(read_json(built / "key.json"), "single")
    assert summary["single"]["half_done"] == 1
    expected = {name: [] for name in site["systems"]}
    for item, mean in ((first, 3), (second, 4)):
        expected[site["items"][item]["systems"][0]].append(mean)
    for name, means in expected.items():
        found = summary["single"]["scores"][name]["overall"]
        assert (found and found["estimate"]) == (sum(means) / len(means) if means else None)


def test_everything_can_be_done_by_tab_space_and_arrows(built, visit):
    """Without the number keys, as with a screen reader: native radio buttons in reading order."""
    page = visit(built / "site/single.html")
    page.focus("#line-task_success input")
    for _ in DIMENSIONS:
        page.keyboard.press("Space")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "comment"
    assert page.inner_text("#done") == "1 of 24 rated"
    assert set(next(iter(stored(page)["answers"].values()))["scores"].values()) == {2}
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert "2 of 24" in page.inner_text("#heading")


def test_markup_in_answers_stays_text(built, visit):
    page = visit(built / "site/single.html")
    seen = set()
    for _ in range(24):
        seen |= {text for text in page.locator(".answer .text").all_text_contents() if text in HOSTILE}
        page.keyboard.press("n")
    assert seen == set(HOSTILE)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img, main script, #item b:not(.turn b)").count() == 0
    assert page.locator(".turn .text").first.text_content() == "Hello <b>there</b>."


def test_an_export_is_imported_elsewhere_and_newer_work_wins(built, visit, tmp_path):
    here = visit(built / "site/single.html")
    here.fill("#annotator", "Ben")
    here.keyboard.press("Escape")
    for key in "11111":
        here.keyboard.press(key)
    older = exported(here, tmp_path)

    there = visit(built / "site/single.html")
    there.set_input_files("#file", older)
    expect(there.locator("#message")).to_contain_text("1 ratings imported")
    assert there.inner_text("#done") == "1 of 24 rated"
    assert there.input_value("#annotator") == "Ben"
    there.keyboard.press("Escape")
    there.focus("#line-task_success input")
    there.keyboard.press("5")
    there.set_input_files("#file", older)
    expect(there.locator("#message")).to_contain_text("0 ratings imported")
    assert there.is_checked("#line-task_success input[value='5']")


@pytest.mark.parametrize(
    "change, said",
    [
        ({"site": "0123456789abcdef"}, "another evaluation"),
        ({"kind": "other"}, "no export"),
        ({"answers": {"ITEM": {"scores": {"task_success": 6}}}}, "not valid"),
        ({"answers": {"constructor": {"scores": {}}}}, "not valid"),
        (None, "no export"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(built, visit, tmp_path, change, said):
    data = page_data(built / "site/single.html")
    path = tmp_path / "import.json"
    good = {
        "kind": "polyalign-human-eval",
        "version": 1,
        "site": data["site"],
        "mode": "single",
        "annotator": "Eve",
        "answers": {},
    }
    text = "{" if change is None else json.dumps(good | change)
    path.write_text(text.replace("ITEM", data["items"][0]["id"]))
    page = visit(built / "site/single.html")
    page.set_input_files("#file", path)
    expect(page.locator("#message")).to_contain_text(said)
    assert page.inner_text("#done") == "0 of 24 rated"
    assert page.input_value("#annotator") == ""


def test_an_export_needs_a_name(built, visit):
    page = visit(built / "site/single.html")
    page.click("#export")
    assert "name or code" in page.inner_text("#message")
    assert page.evaluate("document.activeElement.id") == "annotator"


def test_pairs_are_compared_by_keyboard_and_mouse_and_summarized(built, visit, tmp_path):
    page = visit(built / "site/pairwise.html")
    items = [item["id"] for item in page_data(built / "site/pairwise.html")["items"]]
    page.fill("#annotator", "Ana")
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.keyboard.press("n")
    page.click("#line-choice .choice:nth-child(2)")
    page.keyboard.press("n")
    page.keyboard.press("3")
    page.reload()
    assert page.inner_text("#done") == f"3 of {len(items)} rated"
    path = exported(page, tmp_path)
    answers = read_json(path)["answers"]
    assert [answers[item]["choice"] for item in items[:3]] == ["first", "second", "tie"]
    summarize([path], built / "key.json", tmp_path / "summary", bootstrap=20)
    summary = read_json(tmp_path / "summary/summary.json")
    assert summary["single"] is None
    assert sum(row["n"] for row in summary["pairwise"]["preferences"].values()) == 6


def test_the_interface_speaks_both_languages(built, visit):
    page = visit(built / "site/single.html", language="zh-CN")
    assert page.inner_text("h1") == "回答盲评"
    assert page.get_attribute("html", "lang") == "zh-CN"
    page.click("[data-language=en]")
    page.reload()
    assert page.inner_text("h1") == "Blind evaluation of answers"
    assert page.get_attribute("[data-language=en]", "aria-pressed") == "true"
    # What annotators read keeps its own language.
    assert page.get_attribute(".question .text", "lang") == "en"


def test_every_control_has_a_name(built, visit):
    for mode in ("single", "pairwise"):
        page = visit(built / f"site/{mode}.html")
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button, input:not([hidden]), textarea, progress, summary')]
                .filter((node) => !(node.textContent.trim() || node.getAttribute('aria-label')
                    || [...(node.labels ?? [])].some((label) => label.textContent.trim())))
                .map((node) => node.outerHTML)"""
        )
        assert nameless == []
        legends = page.locator("fieldset > legend").all_text_contents()
        assert len(legends) == page.locator("fieldset").count() > 0
        assert all(text.strip() for text in legends)


def contrast(page, selector: str) -> float:
    """Contrast of an element's text with what is behind it, as WCAG defines it."""
    return page.evaluate(
        """(selector) => {
            const parse = (text) => text.match(/[\\d.]+/g).map(Number);
            const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
                .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
            const node = document.querySelector(selector);
            let behind = node;
            while (parse(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
            const [a, b] = [light(parse(getComputedStyle(node).color)),
                light(parse(getComputedStyle(behind).backgroundColor))].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05);
        }""",
        selector,
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(built, visit, scheme):
    page = visit(built / "site/single.html")
    page.emulate_media(color_scheme=scheme)
    page.keyboard.press("4")
    for selector in (
        "h1", "legend span", ".answer.current .text", ".answer.current h3", "summary", "#next", "input:checked + span",
        ".reference h3", ".scale",
    ):  # fmt: skip
        assert contrast(page, selector) >= 4.5, selector


@pytest.mark.parametrize("mode", ["single", "pairwise"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_runs_out_of_the_window(built, visit, mode, width):
    page = visit(built / f"site/{mode}.html", width=width, height=740)
    for _ in range(6):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        small = page.evaluate(
            """() => [...document.querySelectorAll('button, .choice')].filter((node) => node.offsetHeight < 24)
                .map((node) => node.outerHTML)"""
        )
        assert small == []
        page.keyboard.press("n")


@pytest.mark.parametrize("mode", ["single", "pairwise"])
def test_pictures_of_the_published_outputs(shared, visit, screenshots, tmp_path, mode):
    """Real outputs at desktop and phone widths in both languages, to be looked at."""
    records, predictions = write_published(shared, tmp_path)
    settings = {"prompts_per_length_bin": 2, "modes": [mode], "answers_per_prompt": 5}
    build_sites(records, predictions, tmp_path / "out", language="zh", settings=settings)
    for width, height, name in ((1280, 860, "desktop"), (390, 844, "phone")):
        for language in ("en-GB", "zh-CN"):
            page = visit(tmp_path / f"out/site/{mode}.html", width, height, language)
            page.screenshot(path=screenshots / f"{mode}_{name}_{language[:2]}_start.png", full_page=True)
            page.click("#guide summary")
            for key in ("4", "2", "b") if mode == "single" else ("b",):
                page.keyboard.press(key)
            page.screenshot(path=screenshots / f"{mode}_{name}_{language[:2]}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator(".answer.current .text").count() == (1 if mode == "single" else 2)
