"""Tiny models trained for a moment in place of the detectors' and judges' real ones, where none of these can be had.

They show that every part runs; how well they detect or judge says nothing about detectors or judges. A small causal
model stands beside the base model built here, a RoBERTa classifier learns to tell human answers from samples of that
base model, and a T5 learns to fill masked words; all three take the base model's tokenizer. A judge learns to grade by
rule. See docs/detection.md and docs/judge.md.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

from polyalign.detection.classifier import HUMAN, MACHINE
from polyalign.detection.perturbation import SENTINEL, choose_spans, masked_text, units_of
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_directory
from polyalign.judge.stand_in import graded_examples, judge_tokenizer
from polyalign.model_folders import load_tokenizer, load_weights
from polyalign.records import read_records
from polyalign.tiny_model import sample_texts

MOST_TEXTS = 4000
HEAD_SIZE = 16
SENTINELS = 100
POSITIONS = 512
IGNORED = -100
Batches = Iterator[dict[str, torch.Tensor]]


def build_stand_ins(
    records: StrPath,
    out_dir: StrPath,
    stand_ins: Mapping[str, Mapping[str, Any]],
    bases: Mapping[str, StrPath],
    seed: int,
) -> dict[str, Any]:
    """Train stand-ins and save each to a folder of its name.

    Args:
        records: train records of one language.
        out_dir: replaced as a whole.
        stand_ins: {key: values of `polyalign.detection.settings.StandIn`}.
        bases: {key of the base model: its folder}.
        seed: of weights, samples and batches.

    Returns:
        {key: kind, parameters, loss of the last step}, for the manifest.
    """
    texts = sample_texts([records], seed)[:MOST_TEXTS]
    read = list(islice(read_records(records), MOST_TEXTS))
    answers = [record["human_answer"] for record in read]
    if not texts:
        raise BadInput("no texts to learn from", file=records, expected="at least one record")
    details = {}
    with atomic_directory(out_dir) as folder:
        for key, values in stand_ins.items():
            set_seed(seed)
            tokenizer = load_tokenizer(bases[values["like"]])
            kind = values["kind"]
            if kind == "causal":
                model, batches = _causal(tokenizer, texts, values, seed)
            elif kind == "judge":
                tokenizer = judge_tokenizer(texts, tokenizer)
                model, batches = _judge(tokenizer, read, values, seed)
            elif kind == "classifier":
                model, batches = _classifier(tokenizer, answers, values, seed, bases[values["like"]])
            else:
                model, batches = _filler(tokenizer, texts, values, seed)
            loss = _train(model, batches, values)
            model.save_pretrained(folder / key)
            tokenizer.save_pretrained(folder / key)
            details[key] = {"kind": kind, "parameters": model.num_parameters(), "final_loss": round(loss, 4)}
    return details


def _train(model: Any, batches: Batches, values: Mapping[str, Any]) -> float:
    """A plain loop of `steps` AdamW steps; returns the last loss."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=values["learning_rate"])
    loss = torch.tensor(0.0)
    for _ in range(values["steps"]):
        batch = {name: part.to(device) for name, part in next(batches).items()}
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.cpu().eval()
    return loss.item()


def _drawn(pool: Sequence[Any], values: Mapping[str, Any], seed: int) -> Iterator[list[Any]]:
    """Endless batches drawn from a pool."""
    rng = random.Random(seed)
    while True:
        yield rng.choices(pool, k=values["batch_size"])


