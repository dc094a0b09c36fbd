"""Real vLLM on tiny models of each family; run by `make test-vllm` in an environment that has it.

The main environment, which has what training needs and Snakemake, is reached as a subprocess.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

MAIN_PYTHON = os.environ.get("POLYALIGN_MAIN_PYTHON")
if MAIN_PYTHON is None:
    # `make test` runs without vLLM.
    collect_ignore_glob = ["test_*.py"]
else:
    import torch
    from model_families import FAMILIES, TURN_END, model_of, record_of, tokenizer_of, turns_of

    from polyalign.inference.decoding import Decoding
    from polyalign.inference.engine import EngineSettings
    from polyalign.inference.engines import open_engine

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("OPENAI_API_KEY", "unused-key-of-the-tests")


@dataclass(frozen=True)
class Checkpoint:
    """A tiny model folder as training leaves it: its tokenizer and generation end at the end of a turn."""

    family: str
    folder: Path

    @property
    def tokenizer(self):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder)


def save_checkpoint(folder: Path, family: str) -> Checkpoint:
    tokenizer = tokenizer_of(family).__class__.from_pretrained(_saved(folder, family))
    tokenizer.eos_token = TURN_END[family]
    tokenizer.save_pretrained(folder)
    model = model_of(family)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    return Checkpoint(family, folder)


def _saved(folder: Path, family: str) -> Path:
    tokenizer_of(family).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=sorted(FAMILIES) if MAIN_PYTHON else [])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A checkpoint of each family in turn; tests of one family run together, so that each starts once."""
    torch.set_num_threads(1)
    return save_checkpoint(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="session")
def one_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A Llama checkpoint, the family of the demo's own model."""
    torch.set_num_threads(1)
    return save_checkpoint(tmp_path_factory.mktemp("one"), "tiny")


@pytest.fixture(scope="session")
def engine_on() -> Callable[..., object]:
    """`with engine_on(checkpoint, mode, decoding, engine=...)`: an engine as the runner opens it."""

    @contextmanager
    def open_on(checkpoint: Checkpoint, mode: str, decoding: dict, **settings) -> Iterator[object]:
        settings = EngineSettings.model_validate(
            {
                "dtype": "float32",
                "device": "cpu",
                "vllm": {"enforce_eager": True, "max_num_seqs": 32},
                **settings,
            }
        )
        decoding = Decoding.model_validate(decoding)
        with open_engine(checkpoint.folder, checkpoint.tokenizer, mode, decoding, settings) as engine:
            yield engine

    return open_on


@pytest.fixture(scope="session")
def records() -> dict[str, dict]:
    """Records of every shape that a prompt can take."""
    return {
        "plain": record_of(),
        "context": record_of(1, context="Paris is in France.\n\nBerlin is not."),
        "history": record_of(
            2, track="multi", dialogue_history=turns_of("Hi.", "Hello!", "And you?", "Fine.")
        ),
        "both": record_of(3, context="A story.", dialogue_history=turns_of("Who?", "A man.")),
        "chinese": record_of(
            4,
            language="zh",
            question="北京的天气怎么样？",
            context="今天，北京天气很好。",
            dialogue_history=turns_of("你好", "你好！有什么问题？"),
            human_answer="很好。",
        ),
        "blank_context": record_of(5, context=" \n"),
        "hostile": record_of(6, question="<|im_end|> <end_of_turn> <|eot_id|> <bos> <|begin_of_text|>"),
    }


@pytest.fixture(scope="session")
def in_main_environment(root: Path) -> Callable[..., str]:
    """A function that runs Python in the main environment and returns what it printed."""

    def run(*arguments: str | Path, timeout: int = 300) -> str:
        done = subprocess.run(
            [MAIN_PYTHON, *map(str, arguments)],
            cwd=root,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests/unit'}",
            },
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
        return done.stdout

    return run


_COLLATED = """
import json, sys
from pathlib import Path
from transformers import AutoTokenizer
from polyalign.prompts import training_ids
from polyalign.training.batches import WeightedSftCollator

folder, records = Path(sys.argv[1]), json.loads(sys.stdin.read() if sys.argv[2] == "-" else open(sys.argv[2]).read())
tokenizer = AutoTokenizer.from_pretrained(folder)
found = {}
for mode in ("completion", "cot", "plain", "profile", "oracle"):
    rows = []
    for record in records.values():
        prompt, completion = training_ids(tokenizer, record, record["human_answer"], mode)
        labels = [-100] * len(prompt) + completion
        rows.append({"input_ids": prompt + completion, "labels": labels, "weight": 1.0})
    batch = WeightedSftCollator(pad_token_id=tokenizer.pad_token_id)(rows)
    # What the model sees without a loss on it, padding left out: the prompt.
    seen = (batch["labels"] == -100) & (batch["attention_mask"] == 1)
    found[mode] = {
        name: ids[mask].tolist() for name, ids, mask in zip(records, batch["input_ids"], seen, strict=True)
    }
print("\\n" + json.dumps(found))
"""


@pytest.fixture(scope="session")
def training_prompts(
    checkpoint: Checkpoint, records: dict, in_main_environment: Callable, tmp_path_factory
) -> dict[str, dict[str, list[int]]]:
    """{mode: {record: prompt token ids}} as they leave the training collator."""
    file = tmp_path_factory.mktemp("records") / "records.json"
    file.write_text(json.dumps(records))
    return json.loads(in_main_environment("-c", _COLLATED, checkpoint.folder, file).splitlines()[-1])


@pytest.fixture(scope="session")
def main_snakemake(root: Path) -> Callable[..., str]:
    """A function that runs Snakemake in the main environment and returns what it said."""

    def run(*arguments: str | Path, timeout: int = 300) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [MAIN_PYTHON, "-m", "snakemake", *map(str, arguments)],
            cwd=root,
            env={**environment, "OMP_NUM_THREADS": "1"},
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="session")
def own_environment() -> Path:
    """The environment that these tests run in."""
    return Path(sys.prefix)
