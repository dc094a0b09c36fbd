"""What every detector of machine text has in common: texts in, a verdict or a reason out.

    detector = load_detector("binoculars", {"observer": folder, "performer": folder}, settings)
    verdicts = detector.detect(["The first text.", "The second one."])

Definitions: docs/method.md, Judge, detectors and human evaluation. How long texts are read: docs/detection.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from polyalign.errors import BadInput

EMPTY, TOO_SHORT, TOO_LONG, NO_ANSWER, UNVARIED = "empty", "too_short", "too_long", "no_answer", "unvaried"
REASONS = {
    EMPTY: "no text",
    TOO_SHORT: "too few tokens or words for the detector",
    TOO_LONG: "longer than the model reads at once, where long_texts is error",
    UNVARIED: "the filler's versions of it are all equally probable",
    NO_ANSWER: "the prediction file has no answer to the row",
}
"""Why a text has no score."""


@dataclass(frozen=True)
class Verdict:
    """A detector's opinion on one text.

    Attributes:
        raw: the statistic as the paper defines it.
        score: the same, turned so that higher means more like a machine.
        threshold: score from which the decision is machine.
        p_ai: probability of machine text, where the detector has one.
        tokens: tokens that went into the statistic.
        windows: pieces in which the text was read; 1 unless it is long.
    """

    raw: float
    score: float
    threshold: float
    p_ai: float | None
    tokens: int
    windows: int

    @property
    def decision(self) -> str:
        """`ai` or `human`."""
        return "ai" if self.score >= self.threshold else "human"


class Detector(Protocol):
    """A detector with its models loaded."""

    name: str

    def detect(self, texts: Sequence[str]) -> list[Verdict | str]:
        """A verdict on each text, or the key of `REASONS` that says why there is none."""
        ...

    def describe(self) -> dict[str, Any]:
        """Models, precision, limits and threshold, as plain values for manifests."""
        ...


@dataclass(frozen=True)
class Window:
    """A piece of a text: its token ids, of which those before `first` were scored in an earlier window.

    Attributes:
        text: position of the text among those given.
        first: position in `ids` of the first token that is new.
    """

    text: int
    ids: Sequence[int]
    first: int

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.ids)


def windows_of(text: int, ids: Sequence[int], limit: int, overlap: int) -> list[Window]:
    """Windows of at most `limit` tokens that hold every token, each new in exactly one of them.

    Args:
        overlap: tokens of the window before that a further window starts with, as context; below `limit`.
    """
    found = [Window(text, ids[:limit], 0)]
    end = limit
    while end < len(ids):
        start = end - overlap
        found.append(Window(text, ids[start : start + limit], overlap))
        end = start + limit
    return found


class HasLength(Protocol):
    """A sequence of tokens."""

    @property
    def length(self) -> int: ...


T = TypeVar("T")
L = TypeVar("L", bound=HasLength)


def length_batches(sequences: Sequence[L], batch_tokens: int) -> list[list[L]]:
    """Batches of similar length, the longest first, each within `batch_tokens` tokens, padding included."""
    batches: list[list[L]] = []
    for one in sorted(sequences, key=lambda sequence: sequence.length, reverse=True):
        if not batches or (len(batches[-1]) + 1) * batches[-1][0].length > batch_tokens:
            batches.append([])
        batches[-1].append(one)
    return batches


def by_text(texts: Sequence[str], reasons: Sequence[str | None], results: dict[int, T]) -> list[T | str]:
    """Results and reasons in the order of the texts; every text has exactly one of the two."""
    return [reason or results[place] for place, reason in zip(range(len(texts)), reasons, strict=True)]


def model_folder(folder: str | Path, role: str) -> Path:
    """The folder of a role's model; raises `BadInput` where there is none."""
    if not (Path(folder) / "config.json").is_file():
        raise BadInput(
            f"no {role} model here", file=folder, expected="a folder with config.json, weights and tokenizer"
        )
    return Path(folder)


def model_limit(tokenizer: Any, config: Any) -> int:
    """Most tokens that a model reads at once, special ones included, by its tokenizer and its positions."""
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    # RoBERTa keeps the positions up to that of padding for itself.
    if positions is not None and config.model_type in ("roberta", "xlm-roberta", "camembert"):
        positions -= config.pad_token_id + 1
    return min(limit for limit in (tokenizer.model_max_length, positions) if limit)


def check_same_tokenizer(first: Any, second: Any, roles: Sequence[str]) -> None:
    """Raise `BadInput` unless both tokenizers have one vocabulary and cut a probe text alike."""
    probe = "Tokens 1234, 词元！ naïve —\n\tend."
    if first.get_vocab() != second.get_vocab():
        known, other = set(first.get_vocab()), set(second.get_vocab())
        problem = (
            f"{len(known ^ other):,} tokens are in one vocabulary alone"
            if known != other
            else "the same tokens have different ids"
        )
    elif first(probe)["input_ids"] != second(probe)["input_ids"]:
        problem = "the same text is cut into different tokens"
    else:
        return
    raise BadInput(
        f"{roles[0]} and {roles[1]} have different tokenizers: {problem}",
        file=second.name_or_path,
        expected=f"the tokenizer of {first.name_or_path}",
        fix="name two models of one family",
    )
