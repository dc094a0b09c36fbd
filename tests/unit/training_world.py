"""A tiny random Llama, its tokenizer and a few records and pairs: what the training tests run on."""

import csv
import os
import signal
from pathlib import Path

import pyarrow as pa
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from polyalign.critic.bundle import Critic, save_critic
from polyalign.critic.model import BucketVocabulary, CriticHead, Encoder
from polyalign.critic.recipe import read_recipe
from polyalign.files import read_table, write_table
from polyalign.prompts import load_chat_template
from polyalign.records import RecordWriter, make_record
from polyalign.training.recipe import resolve_recipe
from polyalign.training.state import StateCallback

BOS, EOS, PAD, TURN, END = "<|bos|>", "<|eos|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
ANSWERS = (
    "yes it is a cat",
    "no the dog sat there for a long while and then left",
    "a red house by the sea",
    "ok",
)


def make_records(rows):
    """Short records in three buckets of unequal size."""
    return [
        make_record(
            id=f"toy-{number}",
            dataset="toy",
            split="train",
            language="en",
            track="single",
            family=("qa", "qa", "qa", "assistant", "dialogue")[number % 5],
            style_bucket="qa_search",
            question=f"is {number} a cat or a dog?",
            context="the cat sat" if number % 2 else "",
            human_answer=ANSWERS[number % len(ANSWERS)],
            meta={"source_dataset": "toy"},
        )
        for number in range(rows)
    ]


def make_model(folder, texts, hidden=64):
    """Save a random 2-layer Llama with a byte-level tokenizer and the tiny chat template."""
    base = Tokenizer(models.BPE())
    base.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    base.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[PAD, BOS, EOS, TURN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    base.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=base,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        chat_template=load_chat_template("tiny"),
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=hidden // 32,
        num_key_value_heads=1,
        head_dim=32,
        tie_word_embeddings=True,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_world(folder: Path, rows=40, hidden=64):
    """Write model, records and scored pairs under `folder`; returns it."""
    records = make_records(rows)
    texts = [record["question"] + " " + record["human_answer"] for record in records]
    make_model(folder / "base", texts, hidden)
    with RecordWriter(folder / "train.parquet") as writer:
        for record in records:
            writer.write(record)
    with RecordWriter(folder / "val.parquet") as writer:
        for record in records[:8]:
            writer.write(record)
    columns = {
        "source_index": list(range(rows)),
        "id": [record["id"] for record in records],
        "bucket_id": [record["bucket_id"] for record in records],
        "chosen": [record["human_answer"] for record in records],
        "rejected": [ANSWERS[(number + 1) % len(ANSWERS)] for number in range(rows)],
        "chosen_dist_score": [0.1 + 0.01 * number for number in range(rows)],
        "rejected_dist_score": [0.9 - 0.01 * number for number in range(rows)],
        "hdpo_weight": [0.5 + (number % 4) for number in range(rows)],
    }
    write_table(folder / "pairs.parquet", pa.table(columns))
    return folder


def recipe(name, **overrides):
    """A recipe for runs of a few steps."""
    small = {
        "global_batch_size": 8,
        "micro_batch_size": 2,
        "learning_rate": 1e-3,
        "max_steps": 4,
        "log_every": 1,
        "save_every": 2,
    }
    return resolve_recipe(name, {**small, **overrides})


def arguments(world, out, **overrides):
    """Arguments that every entry function shares."""
    return {
        "init_dir": world / "base",
        "out_dir": out / "checkpoint",
        "work_root": out / "work",
        "cell": "en_toy_tiny",
        "seed": 1,
        "max_length": 192,
        "code": "test",
        **overrides,
    }


def untrained_critic(world):
    """Write a critic bundle with random weights: it scores, which is all that training asks of it."""
    settings = read_recipe({"encoder": {"max_length": 64}})
    encoder = Encoder(world / "base", settings.encoder)
    vocabulary = BucketVocabulary(read_table(world / "pairs.parquet", ["bucket_id"])["bucket_id"].to_pylist())
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        head = CriticHead(
            encoder.dim, len(vocabulary), settings.bucket_dim, settings.hidden_dim, settings.dropout
        )
    save_critic(world / "critic", Critic(encoder, head, vocabulary, settings), [{"epoch": 1}], {})
    return world / "critic"


def tables(world, pairs="pairs.parquet"):
    """Pairs and records of the train split, as preference training takes them."""
    return {"pairs": {"train": world / pairs}, "records": {"train": world / "train.parquet"}}


def weights(out):
    """The weights of the checkpoint that a run under `out` wrote."""
    return load_file(out / "checkpoint" / "model.safetensors")


def equal(a, b):
    """Whether two sets of weights are the same bits."""
    return all(torch.equal(a[name], b[name]) for name in a)


def close(a, b):
    """Whether two sets of weights agree but for rounding."""
    return all(torch.allclose(a[name], b[name], atol=2e-5) for name in a)


def history(out):
    """Rows of the training log that a run under `out` wrote."""
    with open(out / "checkpoint" / "training_log.csv", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def terminate_at(monkeypatch, step):
    """Send SIGTERM to this process during that optimizer step of the next training run."""
    real = StateCallback.on_step_end

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, args, state, control, **kwargs)

    monkeypatch.setattr(StateCallback, "on_step_end", on_step_end)
