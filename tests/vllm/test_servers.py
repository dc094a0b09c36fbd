"""Replicas, and a second server with the OpenAI API that shares no code with vLLM."""

import pytest

from polyalign.inference.engine import Request, request_seed
from polyalign.prompts import prompt_ids, render_prompt, safe_messages

pytestmark = pytest.mark.vllm

GREEDY = {"temperature": 0, "top_p": 1}


def requests_of(checkpoint, records, mode, limit=16):
    tokenizer = checkpoint.tokenizer
    return [
        Request(
            index,
            prompt_ids(tokenizer, record, mode),
            limit,
            request_seed(1, index),
            (),
            render_prompt(tokenizer, record, mode),
            safe_messages(tokenizer, record, mode),
        )
        for index, record in enumerate(records.values())
    ]


def answers(engine, requests):
    return {done.source_index: done for done in engine.generate(requests)}


@pytest.fixture(scope="module")
def expected(one_checkpoint, records, engine_on):
    with engine_on(one_checkpoint, "profile", GREEDY) as engine:
        return answers(engine, requests_of(one_checkpoint, records, "profile"))


def test_replicas_share_the_rows_of_a_job(one_checkpoint, records, engine_on, expected):
    vllm = {"enforce_eager": True, "max_num_seqs": 8, "data_parallel": 2}
    with engine_on(one_checkpoint, "profile", GREEDY, engine="vllm", vllm=vllm) as engine:
        assert answers(engine, requests_of(one_checkpoint, records, "profile")) == expected


@pytest.mark.parametrize("prompt", ["auto", "chat"])
def test_the_server_of_transformers_answers_the_same(one_checkpoint, records, engine_on, expected, prompt):
    settings = {"serve": "transformers", "prompt": prompt, "concurrency": 2}
    with engine_on(one_checkpoint, "profile", GREEDY, engine="openai", openai=settings) as engine:
        found = answers(engine, requests_of(one_checkpoint, records, "profile"))
        # It refuses token ids, so `auto` means text.
        assert engine.describe()["prompt"] == ("text" if prompt == "auto" else "chat")
    for index, done in found.items():
        wanted = expected[index]
        assert (done.text, done.prompt_tokens) == (wanted.text, wanted.prompt_tokens)
