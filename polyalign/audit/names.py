"""What the names of published runs and files say: method, model, oracle prompts, samples."""

import re

_METHODS = (
    (r"ref[-_ ]?cond", "hdporef"),
    (r"hdpo", "hdpo"),
    (r"dist[-_]?sft|bucket[-_]?sft", "bucketsft"),
    (r"dpo", "dpo"),
    (r"sft", "sft"),
    (r"cot", "cot"),
)
_MODELS = (
    (r"qwen2?\.?5?[-_ ]?1[-_.]?5b?", "qwen1.5b"),
    (r"qwen(2\.?5)?[-_ ]?3b", "qwen3b"),
    (r"gemma[-_ ]?2[-_ ]?2b", "gemma2b"),
    (r"llama[-_ ]?3[-_.]?2[-_ ]?3b", "llama3b"),
    (r"smollm2[-_ ]?1[-_.]?7b", "smollm2-1.7b"),
)


def method_of(name: str) -> str:
    """The method that the name of a file or run speaks of; `base` where it speaks of none."""
    return next((method for pattern, method in _METHODS if re.search(pattern, name.lower())), "base")


def model_of(name: str) -> str | None:
    """The model that a name speaks of, in this project's spelling."""
    return next((model for pattern, model in _MODELS if re.search(pattern, name.lower())), None)


def language_of(name: str) -> str | None:
    """`zh` or `en` where the name says so, as a word of its own or as a folder such as data/chinese."""
    if re.search(r"(?<![a-z])zh(?![a-z])|chinese", name.lower()):
        return "zh"
    return "en" if re.search(r"(?<![a-z])en(?![a-z])|english", name.lower()) else None


def shows_reference(name: str) -> bool:
    """Whether a run is named after reference-conditioned prompts."""
    return method_of(name) == "hdporef"


def is_sample(name: str) -> bool:
    """Whether a name says that it is of a sample."""
    return "sample" in name.lower()
