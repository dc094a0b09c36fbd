"""Human evaluation: the draw, the blinding, the page's text, exports and their numbers."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import norm

from polyalign.errors import BadInput, BadInputs
from polyalign.files import read_json, read_jsonl, write_json, write_jsonl
from polyalign.human_eval.build import build_sites
from polyalign.human_eval.exports import read_exports, read_key
from polyalign.human_eval.sample import choose_rows, draw_prompts
from polyalign.human_eval.settings import DIMENSIONS
from polyalign.human_eval.statistics import strengths
from polyalign.human_eval.summary import correlations, summarize
from polyalign.methods import HUMAN
from polyalign.web_page import embed_json
from tests.human_eval_world import (
    HOSTILE,
    chooser,
    page_data,
    scorer,
    site_of,
    write_export,
    write_world,
)

SYSTEMS = ("en_base_tiny", "en_sft_tiny", "en_hdpo_tiny")


@pytest.fixture
def world(tmp_path):
    return write_world(tmp_path, SYSTEMS)


def built(world, out, **settings):
    records, predictions = world
    build_sites(records, predictions, out, language="en", settings={"prompts_per_length_bin": 2, **settings})
    return read_json(out / "key.json")


def test_a_draw_takes_of_each_bin_from_every_corpus_in_turn():
    rows = [
        (index, f"id{index}", "large" if index % 10 else "little", ("short", "long")[index % 2])
        for index in range(200)
    ]
    chosen = choose_rows(rows, 10, seed=1)
    datasets = [(rows[index][3], rows[index][2]) for index in chosen]
    assert datasets.count(("short", "large")) == datasets.count(("short", "little")) == 5
    # Every tenth row is even, so long rows are of the large corpus alone.
    assert datasets.count(("long", "large")) == 10
    assert choose_rows(rows[::-1], 10, seed=1) == chosen
    assert choose_rows(rows, 10, seed=2) != chosen
    assert set(choose_rows(rows, 4, seed=1)) < set(chosen)


def test_only_rows_that_every_system_answered_are_drawn(world):
    records, predictions = world
    lines = [row for _, row in read_jsonl(predictions["en_sft_tiny"])]
    lines[0]["finish_reason"] = "error"
    write_jsonl(predictions["en_sft_tiny"], lines[:-4])
    drawn = draw_prompts(records, predictions, per_length_bin=100, seed=1)
    assert {prompt.source_index for prompt in drawn} == set(range(1, len(lines) - 4))


def test_predictions_of_other_records_are_refused(world, tmp_path):
    _, predictions = world
    lines = [row for _, row in read_jsonl(predictions["en_sft_tiny"])]
    lines[2]["id"] = "other"
    write_jsonl(predictions["en_sft_tiny"], lines)
    with pytest.raises(BadInput, match=r"row 3, field 'id': found 'other'"):
        built(world, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_page_names_neither_systems_nor_records_nor_the_seed(world, tmp_path):
    built(world, tmp_path / "out", seed=987654)
    for mode in ("single", "pairwise"):
        text = (tmp_path / f"out/site/{mode}.html").read_text()
        assert not re.search(r"en_base|en_sft|en_hdpo|dolly|squad|source_index|987654", text)
    assert sorted(path.name for path in (tmp_path / "out/site").iterdir()) == ["pairwise.html", "single.html"]


def test_the_key_tells_whose_each_answer_is(world, tmp_path):
    key = built(world, tmp_path / "out")
    sample = [row for _, row in read_jsonl(tmp_path / "out/sample.jsonl")]
    for mode in ("single", "pairwise"):
        data = page_data(tmp_path / f"out/site/{mode}.html")
        site_id, site = site_of(key, mode)
        assert data["site"] == site_id
        assert {item["id"] for item in data["items"]} == set(site["items"])
        for item in data["items"]:
            owner = site["items"][item["id"]]
            texts = [data["prompts"][item["prompt"]]["answers"][place] for place in item["answers"]]
            assert texts == [sample[owner["prompt"]]["answers"][system] for system in owner["systems"]]


def test_no_place_gives_a_system_away(tmp_path):
    key = built(write_world(tmp_path, SYSTEMS, rows=40), tmp_path / "out", prompts_per_length_bin=60)
    places = np.zeros((3, 3))
    for prompt in page_data(tmp_path / "out/site/single.html")["prompts"]:
        for place, text in enumerate(prompt["answers"]):
            number = 0 if text in HOSTILE else int(text.split()[1])
            places[number, place] += 1
    # 240 prompts: a third each, within four standard deviations.
    assert abs(places - 80).max() < 4 * np.sqrt(240 * 2 / 9)
    _, site = site_of(key, "pairwise")
    firsts = [owner["systems"][0] == min(owner["systems"]) for owner in site["items"].values()]
    assert abs(np.mean(firsts) - 0.5) < 4 * 0.5 / np.sqrt(len(firsts))


def test_equal_inputs_give_equal_files_and_another_seed_another_order(world, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        built(world, tmp_path / name, seed=seed)
    files = [{p.name: p.read_bytes() for p in (tmp_path / name).rglob("*.*")} for name in "abc"]
    assert files[0] == files[1]
    assert files[0]["key.json"] != files[2]["key.json"]


def test_limits_share_prompts_out_evenly(world, tmp_path):
    key = built(world, tmp_path / "out", answers_per_prompt=1, pairs_per_prompt=2, prompts_per_length_bin=3)
    for mode, each in (("single", 4), ("pairwise", 16)):
        _, site = site_of(key, mode)
        counts = [sum(name in owner["systems"] for owner in site["items"].values()) for name in SYSTEMS]
        assert counts == [each] * 3
    data = page_data(tmp_path / "out/site/single.html")
    assert all(len(prompt["answers"]) == 1 for prompt in data["prompts"])


@pytest.mark.parametrize(
    "reference, shown, judged", [("shown", True, 3), ("answer", False, 4), ("none", False, 3)]
)
def test_the_human_answer_is_shown_judged_or_left_out(world, tmp_path, reference, shown, judged):
    key = built(world, tmp_path / "out", reference=reference)
    data = page_data(tmp_path / "out/site/single.html")
    assert all((prompt["reference"] is not None) == shown for prompt in data["prompts"])
    assert ("reference_alignment" in data["dimensions"]) == shown
    _, site = site_of(key, "single")
    assert (HUMAN in site["systems"]) == (reference == "answer")
    assert len(site["items"]) == judged * 8


def test_embedded_json_cannot_end_its_element():
    value = {"text": [*HOSTILE, "<!--<script>", "\u2029]]>"]}
    text = embed_json(value)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == value


def rate(world, out, **people):
    """Build, and write an export a person of each mode."""
    built(world, out, pairs_per_prompt=None, prompts_per_length_bin=4)
    return [
        write_export(out, out / "key.json", mode, name, answer)
        for name, modes in people.items()
        for mode, answer in modes.items()
    ]


def ordinal_alpha(qualities, noise):
    """Krippendorff's alpha of two annotators with normal noise, rounded and clipped to 1 to 5, from its definition."""
    edges = np.array([-np.inf, 1.5, 2.5, 3.5, 4.5, np.inf])
    chances = np.array([np.diff(norm.cdf(edges, quality, noise)) for quality in qualities])
    together = chances.T @ chances / len(qualities)
    margin = together.sum(axis=0)
    below = np.cumsum(margin) - margin / 2
    apart = (below[:, None] - below[None, :]) ** 2
    return 1 - (together * apart).sum() / (np.outer(margin, margin) * apart).sum()


