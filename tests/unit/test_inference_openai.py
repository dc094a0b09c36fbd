"""The openai engine when a server fails, refuses, or reads something else; and no row asked twice or lost."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from answering_server import answer_to, answering
from model_families import record_of, save_model, tokenizer_of
from test_inference_runner import run, write_records

from polyalign.errors import BadInput, BadInputs, PolyAlignError
from polyalign.inference.decoding import Decoding
from polyalign.inference.engine import Completion, EngineSettings, Failure, Request
from polyalign.inference.engines import open_engine
from polyalign.inference.openai_engine import GIVE_UP_AFTER
from polyalign.inference.server import serve_model

GREEDY = {"temperature": 0, "top_p": 1}
KEY = "sk-a-secret-key"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"), "llama3.2")


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    # The client's pauses between attempts are made for the internet.
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


def opened(folder, url, mode="plain", decoding=GREEDY, **options):
    options = {"base_url": url, "retries": 2, "timeout": 5, **options}
    settings = EngineSettings.model_validate({"engine": "openai", "openai": options})
    decoding = Decoding.model_validate(decoding)
    return open_engine(folder, tokenizer_of("llama3.2"), mode, decoding, settings)


def requests_of(count):
    return [Request(index, [5, 6, 100 + index], 4, index, (), f"text {index}") for index in range(count)]


def answers(engine, requests):
    return {done.source_index: done for done in engine.generate(requests)}


def test_answers_come_back_by_row_with_bounded_concurrency(model):
    with answering(seconds=0.02) as (url, asked), opened(model, url, concurrency=3) as engine:
        found = answers(engine, requests_of(30))
    assert found == {i: Completion(i, f"said {100 + i}", "stop", 3, 2) for i in range(30)}
    assert asked.most_at_once == 3
    assert asked.keys == {f"Bearer {KEY}"}
    body = asked.bodies[-1]
    assert (body["temperature"], body["max_tokens"], body["ignore_eos"], body["top_k"]) == (0, 4, True, 0)
    assert "seed" not in body


@pytest.mark.parametrize("status", [429, 500, 0])
def test_a_passing_fault_is_tried_again(model, status):
    def fail_once(path, body, number):
        return (status, {"error": {"message": "later"}}) if number == 1 else None

    with answering(fail_once) as (url, asked), opened(model, url, prompt="token_ids") as engine:
        found = answers(engine, requests_of(5))
    assert all(isinstance(done, Completion) for done in found.values())
    assert set(asked.prompts.values()) == {2}


def test_a_server_that_hangs_is_given_up_after_the_timeout(model):
    with (
        answering(seconds=0.6) as (url, _),
        opened(model, url, prompt="token_ids", timeout=0.1, retries=1) as engine,
    ):
        (done,) = answers(engine, requests_of(1)).values()
    assert isinstance(done, Failure)
    assert "APITimeoutError" in done.reason


def test_a_row_that_fails_is_named_and_asked_again_alone(model, tmp_path):
    source = write_records(tmp_path / "test.parquet", [record_of(index) for index in range(8)])
    bad = []

    def refuse(path, body, number):
        if body["max_tokens"] > 1 and bad and body["prompt"] == bad[0]:
            return 400, {"error": {"message": f"no, {KEY}"}}
        return None

    with answering(refuse) as (url, asked):
        first = run(source, model, tmp_path, "all.jsonl", engine="openai", openai={"base_url": url})
        bad.append(json.loads(list(asked.prompts)[5]))
        asked.prompts.clear()
        with pytest.raises(BadInputs) as error:
            run(source, model, tmp_path, engine="openai", openai={"base_url": url})
        lines = str(error.value).splitlines()
        assert len(lines) == 1
        assert "no answer: BadRequestError" in lines[0]
        assert "id row-" in lines[0]
        assert KEY not in lines[0]
        assert not (tmp_path / "test.jsonl").exists()
        (name,), bad[:] = [json.dumps(bad[0])], []
        asked.prompts.clear()
        _, rows = run(source, model, tmp_path, engine="openai", openai={"base_url": url})
        assert set(asked.prompts) == {name}
    assert rows == first[1]


def test_a_server_that_refuses_everything_is_not_asked_for_every_row(model, tmp_path):
    def refuse(path, body, number):
        return 400, {"error": {"message": "out of order"}}

    with answering(refuse) as (url, asked), opened(model, url, prompt="token_ids", concurrency=1) as engine:
        found = answers(engine, requests_of(GIVE_UP_AFTER + 30))
        later = answers(engine, requests_of(3))
    assert len(found) == GIVE_UP_AFTER + 30
    assert all(isinstance(done, Failure) for done in [*found.values(), *later.values()])
    assert len(asked.bodies) <= GIVE_UP_AFTER + 1
    assert "not asked" in found[GIVE_UP_AFTER + 20].reason
    assert "out of order" in later[0].reason


def test_prompts_go_as_text_where_ids_are_refused_and_must_be_read_as_meant(model):
    def text_only(path, body, number):
        if not isinstance(body["prompt"], str):
            return 422, {"error": {"message": "prompt must be a string"}}
        return 200, answer_to({"prompt": [0] * (4 if body["prompt"] == "text 1" else 3)})

    with answering(text_only) as (url, asked), opened(model, url) as engine:
        found = answers(engine, requests_of(3))
        assert engine.describe()["prompt"] == "text"
    assert found[1] == Failure(1, "the server read 4 prompt tokens, 3 were meant")
    assert isinstance(found[0], Completion)
    assert isinstance(found[2], Completion)
    assert "stop_token_ids" not in asked.bodies[-1]


def test_a_server_without_any_way_in_says_what_each_was_refused_for(model):
    def refuse(path, body, number):
        return 404, {"error": {"message": f"no {path}"}}

    with (
        answering(refuse) as (url, _),
        opened(model, url) as engine,
        pytest.raises(
            PolyAlignError, match=r"token_ids: NotFoundError.*text: .*chat: .*no /v1/chat/completions"
        ),
    ):
        answers(engine, requests_of(1))


def test_plain_text_is_never_asked_as_chat_and_a_penalty_never_dropped(model):
    with answering() as (url, _):
        with (
            opened(model, url, "completion", prompt="chat") as engine,
            pytest.raises(BadInput, match="plain text"),
        ):
            answers(engine, requests_of(1))
        with (
            opened(model, url, prompt="text", decoding={**GREEDY, "repetition_penalty": 1.1}) as engine,
            pytest.raises(BadInput, match="no repetition penalty"),
        ):
            answers(engine, requests_of(1))


def test_which_model_is_meant_must_be_clear(model):
    with answering(models=("a", "b")) as (url, _):
        with pytest.raises(BadInput, match=r"2 models.*one of a, b"), opened(model, url):
            pass
        with opened(model, url, model="b") as engine:
            assert engine.describe()["model"] == "b"


def test_a_server_without_a_list_is_asked_for_the_model_by_name(model):
    with answering(models=()) as (url, asked):
        with (
            pytest.raises(PolyAlignError, match="does not list its models: NotFoundError"),
            opened(model, url),
        ):
            pass
        with opened(model, url, model="mine") as engine:
            assert isinstance(answers(engine, requests_of(1))[0], Completion)
    assert asked.bodies[-1]["model"] == "mine"


def test_a_server_that_is_not_there_is_told_without_the_key(model):
    with (
        pytest.raises(PolyAlignError, match="does not list its models") as error,
        opened(model, "http://127.0.0.1:9/v1", retries=0),
    ):
        pass
    assert KEY not in str(error.value)


def test_credentials_do_not_stand_in_settings(model):
    with pytest.raises(ValueError, match="no credentials in a URL"):
        EngineSettings.model_validate({"openai": {"base_url": "http://me:secret@host/v1"}})


def test_without_a_server_the_fix_is_told(model, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(BadInput, match="OPENAI_BASE_URL"), opened(model, None):
        pass


def test_a_served_model_that_does_not_start_is_told(model, monkeypatch):
    monkeypatch.setattr(
        "polyalign.inference.server._COMMANDS",
        {"vllm": lambda *_: [sys.executable, "-c", "raise SystemExit(3)"]},
    )
    settings = EngineSettings.model_validate({"openai": {"serve": "vllm"}})
    with pytest.raises(PolyAlignError, match="ended with exit code 3"), serve_model(model, settings):
        pass


KILLED = """
import sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from test_inference_runner import run
folder = Path(sys.argv[4])
run(folder / "test.parquet", Path(sys.argv[3]), folder, engine="openai", shard=(int(sys.argv[5]), 2),
    openai={"base_url": sys.argv[6], "concurrency": 4})
