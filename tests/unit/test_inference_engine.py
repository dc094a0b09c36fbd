"""The transformers engine on real (tiny, random) models: it must agree with generate(), and with itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from model_families import model_of, save_model, tokenizer_of

from polyalign.errors import BadInput, PolyAlignError
from polyalign.inference.decoding import Decoding
from polyalign.inference.engine import EngineSettings, Request, request_seed, token_budget_batches
from polyalign.inference.sampling import choose_tokens, penalize, row_uniforms
from polyalign.inference.transformers_engine import TransformersEngine

ARCHITECTURES = ("qwen2.5", "gemma2", "llama3.2")
GREEDY = Decoding(temperature=0, top_p=1)
SAMPLED = Decoding(temperature=0.9, top_p=0.9)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: save_model(tmp_path_factory.mktemp(name), name) for name in ARCHITECTURES}


def requests_of(count, limit=12, seed=3, stop=()):
    """Prompts of 3 to 40 random ordinary tokens, with limits that differ by row."""
    random = np.random.default_rng(0)
    return [
        Request(
            index,
            random.integers(20, 390, int(random.integers(3, 40))).tolist(),
            limit + index % 3,
            request_seed(seed, index),
            stop,
        )
        for index in range(count)
    ]


def engine_of(folder, family="qwen2.5", decoding=GREEDY, stops=(), **settings):
    settings = EngineSettings(dtype="float32", device="cpu", **settings)
    return TransformersEngine(folder, tokenizer_of(family), decoding, settings, stops)


def answers(engine, requests):
    return {done.source_index: done for done in engine.generate(requests)}


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_greedy_answers_are_those_of_generate(folders, family):
    engine = engine_of(folders[family], family)
    requests = requests_of(12)
    found = answers(engine, requests)
    model, tokenizer = model_of(family), tokenizer_of(family)
    for request in requests:
        ids = torch.tensor([request.prompt_ids])
        with torch.no_grad():
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=request.max_new_tokens,
                do_sample=False,
                eos_token_id=[],
                pad_token_id=0,
            )
        text = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip()
        done = found[request.source_index]
        assert done.text == text
        assert done.finish_reason == "length"
        assert (done.prompt_tokens, done.completion_tokens) == (ids.shape[1], request.max_new_tokens)


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_an_answer_does_not_depend_on_the_rows_beside_it(folders, family):
    decoding = SAMPLED.model_copy(update={"repetition_penalty": 1.2, "frequency_penalty": 0.3})
    requests = requests_of(20)
    # Stopping tokens that random models do emit, so that rows leave the batch at different steps.
    stops = range(20, 60)
    alone = answers(engine_of(folders[family], family, decoding, stops, batch_tokens=1), requests)
    together = answers(engine_of(folders[family], family, decoding, stops), requests)
    shuffled = answers(engine_of(folders[family], family, decoding, stops, batch_tokens=200), requests[::-1])
    assert alone == together == shuffled
    assert {done.finish_reason for done in alone.values()} == {"stop", "length"}
    assert len({done.text for done in alone.values()}) > 10


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_a_long_common_start_is_read_once_and_changes_nothing(folders, family, monkeypatch):
    start = np.random.default_rng(1).integers(20, 390, 150).tolist()
    requests = [replace(request, prompt_ids=[*start, *request.prompt_ids]) for request in requests_of(12)]
    engine = engine_of(folders[family], family, SAMPLED)
    shapes, forward = [], engine.model.forward

    def noted(**arguments):
        shapes.append(tuple(arguments["input_ids"].shape))
        return forward(**arguments)

    monkeypatch.setattr(engine.model, "forward", noted)
    together = answers(engine, requests)
    # A window that forgets what lies far back cannot have padding in between.
    longest = max(len(request.prompt_ids) for request in requests)
    assert shapes[:1] == ([(12, longest)] if family == "gemma2" else [(1, 150)])
    assert together == answers(engine_of(folders[family], family, SAMPLED, batch_tokens=1), requests)
    assert len({done.text for done in together.values()}) > 6


def test_another_seed_gives_other_answers(folders):
    engine = engine_of(folders["qwen2.5"], decoding=SAMPLED)
    first, second = (answers(engine, requests_of(6, seed=seed)) for seed in (1, 2))
    assert all(first[index].text != second[index].text for index in first)


def test_a_stop_string_ends_the_answer_where_it_begins(folders):
    plain = answers(engine_of(folders["qwen2.5"]), requests_of(8))
    text = plain[5].text
    stop = text[3:6]
    cut = answers(engine_of(folders["qwen2.5"]), requests_of(8, stop=(stop, "never there")))
    assert cut[5].finish_reason == "stop"
    assert cut[5].text == text[: text.find(stop)].strip()
    assert cut[5].completion_tokens < plain[5].completion_tokens
    assert all(stop not in done.text for done in cut.values())


def test_an_ending_token_is_counted_but_not_shown(folders):
    engine = engine_of(folders["qwen2.5"])
    request = requests_of(1)[0]
    done = answers(engine, [request])[0]
    first = tokenizer_of("qwen2.5")(done.text, add_special_tokens=False)["input_ids"][0]
    stopped = answers(engine_of(folders["qwen2.5"], stops=range(400)), [request])[0]
    assert first < 400
    assert (stopped.text, stopped.finish_reason, stopped.completion_tokens) == ("", "stop", 1)


def test_prompts_that_do_not_fit_are_refused(folders):
    engine = engine_of(folders["qwen2.5"], max_length=10)
    assert engine.max_length == 10
    for prompt in ([], [1] * 10):
        with pytest.raises(BadInput, match="1 to 9 tokens"):
            list(engine.generate([Request(0, prompt, 4, 0)]))


def test_logits_that_are_not_numbers_are_an_error(folders):
    engine = engine_of(folders["qwen2.5"])
    with torch.no_grad():
        engine.model.get_output_embeddings().weight[7] = float("nan")
    with pytest.raises(PolyAlignError, match="not numbers for source_index 0, 1"):
        list(engine.generate(requests_of(2)))


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(BadInput, match="no model here"):
        engine_of(tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(folders):
    settings = EngineSettings(device="cuda")
    with pytest.raises(BadInput, match="no GPU"):
        TransformersEngine(folders["qwen2.5"], tokenizer_of("qwen2.5"), GREEDY, settings, [])


def test_batches_keep_to_the_budget_and_hold_each_request_once():
    requests = [*requests_of(50), Request(50, [1] * 500, 10, 0)]
    batches = list(token_budget_batches(requests, 300))
    assert sorted(request.source_index for batch in batches for request in batch) == list(range(51))
    assert [request.source_index for request in batches[0]] == [50]
    for batch in batches[1:]:
        width = max(len(request.prompt_ids) for request in batch)
        assert len(batch) * (width + max(request.max_new_tokens for request in batch)) <= 300
    assert len(batches) < 20


def test_sampling_follows_the_distribution():
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().repeat(20_000, 1)
    uniforms = torch.rand(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def shares(**settings):
        chosen = choose_tokens(logits, uniforms, Decoding(**settings))
        return (torch.bincount(chosen, minlength=4) / 20_000).tolist()

    assert shares(temperature=1, top_p=1) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.01)
    # The nucleus of 0.8 is the first two tokens, which hold exactly that; the third would be one too many.
    assert shares(temperature=1, top_p=0.79) == pytest.approx([0.625, 0.375, 0, 0], abs=0.01)
    squared = np.array([0.25, 0.09, 0.0225, 0.0025])
    assert shares(temperature=0.5, top_p=1) == pytest.approx(squared / squared.sum(), abs=0.01)
    assert shares(temperature=0) == [1, 0, 0, 0]


def test_a_nucleus_wider_than_the_guess_is_found_by_a_full_sort():
    size = 1000
    decoding = Decoding(temperature=1, top_p=0.5)
    logits = torch.linspace(0, -1, size).repeat(4000, 1)
    uniforms = torch.linspace(0, 0.9999, 4000, dtype=torch.float64)
    chosen = choose_tokens(logits, uniforms, decoding)
    probabilities = torch.softmax(logits[0].double(), dim=-1)
    nucleus = int((probabilities.cumsum(0) - probabilities < 0.5).sum())
    assert nucleus > 256
    assert (int(chosen.min()), int(chosen.max())) == (0, nucleus - 1)
    # A peaked row beside flat ones is cut as it is alone.
    peaked = torch.full((1, size), -9.0)
    peaked[0, 3] = 9.0
    mixed = choose_tokens(torch.cat([peaked, logits[:9]]), uniforms[-10:], decoding)
    assert mixed[0] == choose_tokens(peaked, uniforms[-10:-9], decoding)[0] == 3


def test_the_largest_random_number_chooses_a_token_that_is_possible():
    logits = torch.tensor([[0.0, 1.0, -torch.inf, -torch.inf]])
    largest = torch.tensor([1 - 2**-53], dtype=torch.float64)
    assert choose_tokens(logits, largest, Decoding(temperature=1, top_p=1)).tolist() == [1]


def test_penalties_change_only_the_tokens_they_are_for():
    logits = torch.tensor([[2.0, -2.0, 2.0, -2.0]])
    seen = torch.tensor([[True, True, False, False]])
    counts = torch.tensor([[2.0, 0.0, 0.0, 1.0]])
    decoding = Decoding(repetition_penalty=2, frequency_penalty=0.5)
    assert penalize(logits, seen, counts, decoding).tolist() == [[0.0, -4.0, 2.0, -2.5]]
    assert penalize(logits, None, None, decoding) is logits


def test_the_numbers_of_a_row_do_not_depend_on_its_limit():
    assert row_uniforms(5, 20)[:7].tolist() == row_uniforms(5, 7).tolist()
    assert len({request_seed(seed, index) for seed in range(10) for index in range(100)}) == 1000