def test_known_quality_and_agreement_are_recovered(tmp_path):
    """Two annotators who see the same quality with noise: means, order, strengths and agreement come out."""
    world = write_world(tmp_path, SYSTEMS, rows=40)
    true = dict(zip(SYSTEMS, (2.0, 3.0, 4.0), strict=True))
    strength = dict(zip(SYSTEMS, (-1.0, 0.0, 1.0), strict=True))
    out = tmp_path / "out"
    built(world, out, pairs_per_prompt=None, prompts_per_length_bin=60)
    exports = [
        write_export(out, out / "key.json", mode, name, answer)
        for seed, name in enumerate(("ana", "ben"))
        for mode, answer in (
            ("single", scorer(true, DIMENSIONS, 0.5, seed)),
            ("pairwise", chooser(strength, seed)),
        )
    ]
    summarize(exports, out / "key.json", tmp_path / "summary", bootstrap=100)
    summary = read_json(tmp_path / "summary/summary.json")
    assert summary["annotators"] == {"ana": 1440, "ben": 1440}
    for system, quality in true.items():
        for name in (*DIMENSIONS, "overall"):
            found = summary["single"]["scores"][system][name]
            assert found["n"] == 480
            assert found["estimate"] == pytest.approx(quality, abs=0.12)
            assert found["low"] < found["estimate"] < found["high"]
            assert found["high"] - found["low"] < 0.3
    for system, value in strength.items():
        found = summary["pairwise"]["preferences"][system]
        assert found["strength"]["estimate"] == pytest.approx(value, abs=0.25)
        assert found["strength"]["low"] < value < found["strength"]["high"]
    expected = ordinal_alpha(list(true.values()), noise=0.5)
    for name in DIMENSIONS:
        found = summary["single"]["agreement"][name]
        assert found["items"] == 720
        assert found["estimate"] == pytest.approx(expected, abs=0.06)
        assert found["low"] < found["estimate"] < found["high"]
    # Choices: agreement beyond chance of two independent draws with the same chance of `first`.
    sides = [
        owner["systems"] for owner in site_of(read_json(out / "key.json"), "pairwise")[1]["items"].values()
    ]
    first = np.array([1 / (1 + np.exp(strength[b] - strength[a])) for a, b in sides])
    mean = first.mean()
    disagree = (2 * first * (1 - first)).mean() / (2 * mean * (1 - mean))
    assert summary["pairwise"]["agreement"]["choice"]["estimate"] == pytest.approx(1 - disagree, abs=0.1)
    for suffix in ("html", "md", "tex", "csv"):
        assert "HDPO" in (tmp_path / f"summary/human_eval_en.{suffix}").read_text() or suffix == "csv"


