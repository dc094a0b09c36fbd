"""Answers held to a JSON schema: on real tiny models of each family, and as servers are asked for them."""

import json

import jsonschema
import numpy as np
import pytest
from answering_server import answer_to, answering
from model_families import FAMILIES, save_model, tokenizer_of

from polyalign.errors import BadInput
from polyalign.inference.constrained import Grammars
from polyalign.inference.decoding import Decoding
from polyalign.inference.engine import EngineSettings, Request, request_seed
from polyalign.inference.openai_engine import open_openai_engine
from polyalign.inference.transformers_engine import TransformersEngine
from polyalign.prompts import stop_token_ids

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"fine": {"type": "boolean"}, "score": {"type": "integer", "enum": [1, 2, 3, 4, 5]}},
        "required": ["fine", "score"],
        "additionalProperties": False,
    }
)
SAMPLED = Decoding(temperature=1.0, top_p=1)


def requests_of(count: int, limit: int = 60, free: bool = True) -> list[Request]:
    """Random prompts; every third row is free text."""
    random = np.random.default_rng(0)
    return [
        Request(
            index,
            random.integers(20, 390, int(random.integers(3, 30))).tolist(),
            limit,
            request_seed(3, index),
            schema="" if free and index % 3 == 0 else SCHEMA,
        )
        for index in range(count)
    ]


def engine_of(folder, family, **settings) -> TransformersEngine:
    values = EngineSettings(dtype="float32", device="cpu", **settings)
    tokenizer = tokenizer_of(family)
    return TransformersEngine(folder, tokenizer, SAMPLED, values, stop_token_ids(tokenizer, "plain"))


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_hold_to_the_schema_and_belong_to_their_rows(family, tmp_path):
    folder = save_model(tmp_path, family)
    requests = requests_of(12)
    together = {done.source_index: done for done in engine_of(folder, family).generate(requests)}
    for request in requests:
        done = together[request.source_index]
        if request.schema:
            jsonschema.validate(json.loads(done.text), json.loads(SCHEMA))
            assert " " not in done.text
            assert done.finish_reason == "stop"
        else:
            with pytest.raises(json.JSONDecodeError):
                json.loads(done.text)
    assert len({done.text for done in together.values() if done.text.startswith("{")}) > 2
    alone = {done.source_index: done for done in engine_of(folder, family, batch_tokens=1).generate(requests)}
    assert together == alone


def test_an_answer_without_room_ends_at_its_limit(tmp_path):
    folder = save_model(tmp_path, "tiny")
    for done in engine_of(folder, "tiny").generate(requests_of(3, limit=4, free=False)):
        assert (done.finish_reason, done.completion_tokens) == ("length", 4)


def test_a_schema_that_nothing_holds_to_is_refused():
    grammars = Grammars(tokenizer_of("tiny"), 400)
    with pytest.raises(BadInput, match="cannot be held to"):
        grammars.matcher(json.dumps({"type": "no such type"}))


@pytest.mark.parametrize("format", ["token_ids", "chat"])
def test_a_server_is_asked_for_the_schema(tmp_path, format):
    folder = save_model(tmp_path, "tiny")
    tokenizer = tokenizer_of("tiny")

    def reply(path, body, number):
        if "prompt" in body:
            return 200, answer_to(body)
        choice = {"index": 0, "message": {"role": "assistant", "content": "{}"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
        return 200, {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }

    request = Request(
        0, [5, 6, 7], 20, 1, text="x", messages=[{"role": "user", "content": "x"}], schema=SCHEMA
    )
    with answering(reply) as (url, asked):
        settings = EngineSettings.model_validate(
            {"engine": "openai", "dtype": "float32", "openai": {"base_url": url, "prompt": format}}
        )
        stops = stop_token_ids(tokenizer, "plain")
        with open_openai_engine(folder, tokenizer, "plain", SAMPLED, settings, stops) as engine:
            list(engine.generate([request]))
            list(engine.generate([Request(1, [5, 6], 20, 1, text="x", messages=request.messages)]))
    held, free = asked.bodies
    assert held["response_format"]["json_schema"]["schema"] == json.loads(SCHEMA)
    assert held["response_format"]["type"] == "json_schema"
    assert "response_format" not in free
    assert ("stop_token_ids" in held) == (format == "token_ids")
