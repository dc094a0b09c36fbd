"""The scores themselves: utility, diversity, BNG, HCR, TDM, frontier, aggregate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from polyalign.metrics import bng, hcr, nuf, tdm
from polyalign.metrics.aggregate import aggregate
from polyalign.metrics.diversity import NgramTable, diversity
from polyalign.metrics.tokens import tokenize
from polyalign.metrics.utility import score_rows
from polyalign.records import normalize_text


def test_a_chinese_answer_is_many_tokens_only_for_the_character_scores():
    scores = score_rows(["北京是首都"], ["北京是中国的首都。"])
    assert scores["qa_f1"][0] == 0
    # 5 of 5 and 5 of 8 characters; they stand in the same order.
    assert scores["char_f1"][0] == pytest.approx(2 * 1 * (5 / 8) / (1 + 5 / 8))
    assert scores["char_rouge_l_f1"][0] == scores["char_f1"][0]


def test_character_scores_of_ascii_text_are_the_paper_scores():
    scores = score_rows(["the red, big fox"], ["a big red fox!"])
    assert scores["char_f1"][0] == scores["qa_f1"][0] == 1
    assert scores["char_rouge_l_f1"][0] == scores["rouge_l_f1"][0] == pytest.approx(2 / 3)


def test_typographic_punctuation_does_not_make_a_character_token():
    scores = score_rows(["“Don’t”—he said，now"], ["don't he said now"])
    assert scores["char_f1"][0] == 1


@pytest.mark.parametrize(
    "prediction, reference, value", [("", "", 1), ("", "x", 0), ("x", " ", 0), ("the", "!", 1)]
)
def test_empty_answers(prediction, reference, value):
    scores = score_rows([prediction], [reference])
    assert scores["qa_f1"][0] == scores["rouge_l_f1"][0] == value


def test_equal_tokens_are_not_yet_an_exact_match():
    scores = score_rows(["The  answer.", "An answer", "line\r\n one"], ["The answer.", "answer", "line\none"])
    assert scores["raw_em"].tolist() == [1, 0, 1]
    assert scores["qa_em"].tolist() == [1, 1, 1]


@given(st.lists(st.text(max_size=30), max_size=4))
def test_bulk_tokens_are_those_of_the_definition(texts):
    import string

    gone = str.maketrans("", "", string.punctuation)
    expected = [
        [w for w in normalize_text(text).lower().translate(gone).split() if w not in ("a", "an", "the")]
        for text in texts
    ]
    assert tokenize(texts).lengths.tolist() == [len(words) for words in expected]


def test_a_lone_surrogate_is_scored_like_any_text():
    assert score_rows(["ok \ud800"], ["ok \ud800"])["qa_f1"][0] == 1


def test_diversity_of_repeats_and_of_nothing():
    repeated = NgramTable(tokenize(["one two three four"] * 5))
    assert diversity(repeated, np.arange(5))["self_bleu_4"] == pytest.approx(1)
    assert diversity(repeated, np.arange(5))["distinct_2"] == pytest.approx(3 / 15)
    nothing = NgramTable(tokenize(["", "!"]))
    assert set(diversity(nothing, np.arange(2)).values()) == {0.0}


def test_diversity_of_a_group_is_that_of_its_texts_alone():
    texts = ["red fox runs", "blue sky", "red fox sits still today", "red fox runs far", ""]
    whole, part = NgramTable(tokenize(texts)), NgramTable(tokenize([texts[0], texts[2], texts[3]]))
    assert diversity(whole, np.array([0, 2, 3])) == diversity(part, np.arange(3))


@pytest.mark.parametrize("n, m", [(5, 5), (3, 7), (8, 2), (1, 4)])
def test_wasserstein_equals_scipy(n, m):
    rng = np.random.default_rng(n * 10 + m)
    a, b = rng.normal(size=(n, 3)).round(1), rng.normal(1, 2, size=(m, 3)).round(1)
    expected = [wasserstein_distance(a[:, column], b[:, column]) for column in range(3)]
    np.testing.assert_allclose(bng.wasserstein(a, b), expected, atol=1e-12)


def test_a_run_constant_adds_its_value_to_bng_and_nothing_to_the_robust_one():
    rng = np.random.default_rng(0)
    names = ["char_count", "lm_max_seq_length", "bracket_count"]
    human = np.column_stack([rng.normal(size=50), np.full(50, 4096.0), np.zeros(50)])
    generated = human[::-1].copy()
    generated[:, 1] = 1024
    assert bng.bucket_gaps(generated, human).bng == pytest.approx(3072 / 3)
    robust = bng.robust_gaps(generated, human, names)
    assert robust.bng == pytest.approx(0)
    assert np.isnan(robust.gaps).tolist() == [False, True, True]
    rows = bng.contributions({"b": bng.bucket_gaps(generated, human)}, names)
    assert (rows[0]["feature"], rows[0]["zero_variance_buckets"]) == ("lm_max_seq_length", 1)
    assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_an_exploding_perplexity_moves_the_robust_gap_by_its_logarithm():
    human = np.exp(np.linspace(1, 4, 40))[:, None]
    generated = human.copy()
    generated[:4] = np.exp(50)
    names = ["lm_unconditional_perplexity"]
    assert bng.bucket_gaps(generated, human).bng > 1e15
    assert bng.robust_gaps(generated, human, names).bng < 10


def test_calibrated_threshold_covers_nine_in_ten_humans():
    distances = np.arange(40, dtype=float)
    covered = (distances <= hcr.calibrated_threshold(distances)).mean()
    assert covered == pytest.approx(0.9)


def test_support_distance_by_hand():
    support = hcr.Support(np.array([0.0, 1.0]), np.array([2.0, 1.0]), np.array([1.0, 0.5]))
    values = np.array([[3.0, 1.0], [1.0, 2.0], [1.0, 1.0]])
    np.testing.assert_allclose(hcr.support_distance(values, support), [0.25, 1.0, 0.0])
    assert hcr.inside(values, support).all(axis=1).tolist() == [False, False, True]


def test_turn_dynamics_say_why_they_are_null():
    assert tdm.summarize(tdm.embed_turns([], [], [], []))["reason"] == "no multi-turn rows"
    few = tdm.embed_turns(["a b"] * 3, ["c d"] * 3, ["e"] * 3, ["b"] * 3)
    assert "20 rows" in tdm.summarize(few)["reason"]
    wordless = tdm.embed_turns(["?"] * 20, ["!"] * 20, ["."] * 20, ["b"] * 20)
    assert "no words" in tdm.summarize(wordless)["reason"]


def test_turn_dynamics_of_the_human_answers_are_perfect():
    rng = np.random.default_rng(1)
    words = np.array(["sun", "moon", "tree", "lake", "bird", "song", "wind", "rain"])
    questions, answers = ([" ".join(rng.choice(words, 6)) for _ in range(30)] for _ in range(2))
    turns = tdm.embed_turns(questions, answers, answers, ["b"] * 30)
    assert tdm.summarize(turns)["overall_macro"] == pytest.approx(1)
    other = tdm.embed_turns(questions, answers, ["sun"] * 30, ["b"] * 30)
    assert tdm.summarize(other)["overall_macro"] < 0.8


def test_one_bucket_has_a_frontier_but_no_index():
    found = nuf.frontiers({"b": 0.5}, {"b": 1.0}, {"b": 0.1}, None, {})
    assert found["core"]["frontier_auc"] is None
    assert "two buckets" in found["core"]["reason"]
    assert found["overall"]["hypervolume"] == pytest.approx(0.25)
    assert found["multi_turn"]["hypervolume"] is None


def test_frontier_without_naturalness_says_so():
    found = nuf.frontiers({"b": 0.5, "c": 0.1}, {}, {}, None, {})
    assert found["overall"]["hypervolume"] is None
    assert found["overall"]["reason"]


def test_aggregate_needs_two_components_and_lists_them():
    alone = aggregate(0.5, None, None, None)
    assert (alone["overall"], alone["component_count"]) == (None, 1)
    assert aggregate(0.5, 1.0, None, None)["overall"] == pytest.approx(0.5)
    assert aggregate(0.0, 1.0, 0.3, 0.2)["overall"] == 0
