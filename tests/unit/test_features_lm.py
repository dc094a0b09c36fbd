"""Language-model features: batching, truncation and start tokens, against plain one-by-one scoring."""

import math

import numpy as np
import pytest
import torch
from model_families import record_of, save_model

from polyalign.errors import BadInput
from polyalign.features import lm_batches
from polyalign.features.frozen_decoder import rounded_up
from polyalign.features.lm import LM_NAMES, score_lm_features, score_with
from polyalign.features.lm_batches import distinct, make_batches, make_sequences
from polyalign.features.packed_linear import can_pack, pack_linears
from polyalign.features.scorer import load_scorer, scorer_digest
from polyalign.files import read_json, write_json
from polyalign.model_folders import load_weights
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


def one_by_one(scorer, model, prefix: str, answer: str) -> list[float]:
    """Log-probabilities of the answer's tokens, from a model as Transformers loads it, one sequence at a time."""
    start = [] if scorer.start_id is None else [scorer.start_id]
    ids = [
        scorer.tokenizer(normalize_text(text), add_special_tokens=False)["input_ids"]
        for text in (prefix, answer)
    ]
    sequence = torch.tensor([start + ids[0] + ids[1]])
    with torch.inference_mode():
        logprobs = model(input_ids=sequence).logits[0].float().log_softmax(-1)
    first = len(start) + len(ids[0])
    return [logprobs[at - 1, sequence[0, at]].item() for at in range(max(1, first), sequence.shape[1])]


def test_batches_give_what_single_sequences_give(model_dir):
    scorer = load_scorer(model_dir, max_length=4096)
    model = load_weights("AutoModelForCausalLM", model_dir, dtype=torch.float32).eval()
    matrix = score_with(scorer, RECORDS, ANSWERS, batch_tokens=200)
    for row, (record, answer) in enumerate(zip(RECORDS, ANSWERS, strict=True)):
        for kind, prefix in (("unconditional", ""), ("conditional", condition_prefix(record))):
            if not answer:
                assert column(matrix, f"lm_{kind}_available")[row] == 0
                continue
            expected = one_by_one(scorer, model, prefix, answer)
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


def _dialogue(turns: int) -> list[dict]:
    """Records of one dialogue: each prompt begins with the one before it."""
    story = "The old red barn stood behind the house, and nobody had opened its doors for years. " * 3
    history = [{"role": role, "text": f"turn {n}"} for n in range(turns) for role in ("user", "assistant")]
    return [
        RECORD | {"context": story, "dialogue_history": history[: 2 * turn], "question": f"and {turn}?"}
        for turn in range(turns)
    ]


def test_common_beginnings_are_run_once_and_change_nothing(model_dir, monkeypatch):
    scorer = load_scorer(model_dir, max_length=4096, threads=2)
    records = [*_dialogue(5), RECORD, *_dialogue(3), LONG]
    answers = [
        "It did.",
        "No",
        "It did.",
        "a barn, red and old",
        "No",
        "Why not?",
        "It did.",
        "x y z",
        "No",
        "so",
    ]
    sequences = list(make_sequences(scorer, 0, [condition_prefix(record) for record in records], answers))
    batches = make_batches([group[0] for group in distinct(sequences).values()], 8192)
    whole = sum(text.length for text in sequences)
    run = sum(batch.shared * len(batch.beginnings) for batch in batches)
    run += sum(text.length - batch.shared for batch in batches for text in batch.texts)
    assert run < 0.6 * whole
    shared = score_with(scorer, records, answers, batch_tokens=8192)
    monkeypatch.setattr(lm_batches, "LEAST_SHARED", 10**6)
    np.testing.assert_allclose(shared, score_with(scorer, records, answers), rtol=1e-4, atol=1e-4)


def test_every_sequence_is_batched_once_whatever_the_room(model_dir):
    scorer = load_scorer(model_dir, max_length=4096)
    records = _dialogue(6) * 3
    answers = [f"answer {number} of them" for number in range(len(records))]
    sequences = list(make_sequences(scorer, 0, [condition_prefix(record) for record in records], answers))
    for room in (1, 300, 2000, 10**6):
        batches = make_batches(sequences, room)
        assert sorted(id(text) for batch in batches for text in batch.texts) == sorted(map(id, sequences))
        for batch in batches:
            widest = rounded_up(max(text.length for text in batch.texts))
            assert batch.shared or len(batch.texts) == 1 or widest * len(batch.texts) <= room
            starts = [len(text.prefix) for text in batch.texts]
            assert starts == sorted(starts)
            for text, group in zip(batch.texts, batch.group, strict=True):
                assert tuple(text.tokens[: batch.shared]) == batch.beginnings[group]
                assert batch.shared < len(text.prefix)


def test_the_digest_says_what_decides_the_scores(tmp_path):
    folder = save_model(tmp_path / "one")
    first = scorer_digest(folder)
    (folder / "chat_template.jinja").write_text("another")
    config = read_json(folder / "config.json")
    write_json(folder / "config.json", config | {"transformers_version": "9", "dtype": "bfloat16"})
    assert scorer_digest(folder) == first
    write_json(folder / "config.json", config | {"rms_norm_eps": 0.1})
    assert scorer_digest(folder) != first
    write_json(folder / "config.json", config)
    tokenizer = read_json(folder / "tokenizer_config.json")
    write_json(folder / "tokenizer_config.json", tokenizer | {"bos_token": "x", "eos_token": "y"})
    assert scorer_digest(folder) != first
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadInput, match="no safetensors weights"):
        scorer_digest(folder)


def test_packed_layers_give_the_same_products():
    plain = torch.nn.Linear(48, 80)
    if not can_pack():
        pytest.skip("this build of PyTorch has no oneDNN")
    states = torch.randn(3, 7, 48)
    model = torch.nn.Sequential(plain)
    with torch.inference_mode():
        expected = model(states)
        assert pack_linears(model, 21) == 1
        torch.testing.assert_close(model(states), expected)


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
