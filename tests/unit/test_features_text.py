"""Text features of `core-v1`, whose tools are Python packages, and what the sets promise."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
from model_families import record_of

from polyalign.errors import BadInput, PolyAlignError
from polyalign.features import backends as tools
from polyalign.features.names import FEATURES, LM_NAMES, TEXT_NAMES, feature_names
from polyalign.features.page import PAGE_FILE, features_page
from polyalign.features.rounding import round_decimals
from polyalign.features.text import BATCH_ROWS, extract_text_features
from polyalign.features.words import count_syllables
from polyalign.records import RecordWriter

STORY = "Dr. Lee can't find 3 red apples! Where did she look? She looked in the old, old barn in 1999."


def measure(*texts: str) -> list[dict[str, float]]:
    matrix = extract_text_features(texts, "core-v1")
    return [dict(zip(TEXT_NAMES, row, strict=True)) for row in matrix.tolist()]


def test_the_list_has_the_published_sizes_and_no_name_twice():
    assert (len(TEXT_NAMES), len(LM_NAMES), len(FEATURES)) == (134, 43, 177)
    assert feature_names("core-v1") == feature_names("paper-v1") == list(TEXT_NAMES)
    assert [name for name in FEATURES if FEATURES[name].role == "run_constant"] == ["lm_max_seq_length"]
    assert FEATURES["lm_conditional_prefix_token_count"].role == "prompt_side"


def test_an_english_text_is_counted_as_a_person_would():
    row = measure(STORY)[0]
    expected = {
        "char_count": len(STORY),
        "sentence_count": 3,
        "word_token_count": 20,
        "question_mark_count": 1,
        "exclamation_mark_count": 1,
        "year_token_count": 1,
        "adjacent_repeat_count": 1,
        "contraction_count": 1,
        "number_token_count": 2,
        "modal_count": 1,
        "question_sentence_ratio": round(1 / 3, 6),
        "sentence_initial_capital_ratio": 1.0,
        "terminal_punctuation_ratio": 1.0,
    }
    assert {name: row[name] for name in expected} == expected
    assert row["proper_noun_count"] >= 1
    assert row["past_verb_count"] == 2
    assert row["pos_noun_count"] >= 3


def test_a_chinese_text_has_words_tags_and_stop_words():
    row = measure("今天天气很好。你吃饭了吗？")[0]
    assert row["sentence_count"] == 2
    assert row["question_sentence_ratio"] == 0.5
    # 今天天气 / 很 / 好 / 你 / 吃饭 / 了 / 吗: words, not characters.
    assert 6 <= row["word_token_count"] <= 8
    assert row["pos_verb_count"] >= 1
    assert row["stopword_count"] >= 3
    assert row["syllable_count"] == row["flesch_reading_ease"] == 0


def test_an_empty_answer_is_all_zeros_and_blank_space_counts_as_empty():
    matrix = extract_text_features(["", "  \n \n"], "core-v1")
    assert not matrix.any()
    assert extract_text_features([], "core-v1").shape == (0, 134)


def test_repeats_lists_and_marks():
    row = measure("- one\n- two\n1. three\n\n```code```\naaaa!!! the the the")[0]
    assert (row["bullet_line_count"], row["enumerated_line_count"]) == (2, 1)
    assert (row["paragraph_count"], row["newline_count"]) == (2, 5)
    assert (row["code_fence_count"], row["inline_code_marker_count"]) == (2, 6)
    # The two fences, aaaa and !!!.
    assert row["repeated_char_sequence_count"] == 4
    assert (row["adjacent_repeat_count"], row["max_token_frequency"]) == (2, 3)


def test_sentiment_has_a_direction():
    good, bad = measure("What a wonderful, lovely day!", "This is a horrible, disgusting mess.")
    assert good["vader_compound"] > 0.5 > -0.5 > bad["vader_compound"]


@pytest.mark.parametrize(
    ("word", "syllables"),
    [("", 0), ("the", 1), ("cake", 1), ("table", 2), ("banana", 3), ("rhythm", 1), ("bye", 1), ("don't", 1)],
)
def test_syllables(word, syllables):
    assert count_syllables(word) == syllables


def test_rows_do_not_depend_on_their_neighbours_or_on_the_number_of_processes():
    rng = random.Random(3)
    words = [*STORY.split(), "中文", "tests", "and", "so", "on."]
    texts = [" ".join(rng.choices(words, k=rng.randint(0, 30))) for _ in range(3 * BATCH_ROWS)]
    whole = extract_text_features(texts, "core-v1", workers=2)
    some = rng.sample(range(len(texts)), 40)
    alone = np.concatenate([extract_text_features([texts[row]], "core-v1") for row in some])
    np.testing.assert_array_equal(whole[some], alone)


def test_rounding_is_pythons():
    values = np.array([0.0078125, 1 / 640, 2.0000005, -1.5, 1e9 / 3, 0.1234565, 5e-7])
    expected = [round(value, 6) for value in values.tolist()]
    assert round_decimals(values.copy()).tolist() == expected


def test_an_unknown_set_is_refused():
    with pytest.raises(BadInput, match="paper-v1, core-v1"):
        extract_text_features(["a"], "paper-v2")


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(tools._CORE_PACKAGES, "tags", ("no_such_tagger", "NoSuchTagger"))
    with pytest.raises(PolyAlignError, match=r"NoSuchTagger.*python -m pip install NoSuchTagger"):
        tools.backends.__wrapped__("core-v1")


def test_without_nltk_data_paper_v1_ends_in_one_line(root, tmp_path):
    with RecordWriter(tmp_path / "records.jsonl") as writer:
        writer.write(record_of(0))
    arguments = [
        "--records",
        tmp_path / "records.jsonl",
        "--out",
        tmp_path / "out.parquet",
        "--set",
        "paper-v1",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "polyalign", "features", *map(str, arguments)],
        cwd=root,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NLTK_DATA": str(tmp_path)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "tokenizers/punkt_tab/english/abbrev_types.txt" in line
    assert "get it with: python -m polyalign nltk-data" in line
    assert not (tmp_path / "out.parquet").exists()


def test_the_tools_are_named_with_versions():
    named = tools.backends("core-v1")
    assert named["sentences"] == "polyalign rules 1"
    assert all(any(char.isdigit() for char in tool) for tool in named.values())


def test_the_page_lists_what_the_code_measures():
    assert PAGE_FILE.read_text(encoding="utf-8") == features_page(), "run python -m polyalign.features.page"
