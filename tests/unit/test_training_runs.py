"""Real training of a tiny model: weights, every term, distributed equality, and going on after a kill."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from datasets import Dataset
from training_world import (
    arguments,
    close,
    equal,
    history,
    make_world,
    recipe,
    tables,
    untrained_critic,
    weights,
)
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from polyalign.errors import BadInput
from polyalign.files import read_table, write_json, write_table
from polyalign.training import state
from polyalign.training.run import Job, trainer_arguments
from polyalign.training.run_hdpo import train_hdpo
from polyalign.training.run_preference import train_preference
from polyalign.training.run_sft import train_sft


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def critic(world):
    return untrained_critic(world)


def run_hdpo(world, out, pairs="pairs.parquet", **changes):
    settings = {"online": {"mode": "off"}, "max_steps": 2, "learning_rate": 1e-3, **changes}
    out.mkdir(exist_ok=True)
    chosen = recipe("hdpo", **settings)
    train_hdpo(**tables(world, pairs), critic_dir=None, recipe=chosen, **arguments(world, out))
    return weights(out)


def test_weights_count_over_the_global_batch_and_cancel_as_published(world, tmp_path):
    table = read_table(world / "pairs.parquet")
    flat = table.drop_columns("hdpo_weight").append_column("hdpo_weight", [[1.0] * table.num_rows])
    write_table(world / "flat.parquet", flat)
    ours = run_hdpo(world, tmp_path / "ours", micro_batch_size=1)
    assert close(ours, run_hdpo(world, tmp_path / "large", micro_batch_size=8))
    assert not close(ours, run_hdpo(world, tmp_path / "flat", "flat.parquet", micro_batch_size=1))
    micro = {"weight_normalization": "micro", "micro_batch_size": 1}
    published = run_hdpo(world, tmp_path / "micro", **micro)
    assert equal(published, run_hdpo(world, tmp_path / "micro_flat", "flat.parquet", **micro))
    assert not close(published, ours)


def test_bucket_weights_cancel_as_published_too(world, tmp_path):
    table = read_table(world / "train.parquet")
    one_bucket = table.drop_columns("bucket_id").append_column("bucket_id", [["one"] * table.num_rows])
    write_table(world / "one_bucket.parquet", one_bucket)

    def run_bucketsft(name, split, **changes):
        chosen = recipe("bucketsft", micro_batch_size=1, max_steps=2, **changes)
        train_sft(train=world / split, val=None, recipe=chosen, **arguments(world, tmp_path / name))
        return weights(tmp_path / name)

    published = run_bucketsft("published", "train.parquet", weight_normalization="micro")
    assert equal(published, run_bucketsft("flat", "one_bucket.parquet", weight_normalization="micro"))
    assert not close(published, run_bucketsft("ours", "train.parquet"))


def test_dpo_follows_trl(world, tmp_path):
    """Without weights and further terms, the loss is TRL's own at every step."""
    chosen = recipe("dpo", max_steps=4)
    details = train_preference(**tables(world), recipe=chosen, **arguments(world, tmp_path))
    assert details["rows"]["train"]["rows"] == 40
    ours = [float(row["loss"]) for row in history(tmp_path)]
    tokenizer = AutoTokenizer.from_pretrained(world / "base")
    job = Job("cell", str(world / "base"), str(tmp_path / "trl"), chosen, 192, 1)

    class OnTokens(DPOTrainer):
        def _prepare_dataset(self, dataset, *args):
            return dataset

    rows = tokenized_pairs(world, tokenizer, chosen)
    trainer = OnTokens(
        model=AutoModelForCausalLM.from_pretrained(world / "base"),
        args=DPOConfig(**trainer_arguments(job), beta=0.1, precompute_ref_log_probs=True),
        data_collator=DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.train()
    theirs = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert ours == pytest.approx(theirs, abs=1e-6)


def tokenized_pairs(world, tokenizer, settings):
    from polyalign.training import data
    from polyalign.training.recipe import parse_recipe

    rows = data.preference_rows(
        world / "pairs.parquet",
        world / "train.parquet",
        tokenizer,
        parse_recipe(settings),
        data.RowCounts(),
        sorted(set(read_table(world / "pairs.parquet")["bucket_id"].to_pylist())),
        max_length=192,
        draw=None,
        seed=1,
    )
    return list(rows)


def test_bucketsft_checkpoint_is_whole_and_two_processes_agree(world, tmp_path):
    both = {"train": world / "train.parquet", "val": world / "val.parquet", "recipe": recipe("bucketsft")}
    one = train_sft(**both, **arguments(world, tmp_path / "one"))
    two = train_sft(**both, **arguments(world, tmp_path / "two"), processes=2)
    assert (one["accumulation_steps"], two["accumulation_steps"]) == (4, 2)
    # Devices take other rows in other micro batches; the global batch and so the step are the same.
    assert close(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert one["final"] == pytest.approx(two["final"], abs=1e-4)
    folder = tmp_path / "one" / "checkpoint"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    base = AutoTokenizer.from_pretrained(world / "base")
    assert tokenizer.chat_template == base.chat_template == (folder / "chat_template.jinja").read_text()
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert (folder / "loss_curve.png").stat().st_size > 5000
    assert not list((tmp_path / "one" / "work").iterdir()), "state of a finished run is removed"
    losses = [float(row["loss"]) for row in history(tmp_path / "one")]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("mode", ["report", "score_function"])
def test_hdpo_logs_every_term(world, critic, tmp_path, mode):
    online = {"mode": mode, "every": 2, "max_new_tokens": 8, "weight": 0.5}
    details = train_hdpo(
        pairs={"train": world / "pairs.parquet", "val": world / "pairs.parquet"},
        records={"train": world / "train.parquet", "val": world / "train.parquet"},
        critic_dir=critic,
        recipe=recipe("hdpo", online=online, eval_rows=8),
        **arguments(world, tmp_path),
    )
    rows = history(tmp_path)
    for name in ("loss/preference", "loss/regularizer", "loss/chosen_nll", "weight/mean", "rewards/margins"):
        assert all(row[name] for row in rows), name
    assert rows[-1]["eval_loss/regularizer"]
    with_online = [row for row in rows if row["loss/online"]]
    assert [row["step"] for row in with_online] == ["1", "3"]
    for row in with_online:
        terms = [float(row[f"loss/{name}"]) for name in ("preference", "regularizer", "chosen_nll", "online")]
        total = sum(factor * term for factor, term in zip((1, 0.1, 0.05, 0.5), terms, strict=True))
        assert float(row["loss"]) == pytest.approx(total, abs=1e-5)
        if mode == "report":
            assert terms[3] == pytest.approx(float(row["online/score"]), abs=1e-6)
    assert details["rows"]["val"]["rows"] == 8
    assert details["prompt_mode"] == "profile"


CHILD = """
import json, logging, sys
from pathlib import Path
from polyalign.training.run_hdpo import train_hdpo
logging.basicConfig(level=logging.INFO)
given = json.loads(sys.argv[1])
train_hdpo(**given)
"""


def long_run(world, critic, out):
    online = {"mode": "score_function", "every": 3, "max_new_tokens": 8, "weight": 0.5}
    settings = recipe("hdpo", online=online, max_steps=40, save_every=4, log_every=2, epochs=8)
    given = {**tables(world), "critic_dir": critic, "recipe": settings, **arguments(world, out)}
    return json.loads(json.dumps(given, default=str))


def started(given, root):
    """The run in a process of its own, just after it saved a resumable state."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(given)],
        cwd=root,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    said = []
    for line in child.stderr:
        said.append(line)
        if "state saved" in line:
            return child
    raise AssertionError("".join(said))


def terminate_after_save(first):
    """Send SIGTERM to this process, once training listens for it and has saved a state after `first`."""
    while True:
        newest = max(first.parent.glob("checkpoint-*"), key=state.checkpoint_step)
        if newest != first and isinstance(
            getattr(signal.getsignal(signal.SIGTERM), "__self__", None), state.StateCallback
        ):
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(0.005)


def test_killed_and_terminated_runs_end_bit_identical(world, critic, tmp_path, root, caplog):
    unbroken = long_run(world, critic, tmp_path / "unbroken")
    train_hdpo(**unbroken)
    broken = long_run(world, critic, tmp_path / "broken")
    child = started(broken, root)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not Path(broken["out_dir"]).exists()
    (data,) = Path(broken["work_root"]).glob("*/*/data")
    prepared = {file.name: file.stat().st_mtime_ns for file in data.iterdir()}
    assert any(name.startswith("cache-") for name in prepared), "reference log-probabilities are kept"
    # Terminated, it saves the step it is at and says how to go on.
    first = max(Path(broken["work_root"]).glob("*/*/checkpoints/*"), key=state.checkpoint_step)
    watcher = threading.Thread(target=terminate_after_save, args=(first,))
    watcher.start()
    with pytest.raises(state.Interrupted, match="run the same command again") as stopped:
        train_hdpo(**broken)
    assert stopped.value.exit_code == 75
    watcher.join()
    # Neither rows nor reference log-probabilities were computed a second time.
    assert prepared == {file.name: file.stat().st_mtime_ns for file in data.iterdir()}
    caplog.set_level(logging.INFO)
    train_hdpo(**broken)
    assert any("going on from" in line for line in caplog.messages)
    assert equal(weights(tmp_path / "unbroken"), weights(tmp_path / "broken"))
    losses = [[row["loss"] for row in history(tmp_path / name)] for name in ("unbroken", "broken")]
    assert losses[0][-3:] == losses[1][-3:]


def test_a_run_that_failed_after_its_last_step_trains_no_further(world, tmp_path):
    given = {"train": world / "train.parquet", "val": None, "recipe": recipe("bucketsft")}
    train_sft(**given, **arguments(world, tmp_path / "unbroken"))
    (tmp_path / "file").write_text("no folder can be made here")
    blocked = arguments(world, tmp_path / "broken", out_dir=tmp_path / "file" / "checkpoint")
    with pytest.raises((FileExistsError, NotADirectoryError)):
        train_sft(**given, **blocked)
    details = train_sft(**given, **arguments(world, tmp_path / "broken"))
    assert (details["steps"], details["launched"]) == (4, "an earlier try")
    assert equal(weights(tmp_path / "unbroken"), weights(tmp_path / "broken"))


def test_another_recipe_starts_clean_and_says_what_changed(tmp_path, world, caplog):
    caplog.set_level(logging.INFO)
    common = {
        "data": {"train": world / "train.parquet"},
        "init_dir": world / "base",
        "max_length": 192,
        "seed": 1,
        "precision": "float32",
        "code": "a",
    }
    first = state.open_state(tmp_path, "cell", state.fingerprint(**common, recipe={"learning_rate": 1}))
    again = state.open_state(tmp_path, "cell", state.fingerprint(**common, recipe={"learning_rate": 1}))
    assert first == again
    assert not caplog.messages
    other = state.fingerprint(**{**common, "code": "b"}, recipe={"learning_rate": 2})
    assert state.open_state(tmp_path, "cell", other) != first
    assert "(changed: recipe.learning_rate, code): starting clean" in caplog.messages[0]


def test_half_written_checkpoint_is_not_read(tmp_path):
    for step in (2, 10, 12):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if step < 12:
            write_json(tmp_path / f"checkpoint-{step}" / state.MARKER, {"step": step})
    assert state.latest_checkpoint(tmp_path).name == "checkpoint-10"
    assert not (tmp_path / "checkpoint-12").exists()


def test_model_shorter_than_max_length_is_refused(world, tmp_path):
    given = arguments(world, tmp_path, max_length=4096)
    with pytest.raises(BadInput, match="expected at most 256"):
        train_sft(train=world / "train.parquet", val=None, recipe=recipe("sft"), **given)