def test_annotators_who_say_the_same_agree_fully_and_random_ones_not_at_all(tmp_path):
    world = write_world(tmp_path, SYSTEMS, rows=20)
    out = tmp_path / "out"
    built(world, out, prompts_per_length_bin=40)
    generator = np.random.default_rng(3)
    fixed: dict[str, dict] = {}

    def same(item, systems):
        return fixed.setdefault(
            item, {"scores": {name: int(generator.integers(1, 6)) for name in DIMENSIONS}}
        )

    def drawn(item, systems):
        return {"scores": {name: int(generator.integers(1, 6)) for name in DIMENSIONS}}

    for names, answer, expected in ((("a", "b"), same, 1.0), (("c", "d"), drawn, 0.0)):
        exports = [write_export(out, out / "key.json", "single", name, answer) for name in names]
        summarize(exports, out / "key.json", tmp_path / "summary", bootstrap=0)
        found = read_json(tmp_path / "summary/summary.json")["single"]["agreement"]
        for value in found.values():
            assert value["estimate"] == pytest.approx(expected, abs=1e-9 if expected else 0.12)
            assert value["low"] is None


def test_one_annotator_has_no_agreement_and_the_reason_is_said(world, tmp_path):
    out = tmp_path / "out"
    (path,) = rate(world, out, ana={"single": lambda item, systems: {"scores": {"task_success": 3}}})
    summarize([path], out / "key.json", tmp_path / "summary", bootstrap=10)
    summary = read_json(tmp_path / "summary/summary.json")
    assert summary["single"]["half_done"] == summary["single"]["ratings"]
    assert summary["single"]["agreement"]["task_success"]["reason"] == "no item was rated by two annotators"
    assert summary["single"]["scores"]["en_sft_tiny"]["overall"] is None
    assert summary["single"]["scores"]["en_sft_tiny"]["task_success"]["estimate"] == 3.0


def test_strengths_are_those_of_the_closed_form_for_two_systems():
    wins = np.array([[0.0, 75.0], [25.0, 0.0]])
    found = strengths(wins)
    assert found[0] - found[1] == pytest.approx(np.log(3), abs=2e-3)
    never_lost = strengths(np.array([[0.0, 10.0], [0.0, 0.0]]))
    assert np.isfinite(never_lost).all()
    assert never_lost[0] > never_lost[1]


