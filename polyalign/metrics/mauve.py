"""MAUVE of predictions against human answers, over all rows and by bucket (C-MAUVE).

Definition: docs/method.md, Metrics. The features are the last hidden state at the last token under any causal
language model in a local folder; mauve-text compares them (its own featurizer knows few models).
"""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.progress import track

SCALING_FACTOR = 5


def null_mauve(reason: str) -> dict:
    """The result where MAUVE was not taken."""
    return {
        "global": None,
        "overall_macro": None,
        "overall_weighted": None,
        "by_bucket": [],
        "skipped": True,
        "reason": reason,
    }


class Featurizer:
    """A causal language model that turns texts into vectors.

    Args:
        model_dir: folder of a model and its tokenizer.
        max_length: most tokens of a text; the rest is left out.
        batch_tokens: padded tokens a batch.

    Raises:
        BadInput: the folder holds no model.
    """

    def __init__(self, model_dir: StrPath, *, max_length: int = 256, batch_tokens: int = 8192) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if not (Path(model_dir) / "config.json").is_file():
            raise BadInput(
                "no language model here", file=model_dir, expected="a folder with config.json and a tokenizer"
            )
        self.name = Path(model_dir).name
        self.max_length, self.batch_tokens = max_length, batch_tokens
        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer = AutoTokenizer.from_pretrained(model_dir)
        model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
        self._model = model.to(self._device).eval()

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; an empty text is the end-of-text token alone, so that it counts too."""
        tokenizer = self._tokenizer
        ids = tokenizer(list(texts), truncation=True, max_length=self.max_length, add_special_tokens=False)
        end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 0
        return [row or [end] for row in ids["input_ids"]]

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Features of n texts, float32 array (n, hidden)."""
        ids = self._token_ids(texts)
        features = np.zeros((len(ids), self._model.config.hidden_size), dtype=np.float32)
        with self._torch.inference_mode():
            for rows in track(self._batches(ids), label="MAUVE features", unit="batches"):
                features[rows] = self._last_states([ids[row] for row in rows])
        return features

    def _batches(self, ids: list[list[int]]) -> list[list[int]]:
        """Row numbers by batch, longest texts first, each batch within the token budget."""
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        batches = []
        while order:
            count = max(1, self.batch_tokens // len(ids[order[0]]))
            batches.append(order[:count])
            order = order[count:]
        return batches

    def _last_states(self, ids: list[list[int]]) -> np.ndarray:
        """Last hidden state at the last token of each row."""
        torch = self._torch
        inputs = torch.zeros((len(ids), max(map(len, ids))), dtype=torch.long)
        mask = torch.zeros_like(inputs)
        for place, row in enumerate(ids):
            inputs[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        # Right padding: under causal attention the padding cannot reach the tokens before it.
        output = self._model(
            input_ids=inputs.to(self._device), attention_mask=mask.to(self._device), output_hidden_states=True
        )
        last = torch.tensor([len(row) - 1 for row in ids])
        return output.hidden_states[-1][torch.arange(len(ids)), last].float().cpu().numpy()


def mauve_score(human: np.ndarray, generated: np.ndarray, seed: int) -> float:
    """MAUVE of two samples of feature vectors, (n, hidden) and (m, hidden).

    Raises:
        BadInput: the package mauve-text is not installed.
    """
    try:
        import mauve
    except ImportError:
        raise BadInput(
            "MAUVE needs the package mauve-text", fix="pip install mauve-text, or switch MAUVE off"
        ) from None
    result = mauve.compute_mauve(
        p_features=human,
        q_features=generated,
        mauve_scaling_factor=SCALING_FACTOR,
        seed=seed,
        verbose=False,
    )
    return float(result.mauve)


def _sample(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return np.array(sorted(random.Random(seed).sample(rows.tolist(), most)))


def mauve_metrics(
    predictions: Sequence[str],
    answers: Sequence[str],
    buckets: np.ndarray,
    featurize: Featurizer,
    *,
    min_bucket_size: int = 20,
    max_texts: int = 1000,
    seed: int = 42,
) -> dict:
    """MAUVE over all rows and by bucket.

    Args:
        predictions, answers: n texts each.
        buckets: bucket of each row; smaller ones than `min_bucket_size` are left out of C-MAUVE.

    Returns:
        `global, overall_macro, overall_weighted, by_bucket, skipped, reason`, and the featurizer used.
    """
    if len(predictions) < min_bucket_size:
        return null_mauve(f"fewer than {min_bucket_size} rows")
    groups = {"": _sample(np.arange(len(predictions)), max_texts, seed)}
    for bucket in np.unique(buckets):
        rows = np.flatnonzero(buckets == bucket)
        if len(rows) >= min_bucket_size:
            groups[str(bucket)] = _sample(rows, max_texts, seed)
    needed = np.unique(np.concatenate(list(groups.values())))
    place = {row: position for position, row in enumerate(needed.tolist())}
    human = featurize([answers[row] for row in needed])
    generated = featurize([predictions[row] for row in needed])
    values = {}
    for name, rows in groups.items():
        at = [place[row] for row in rows.tolist()]
        values[name] = mauve_score(human[at], generated[at], seed)
    whole = values.pop("")
    counts = [int((buckets == bucket).sum()) for bucket in values]
    return {
        "global": whole,
        "overall_macro": float(np.mean(list(values.values()))) if values else None,
        "overall_weighted": float(np.average(list(values.values()), weights=counts)) if values else None,
        "by_bucket": [
            {"bucket_id": bucket, "n_examples": count, "c_mauve": value}
            for (bucket, value), count in zip(values.items(), counts, strict=True)
        ],
        "skipped": False,
        "reason": None,
        "featurizer": featurize.name,
        "n_texts": len(groups[""]),
    }
