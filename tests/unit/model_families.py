"""Small tokenizers and models with the token formats of the real families, built in memory for tests."""

from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from polyalign.prompts import load_chat_template

CHATML_TURNS = ["<|im_start|>", "<|im_end|>"]
FAMILIES = {
    "tiny": {"bos_token": "<|bos|>", "eos_token": "<|eos|>", "pad_token": "<|pad|>", "turns": CHATML_TURNS},
    "qwen2.5": {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "turns": CHATML_TURNS},
    "gemma2": {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "turns": ["<start_of_turn>", "<end_of_turn>"],
    },
    "llama3.2": {
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|end_of_text|>",
        "pad_token": "<|end_of_text|>",
        "turns": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    },
    "qwen3": {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "turns": CHATML_TURNS},
    "mistral-small": {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "turns": ["[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[INST]", "[/INST]"],
    },
}
TURN_END = {
    "tiny": "<|eos|>",
    "qwen2.5": "<|im_end|>",
    "gemma2": "<end_of_turn>",
    "llama3.2": "<|eot_id|>",
    "qwen3": "<|im_end|>",
    "mistral-small": "</s>",
}
_TEXT = [
    "The capital of France is Paris, and the question is about context and history.",
    "User: what is this? Assistant: an answer. System: nothing at all.",
    "请回答下面的当前用户消息。最终答案：北京。天气很好，我们去公园散步。",
    "A longer sentence with several words, numbers like 123 and 4567, and some punctuation; all of it short.",
]
SIZES = {
    "vocab_size": 400,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}


@cache
def tokenizer_of(family: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 400 entries with the family's special tokens; like the real one, those with a
    BOS add it by themselves when asked for special tokens."""
    names = dict(FAMILIES[family])
    turns = names.pop("turns")
    special = list(dict.fromkeys([*names.values(), *turns]))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _TEXT * 20,
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    if "bos_token" in names:
        bos = names["bos_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, extra_special_tokens=turns, **names)
    fast.chat_template = load_chat_template(family)
    return fast


def model_of(family: str, seed: int = 0) -> torch.nn.Module:
    """A random two-layer model of the family's architecture."""
    torch.manual_seed(seed)
    config = {
        "qwen2.5": Qwen2Config(**SIZES),
        "llama3.2": LlamaConfig(**SIZES),
        "tiny": LlamaConfig(**SIZES),
        "qwen3": Qwen3Config(**SIZES),
        "mistral-small": MistralConfig(**SIZES),
        # A window shorter than the prompts of the tests, so that the sliding cache is used.
        "gemma2": Gemma2Config(**SIZES, sliding_window=16, query_pre_attn_scalar=32),
    }[family]
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    if family == "gemma2":
        # It multiplies its embeddings, which are its output weights too: large ones only repeat the last token.
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(0.05)
    return model


def save_model(folder: Path, family: str = "qwen2.5", seed: int = 0) -> Path:
    """A model folder as the workflow makes it: weights, tokenizer and chat template."""
    model_of(family, seed).save_pretrained(folder)
    tokenizer_of(family).save_pretrained(folder)
    return folder


def record_of(index: int = 0, **changes) -> dict:
    """A record; `changes` replace fields."""
    record = {
        "id": f"row-{index}",
        "dataset": "dolly",
        "split": "test",
        "language": "en",
        "track": "single",
        "family": "qa",
        "style_bucket": "qa_search",
        "length_bin": "short",
        "question": f"What is number {index}?",
        "context": "",
        "dialogue_history": [],
        "human_answer": f"It is {index}.",
        "bucket_id": "en|single|qa|short",
        "meta": {},
    }
    return {**record, **changes}


def turns_of(*texts: str) -> list[dict]:
    """Alternating user and assistant turns."""
    return [
        {"role": "user" if position % 2 == 0 else "assistant", "text": text}
        for position, text in enumerate(texts)
    ]
