"""A tiny base model made here: a byte-level BPE tokenizer and a small Llama trained on a language's own texts.

It stands in for a hub model where none can be had, on any corpora. It is a base model: it has read the texts, one
after another and without chat markup, so it writes fluently, does not answer, and ends where it happens to.
See docs/demo.md.
"""

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import Any

from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_directory, sha256_file
from polyalign.prompts import condition_prefix, profile_system_prompt
from polyalign.records import read_records

BOS, EOS, PAD, TURN, END = "<|bos|>", "<|eos|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (PAD, BOS, EOS, TURN, END)
ROLES = ("system", "user", "assistant")
BYTES = 256
MAX_TEXTS = 400_000
"""More texts than this are sampled down: a tiny model has no use for them."""
TEXTS_A_DOCUMENT = 12
"""Unrelated texts that follow each other before an end-of-text token."""
MAX_POSITIONS = 4096
WEIGHT_DECAY = 0.1
WARM_UP = 0.05
LONGEST_TOKEN = 16
"""Characters of the longest vocabulary entry: whole Chinese clauses must not become tokens."""


def build_tiny_model(
    records_files: Sequence[StrPath],
    out_dir: StrPath,
    *,
    settings: Mapping[str, Any],
    chat_template: str,
    seed: int,
) -> dict[str, Any]:
    """Train tokenizer and model and save both as a `transformers` model folder (safetensors).

    Args:
        records_files: train-split records of one language, Parquet or JSONL.
        out_dir: replaced as a whole when the model is done.
        settings: sizes and pretraining, the keys of `polyalign.base_models.TinyModel`.
        chat_template: Jinja text saved with the tokenizer.
        seed: of the weights, the order of the texts and the batches; equal seeds give equal files on one machine.

    Returns:
        Counts, final training loss (nats a token) and the SHA-256 of every file, for the manifest.

    Raises:
        BadInput: sizes do not fit each other, or the texts fill no batch.
    """
    check_sizes(settings)
    texts = sample_texts(records_files, seed)
    if not texts:
        raise BadInput("no texts to learn from", file=records_files[0], expected="at least one record")
    tokenizer = train_tokenizer(_tokenizer_texts(records_files, texts), settings["vocab_size"], chat_template)
    blocks = pack_texts(tokenizer, texts, settings["sequence_length"], seed)
    if len(blocks) < settings["batch_size"]:
        raise BadInput(
            f"the texts fill {len(blocks)} sequences of {settings['sequence_length']} tokens",
            expected=f"at least one batch of {settings['batch_size']}",
            fix="use more records, or a smaller batch_size or sequence_length in models.<name>.build",
        )
    model = make_model(tokenizer, settings, seed)
    with atomic_directory(out_dir) as folder, TemporaryDirectory() as scratch:
        loss = pretrain(model, blocks, settings, seed, scratch)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        files = {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.is_file()}
    return {
        "parameters": model.num_parameters(),
        "vocabulary": len(tokenizer),
        "texts": len(texts),
        "tokens": sum(map(len, blocks)),
        "steps": settings["pretrain_steps"],
        "final_loss": loss,
        "files": files,
    }