def _padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Rows of ids [n, longest], filled with `value` on the right."""
    out = torch.full((len(rows), max(map(len, rows))), value)
    for place, row in enumerate(rows):
        out[place, : len(row)] = torch.tensor(row)
    return out


def _heads(values: Mapping[str, Any]) -> int:
    if values["hidden_size"] % HEAD_SIZE:
        raise BadInput(
            f"{values['hidden_size']}",
            field="hidden_size",
            expected=f"a multiple of {HEAD_SIZE} in a stand-in",
        )
    return values["hidden_size"] // HEAD_SIZE


def _llama(tokenizer: Any, values: Mapping[str, Any]) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=values["hidden_size"],
            intermediate_size=3 * values["hidden_size"],
            num_hidden_layers=values["layers"],
            num_attention_heads=_heads(values),
            num_key_value_heads=_heads(values),
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _causal(
    tokenizer: Any, texts: Sequence[str], values: Mapping[str, Any], seed: int
) -> tuple[Any, Batches]:
    """A Llama, and batches of texts one after another."""
    stream = [token for ids in _encode(tokenizer, texts) for token in [*ids, tokenizer.eos_token_id]]
    length = values["sequence_length"]
    blocks = [stream[at : at + length] for at in range(0, max(1, len(stream) - length), length)]

    def batches() -> Batches:
        for rows in _drawn(blocks, values, seed):
            ids = _padded(rows, tokenizer.pad_token_id)
            yield {"input_ids": ids, "labels": ids}

    return _llama(tokenizer, values), batches()


def _judge(
    tokenizer: Any, records: Sequence[Mapping[str, Any]], values: Mapping[str, Any], seed: int
) -> tuple[Any, Batches]:
    """A Llama, and batches of graded answers; only the grades are learned."""
    examples = graded_examples(tokenizer, records, values["sequence_length"], seed)

    def batches() -> Batches:
        while True:
            pairs = list(islice(examples, values["batch_size"]))
            ids = _padded([[*prompt, *reply] for prompt, reply in pairs], tokenizer.pad_token_id)
            labels = _padded([[IGNORED] * len(prompt) + reply for prompt, reply in pairs], IGNORED)
            # Padding stands at the end, where no token that counts sees it.
            yield {"input_ids": ids, "labels": labels}

    return _llama(tokenizer, values), batches()


def _encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]


def _classifier(
    tokenizer: Any, answers: Sequence[str], values: Mapping[str, Any], seed: int, base: StrPath
) -> tuple[Any, Batches]:
    """A RoBERTa with two classes, and batches of answers and samples of equal lengths."""
    model = RobertaForSequenceClassification(
        RobertaConfig(
            vocab_size=len(tokenizer),
            hidden_size=values["hidden_size"],
            intermediate_size=2 * values["hidden_size"],
            num_hidden_layers=values["layers"],
            num_attention_heads=_heads(values),
            max_position_embeddings=POSITIONS + tokenizer.pad_token_id + 1,
            type_vocab_size=1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            num_labels=2,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    length = values["sequence_length"]
    human = [ids[:length] for ids in _encode(tokenizer, answers) if len(ids) > 1]
    samples = _samples(load_weights("AutoModelForCausalLM", base), tokenizer, length)
    rng = random.Random(seed)
    # As long as an answer each, or the length would give the sample away.
    machine = [sample[: len(rng.choice(human))] for sample in samples]

    def batches() -> Batches:
        pairs = zip(_drawn(human, values, seed), _drawn(machine, values, seed + 1), strict=True)
        for people, machines in pairs:
            half = max(1, values["batch_size"] // 2)
            rows = people[:half] + machines[:half]
            ids = _padded(rows, tokenizer.pad_token_id)
            labels = torch.tensor([HUMAN] * half + [MACHINE] * half)
            mask = _padded([[1] * len(row) for row in rows], 0)
            yield {"input_ids": ids, "attention_mask": mask, "labels": labels}

    return model, batches()


@torch.inference_mode()
def _samples(base: Any, tokenizer: Any, length: int, count: int = 128) -> list[list[int]]:
    """Token ids [count] that a base model draws after its start token, special ones left out."""
    start = torch.full((count, 1), tokenizer.bos_token_id)
    drawn = base.generate(
        input_ids=start,
        attention_mask=torch.ones_like(start),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=length,
        pad_token_id=tokenizer.pad_token_id,
    )
    special = set(tokenizer.all_special_ids)
    kept = [[token for token in row if token not in special] for row in drawn.tolist()]
    return [row for row in kept if len(row) > 1]


def _filler(
    tokenizer: Any, texts: Sequence[str], values: Mapping[str, Any], seed: int
) -> tuple[Any, Batches]:
    """A T5, and batches of masked texts with what was masked; adds the sentinels to the tokenizer."""
    tokenizer.add_tokens([SENTINEL.format(number) for number in range(SENTINELS)], special_tokens=True)
    tokenizer.model_max_length = POSITIONS
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=values["hidden_size"],
            d_kv=HEAD_SIZE,
            d_ff=2 * values["hidden_size"],
            num_layers=values["layers"],
            num_heads=_heads(values),
            dropout_rate=0.0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    )
    cut = [units_of(text)[: values["sequence_length"] // 2] for text in texts]
    pool = [units for units in cut if len(units) > 3]
    end = tokenizer.eos_token_id
    example = _masker(random.Random(seed))

    def batches() -> Batches:
        for rows in _drawn(pool, values, seed):
            sources, targets = zip(*(example(units) for units in rows), strict=True)
            ids = _padded([[*row, end] for row in _encode(tokenizer, sources)], tokenizer.pad_token_id)
            mask = (ids != tokenizer.pad_token_id).long()
            labels = _padded([[*row, end] for row in _encode(tokenizer, targets)], IGNORED)
            yield {"input_ids": ids, "attention_mask": mask, "labels": labels}

    return model, batches()


def _masker(rng: random.Random) -> Callable[[Sequence[str]], tuple[str, str]]:
    """A function from units to (masked text, sentinels with what they stand for)."""

    def example(units: Sequence[str]) -> tuple[str, str]:
        spans = choose_spans(len(units), rng, share=0.15, span=2, buffer=1, most=SENTINELS - 1)
        fills = ["".join(units[start:end]).strip() for start, end in spans]
        target = "".join(SENTINEL.format(number) + fill for number, fill in enumerate(fills))
        return masked_text(units, spans), target + SENTINEL.format(len(spans))

    return example


def stand_in_folder(manifest: StrPath, key: str) -> Path:
    """Where a stand-in lies, by the manifest of all that were built together."""
    return Path(manifest).parent / key