def test_win_rates_count_ties_half(world, tmp_path):
    out = tmp_path / "out"

    def answer(item, systems):
        if "en_base_tiny" in systems:
            return {"choice": ("second", "first")[systems.index("en_base_tiny") == 1]}
        return {"choice": "tie"}

    (path,) = rate(world, out, ana={"pairwise": answer})
    summarize([path], out / "key.json", tmp_path / "summary", bootstrap=20)
    found = read_json(tmp_path / "summary/summary.json")["pairwise"]["preferences"]
    rates = {name: row["win_rate"]["estimate"] for name, row in found.items()}
    assert rates == {"en_base_tiny": 0.0, "en_sft_tiny": 0.75, "en_hdpo_tiny": 0.75}
    assert all(row["n"] == 32 for row in found.values())


def test_correlations_need_systems_that_differ():
    human = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": None}
    reports = {
        name: {"up": place**2, "down": -place, "flat": 1, "rare": place if name in "ab" else None}
        for place, name in enumerate("abcde")
    }
    found = correlations(human, reports)
    assert found["up"]["spearman"] == pytest.approx(1)
    assert found["down"]["spearman"] == pytest.approx(-1)
    assert found["flat"] == {"systems": 4, "spearman": None, "reason": "one side is constant"}
    assert found["rare"]["reason"] == "fewer than 4 systems"


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda e: e.update(site="feed"), ["site", "another site, feed"]),
        (lambda e: e.update(kind="other"), ["no export of a human evaluation"]),
        (lambda e: e.update(annotator=" "), ["annotator", "name or code"]),
        (lambda e: e.update(answers=[]), ["answers", "an object"]),
        (lambda e: e["answers"].update(nobody={"scores": {}}), ["id nobody", "unknown item"]),
        (lambda e: first(e)["scores"].update(task_success=6), ["scores.task_success", "found 6", "1 to 5"]),
        (lambda e: first(e)["scores"].update(task_success=True), ["scores.task_success", "found True"]),
        (lambda e: first(e)["scores"].update(charm=3), ["scores.charm", "unknown dimension"]),
        (lambda e: first(e).update(comment=3), ["comment", "a text"]),
    ],
)
def test_a_broken_export_ends_in_one_line(world, tmp_path, change, expected):
    out = tmp_path / "out"
    (path,) = rate(world, out, ana={"single": scorer(dict.fromkeys(SYSTEMS, 3), DIMENSIONS, 1, 0)})
    export = read_json(path)
    change(export)
    write_json(path, export)
    command = [
        "summarize",
        path,
        "--key",
        out / "key.json",
        "--out",
        tmp_path / "summary",
        "--bootstrap",
        "5",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "polyalign", "human-eval", *map(str, command)],
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert all(part in line for part in [path.name, *expected]), line
    assert not (tmp_path / "summary").exists()


def first(export):
    return next(iter(export["answers"].values()))


def test_several_mistakes_are_told_together_and_a_choice_must_be_known(world, tmp_path):
    out = tmp_path / "out"
    (path,) = rate(world, out, ana={"pairwise": lambda item, systems: {"choice": "left"}})
    with pytest.raises(BadInputs) as caught:
        read_exports([path], read_key(out / "key.json"))
    lines = str(caught.value).splitlines()
    assert all("one of first, second, tie" in line for line in lines[:20])
    assert "28 more" in lines[-1]


def test_an_item_rated_twice_by_one_annotator_is_refused(world, tmp_path):
    out = tmp_path / "out"
    (path,) = rate(world, out, ana={"single": scorer(dict.fromkeys(SYSTEMS, 3), DIMENSIONS, 1, 0)})
    copy = path.with_name("again.json")
    copy.write_bytes(path.read_bytes())
    with pytest.raises(BadInputs, match=f"ana rated the item in {path}"):
        read_exports([path, copy], read_key(out / "key.json"))


def test_the_command_builds_what_the_function_builds(world, tmp_path):
    records, predictions = world
    named = [f"{name}={path}" for name, path in predictions.items()]
    command = [
        "human-eval", "build", "--records", records, "--predictions", *named, "--language", "en",
        "--prompts", "2", "--out", tmp_path / "cli",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "polyalign", *map(str, command)], text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    built(world, tmp_path / "function")
    for name in ("site/single.html", "site/pairwise.html", "key.json", "sample.jsonl"):
        assert (tmp_path / "cli" / name).read_bytes() == (tmp_path / "function" / name).read_bytes()