"""


def test_after_a_kill_no_answered_row_is_asked_again_and_none_is_lost(model, tmp_path, root, caplog):
    """SIGKILL in the middle of a shard: what had been answered is kept; only what was under way is asked again."""
    source = write_records(tmp_path / "test.parquet", [record_of(index) for index in range(60)])
    with answering(seconds=0.05) as (url, asked):
        arguments = [str(root), str(root / "tests/unit"), str(model), str(tmp_path), "2", url]
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, *arguments], env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        folder = tmp_path / "work/en_sft_tiny"
        while not (parts := list(folder.glob("inference_test_2-of-2_*.jsonl"))) or lines_of(parts[0]) < 8:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = lines_of(parts[0])
        assert 8 <= kept < 30
        with caplog.at_level(logging.INFO):
            _, rows = run(
                source,
                model,
                tmp_path,
                engine="openai",
                shard=(2, 2),
                openai={"base_url": url, "concurrency": 4},
            )
    assert f"going on after {kept} of 30 rows" in caplog.text
    assert [row["source_index"] for row in rows] == list(range(1, 60, 2))
    assert len(asked.prompts) == 30
    # A format is looked for at the start of both runs, by asking the first waiting row for one token.
    real = [body for body in asked.bodies if body["max_tokens"] > 1]
    assert 30 <= len(real) <= 30 + 4
    assert KEY not in caplog.text
    assert KEY not in "".join(file.read_text() for file in Path(tmp_path).rglob("*.jsonl"))


def lines_of(path):
    return path.read_bytes().count(b"\n")