def check_sizes(settings: Mapping[str, Any]) -> None:
    """Raise `BadInput` unless heads divide the hidden size, key-value heads the heads, and bytes fit the vocabulary."""
    hidden, heads, kv_heads = settings["hidden_size"], settings["heads"], settings["kv_heads"]
    if hidden % heads or (hidden // heads) % 2:
        raise BadInput(f"{heads} heads do not divide hidden_size {hidden} into even parts", field="heads")
    if heads % kv_heads:
        raise BadInput(f"{kv_heads} key-value heads do not divide {heads} heads", field="kv_heads")
    if settings["vocab_size"] <= BYTES + len(SPECIAL_TOKENS):
        raise BadInput(
            f"a vocabulary of {settings['vocab_size']} leaves no room beside bytes and special tokens",
            field="vocab_size",
            expected=f"more than {BYTES + len(SPECIAL_TOKENS)}",
        )


def record_texts(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Contexts, questions and answers as separate texts; a context shared by consecutive records comes once."""
    context = ""
    for record in records:
        if record["context"] != context:
            context = record["context"]
            yield context
        yield record["question"]
        yield record["human_answer"]


def sample_texts(records_files: Sequence[StrPath], seed: int) -> list[str]:
    """The non-empty texts of all records in a seeded order, at most `MAX_TEXTS` of them."""
    rng = random.Random(seed)
    texts: list[str] = []
    seen = 0
    for path in records_files:
        for text in filter(None, record_texts(read_records(path))):
            seen += 1
            if len(texts) < MAX_TEXTS:
                texts.append(text)
            elif (place := rng.randrange(seen)) < MAX_TEXTS:
                texts[place] = text
    rng.shuffle(texts)
    return texts


def _tokenizer_texts(records_files: Sequence[StrPath], texts: list[str]) -> Iterator[str]:
    """The texts, and the fixed words of every prompt: without them these would fall into single bytes."""
    yield from texts
    for path in records_files:
        for record in read_records(path):
            yield profile_system_prompt(record)
            yield condition_prefix({**record, "context": "", "question": "", "dialogue_history": []})
            yield from (f"{role}\n" for role in ROLES)


def train_tokenizer(texts: Iterable[str], vocab_size: int, chat_template: str) -> Any:
    """A byte-level BPE tokenizer with `SPECIAL_TOKENS` first; numbers are split into digits."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=LONGEST_TOKEN,
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        extra_special_tokens=[TURN, END],
        chat_template=chat_template,
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def pack_texts(tokenizer: Any, texts: Sequence[str], length: int, seed: int) -> list[list[int]]:
    """Token blocks of exactly `length`: documents of a BOS, several texts and an EOS, cut without padding.

    The remainder of fewer than `length` tokens is left out.
    """
    rng = random.Random(seed)
    blocks: list[list[int]] = []
    stream: list[int] = []
    start = 0
    while start < len(texts):
        count = rng.randint(1, 2 * TEXTS_A_DOCUMENT - 1)
        document = "\n\n".join(texts[start : start + count])
        start += count
        stream += [
            tokenizer.bos_token_id,
            *tokenizer(document, add_special_tokens=False)["input_ids"],
            tokenizer.eos_token_id,
        ]
        while len(stream) >= length:
            blocks.append(stream[:length])
            stream = stream[length:]
    return blocks


def make_model(tokenizer: Any, settings: Mapping[str, Any], seed: int) -> Any:
    """A Llama of the given sizes with random weights, embeddings tied, in float32.

    The weights' spread is that of Nguyen and Salazar (2019), which lets a narrow model take larger steps than the usual
    0.02 does (docs/demo.md).
    """
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    set_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings["hidden_size"],
            intermediate_size=settings["intermediate_size"],
            num_hidden_layers=settings["layers"],
            num_attention_heads=settings["heads"],
            num_key_value_heads=settings["kv_heads"],
            head_dim=settings["hidden_size"] // settings["heads"],
            max_position_embeddings=MAX_POSITIONS,
            initializer_range=math.sqrt(2 / (5 * settings["hidden_size"])),
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def pretrain(
    model: Any, blocks: list[list[int]], settings: Mapping[str, Any], seed: int, scratch: str
) -> float:
    """Plain language modelling on packed blocks; returns the mean loss of the last tenth of the steps.

    Nothing is saved, but the Trainer makes its folder `scratch`.
    """
    import torch
    from transformers import Trainer, TrainingArguments

    steps = settings["pretrain_steps"]
    arguments = TrainingArguments(
        output_dir=scratch,
        max_steps=steps,
        per_device_train_batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(WARM_UP * steps)),
        weight_decay=WEIGHT_DECAY,
        adam_beta2=0.95,
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=max(1, steps // 10),
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_drop_last=True,
    )
    examples = [{"input_ids": block, "labels": block} for block in blocks]
    trainer = Trainer(model=model, args=arguments, train_dataset=examples, data_collator=_stack)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return round(float(losses[-1]), 4)


def _stack(examples: list[dict[str, list[int]]]) -> dict[str, Any]:
    import torch

    return {key: torch.tensor([example[key] for example in examples]) for key in ("input_ids", "labels")}
