"""Language-model features: batching, truncation and start tokens, against plain one-by-one scoring."""

import math

import numpy as np
import pytest
import torch
from model_families import record_of, save_model

from polyalign.errors import BadInput
from polyalign.features.lm import LM_NAMES, load_scorer, score_lm_features, score_with
from polyalign.prompts import condition_prefix
from polyalign.records import normalize_text

FAMILIES = ("gemma2", "llama3.2", "qwen2.5")
RECORD = record_of(question="Where is it?", context="", dialogue_history=[])
LONG = {**RECORD, "context": "A long story about a red barn. " * 12}
RECORDS = [RECORD, LONG, RECORD, LONG, RECORD]
ANSWERS = ["In the barn.", "It is in the old red barn near the road. " * 3, "", "No", "a"]


@pytest.fixture(scope="module", params=FAMILIES)
def model_dir(request, tmp_path_factory):
    return save_model(tmp_path_factory.mktemp(request.param.replace(".", "_")), request.param)


def column(matrix: np.ndarray, name: str) -> np.ndarray:
    return matrix[:, LM_NAMES.index(name)]


def one_by_one(scorer, prefix: str, answer: str) -> list[float]:
    """Log-probabilities of the answer's tokens, from the whole model and one sequence at a time."""
    start = [] if scorer.start_id is None else [scorer.start_id]
    ids = [
        scorer.tokenizer(normalize_text(text), add_special_tokens=False)["input_ids"]
        for text in (prefix, answer)
    ]
    sequence = torch.tensor([start + ids[0] + ids[1]])
    with torch.inference_mode():
        logprobs = scorer.model(input_ids=sequence).logits[0].float().log_softmax(-1)
    first = len(start) + len(ids[0])
    return [logprobs[at - 1, sequence[0, at]].item() for at in range(max(1, first), sequence.shape[1])]


def test_batches_give_what_single_sequences_give(model_dir):
    scorer = load_scorer(model_dir, max_length=4096)
    matrix = score_with(scorer, RECORDS, ANSWERS, batch_tokens=200)
    for row, (record, answer) in enumerate(zip(RECORDS, ANSWERS, strict=True)):
        for kind, prefix in (("unconditional", ""), ("conditional", condition_prefix(record))):
            if not answer:
                assert column(matrix, f"lm_{kind}_available")[row] == 0
                continue
            expected = one_by_one(scorer, prefix, answer)
            total = column(matrix, f"lm_{kind}_logprob_sum")[row]
            assert total == pytest.approx(sum(expected), rel=1e-4)
            assert column(matrix, f"lm_{kind}_surprisal_max")[row] == pytest.approx(-min(expected), rel=1e-4)
            assert column(matrix, f"lm_{kind}_scored_token_count")[row] == len(expected)
            perplexity = math.exp(-sum(expected) / len(expected))
            assert column(matrix, f"lm_{kind}_perplexity")[row] == pytest.approx(perplexity, rel=1e-3)
    gain = column(matrix, "lm_conditional_logprob_sum") - column(matrix, "lm_unconditional_logprob_sum")
    np.testing.assert_allclose(column(matrix, "lm_conditional_logprob_gain"), gain, atol=2e-6)


def test_the_batch_size_changes_nothing(model_dir):
    scorer = load_scorer(model_dir, max_length=4096)
    single, whole = (score_with(scorer, RECORDS, ANSWERS, batch_tokens=size) for size in (1, 100_000))
    np.testing.assert_allclose(single, whole, rtol=1e-4, atol=1e-4)


def test_truncation_takes_the_prompt_first_and_then_the_answers_end_or_start(model_dir):
    answer = ANSWERS[1]
    ours, published = (
        load_scorer(model_dir, max_length=24, truncation=rule) for rule in ("prompt_first", "published")
    )
    tokens = ours.tokenizer(normalize_text(answer), add_special_tokens=False)["input_ids"]
    room = 24 - (ours.start_id is not None)
    assert len(tokens) > room
    for scorer, kept in ((ours, tokens[:room]), (published, tokens[-room:])):
        matrix = score_with(scorer, [LONG, RECORD], [answer, "No"])
        assert column(matrix, "lm_conditional_answer_token_count")[0] == room
        assert column(matrix, "lm_conditional_prefix_token_count")[0] == 0
        assert column(matrix, "lm_conditional_lm_answer_tokens_dropped")[0] == len(tokens) - room
        assert column(matrix, "lm_conditional_lm_truncated").tolist() == [1, 1]
        assert column(matrix, "lm_unconditional_lm_truncated").tolist() == [1, 0]
        start = [] if scorer.start_id is None else [scorer.start_id]
        with torch.inference_mode():
            logits = scorer.model(input_ids=torch.tensor([start + kept])).logits[0].float()
        expected = torch.nn.functional.cross_entropy(
            logits[:-1], torch.tensor((start + kept)[1:]), reduction="sum"
        )
        assert column(matrix, "lm_unconditional_nll_sum")[0] == pytest.approx(expected.item(), rel=1e-4)


def test_without_a_start_token_the_first_answer_token_is_not_scored(model_dir):
    from dataclasses import replace

    scorer = replace(load_scorer(model_dir, max_length=4096), start_id=None)
    matrix = score_with(scorer, [RECORD, RECORD], ["In the barn.", "a"])
    tokens = column(matrix, "lm_unconditional_answer_token_count")
    assert column(matrix, "lm_unconditional_scored_token_count").tolist() == [tokens[0] - 1, 0]
    # One token with nothing before it cannot be scored at all.
    assert column(matrix, "lm_unconditional_available").tolist() == [1, 0]
    assert column(matrix, "lm_conditional_score_coverage").tolist() == [1, 1]
    assert column(matrix, "lm_conditional_perplexity_ratio")[1] == 0


def test_the_models_own_limit_counts(tmp_path):
    folder = save_model(tmp_path)
    scorer = load_scorer(folder, max_length=10**6)
    assert scorer.max_length == scorer.model.config.max_position_embeddings
    assert f"max_length {scorer.max_length}" in scorer.describe()


def test_half_precision_stays_close_and_is_stated(tmp_path):
    folder = save_model(tmp_path)
    full = score_lm_features(folder, RECORDS, ANSWERS, max_length=512)
    half = score_lm_features(folder, RECORDS, ANSWERS, max_length=512, dtype="bfloat16")
    np.testing.assert_allclose(
        column(full, "lm_conditional_nll_mean"), column(half, "lm_conditional_nll_mean"), rtol=0.02
    )
    assert "bfloat16" in load_scorer(folder, max_length=512, dtype="bfloat16").describe()


def test_mistakes_are_named(tmp_path):
    with pytest.raises(BadInput, match="no model to score with"):
        load_scorer(tmp_path, max_length=16)
    folder = save_model(tmp_path / "model")
    for setting in ({"truncation": "left"}, {"dtype": "int8"}, {"max_length": 1}):
        with pytest.raises(BadInput, match=str(next(iter(setting.values())))):
            load_scorer(folder, **{"max_length": 16, **setting})
    with pytest.raises(BadInput, match="2 answers for 1 records"):
        score_lm_features(folder, [RECORD], ["a", "b"], max_length=16)
