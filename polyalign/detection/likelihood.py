"""Detectors that compare what two language models expect: Fast-DetectGPT and Binoculars.

Both read a text once under both models and add up token statistics, so a text that is longer than the models' limit is
read in overlapping windows and loses nothing: every token is scored once, after the first window with at least half a
window of context.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from polyalign.detection.curvature import (
    binoculars_ratio,
    conditional_moments,
    cross_entropies,
    fast_curvature,
    machine_probability,
    machine_threshold,
    token_logprobs,
)
from polyalign.detection.protocol import (
    EMPTY,
    TOO_LONG,
    TOO_SHORT,
    Verdict,
    Window,
    by_text,
    check_same_tokenizer,
    length_batches,
    model_folder,
    windows_of,
)
from polyalign.detection.settings import ROLES, Detection
from polyalign.features.lm import LOGIT_VALUES
from polyalign.features.scorer import CPU_BATCH_TOKENS, Scorer, head_of, load_scorer
from polyalign.progress import track

Statistic = Callable[[Sequence[Tensor], Tensor], Tensor]
"""([logits [n, v] of each model], targets [n]) -> [n, k] statistics of the tokens."""


class Reader:
    """One or two causal models with one tokenizer, read side by side.

    Args:
        folders: {role: model folder}; roles of the same folder share the model.
        settings: limits and batch size.
        dtypes: {role: precision of the weights}; float32 where it is not given.

    Raises:
        BadInput: no model there, or tokenizers that differ.
    """

    def __init__(
        self, folders: Mapping[str, Any], settings: Detection, dtypes: Mapping[str, str] | None = None
    ) -> None:
        self.settings = settings
        self.roles = list(folders)
        loaded: dict[str, Scorer] = {}
        for role, folder in folders.items():
            path = str(model_folder(folder, role).resolve())
            if path not in loaded:
                dtype = (dtypes or {}).get(role, "float32")
                loaded[path] = load_scorer(path, max_length=settings.max_length, dtype=dtype)
        self.models = {
            role: loaded[str(model_folder(folder, role).resolve())] for role, folder in folders.items()
        }
        first = self.models[self.roles[0]]
        for role in self.roles[1:]:
            check_same_tokenizer(first.tokenizer, self.models[role].tokenizer, [self.roles[0], role])
        self.tokenizer = first.tokenizer
        self.limit = min(model.max_length for model in self.models.values())
        on_cpu = first.model.device.type == "cpu"
        self.batch_tokens = min(settings.batch_tokens, CPU_BATCH_TOKENS) if on_cpu else settings.batch_tokens

    def describe(self) -> dict[str, Any]:
        """Models by role, and how texts are read."""
        return {
            "models": {role: model.describe() for role, model in self.models.items()},
            "max_length": self.limit,
            "long_texts": self.settings.long_texts,
        }

    def sums(self, texts: Sequence[str], statistic: Statistic) -> list[tuple[np.ndarray, int, int] | str]:
        """(sums [k] over the scored tokens, their number, windows) of each text, or why there are none.

        The first token has nothing before it to be predicted from, unless the tokenizer puts a start token there.
        """
        reasons: list[str | None] = []
        windows: list[Window] = []
        for place, ids in enumerate(self._encode(texts)):
            reason = self._reason(texts[place], ids)
            reasons.append(reason)
            windows += [] if reason else windows_of(place, ids, self.limit, self.limit // 2)
        totals: dict[int, tuple[np.ndarray, int, int]] = {}
        batches = length_batches(windows, self.batch_tokens)
        for batch in track(batches, label="reading", unit="batches"):
            for window, rows in zip(batch, self._statistics(batch, statistic), strict=True):
                before, tokens, count = totals.get(window.text, (0.0, 0, 0))
                totals[window.text] = (before + rows.sum(axis=0), tokens + len(rows), count + 1)
        return by_text(texts, reasons, totals)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        # A longer text than the model reads is expected here, and the tokenizer would warn of it.
        return self.tokenizer(list(texts), verbose=False)["input_ids"] if texts else []

    def _reason(self, text: str, ids: Sequence[int]) -> str | None:
        if not text.strip():
            return EMPTY
        if len(ids) < 2:
            return TOO_SHORT
        too_long = len(ids) > self.limit and self.settings.long_texts == "error"
        return TOO_LONG if too_long else None

    @torch.inference_mode()
    def _statistics(self, batch: Sequence[Window], statistic: Statistic) -> list[np.ndarray]:
        """Statistics [tokens, k] of the new tokens of each window."""
        device = next(iter(self.models.values())).model.device
        ids = torch.zeros((len(batch), max(window.length for window in batch)), dtype=torch.long)
        scored = torch.zeros(ids.shape, dtype=torch.bool)
        for row, window in enumerate(batch):
            ids[row, : window.length] = torch.tensor(window.ids)
            scored[row, max(1, window.first) : window.length] = True
        ids, scored = ids.to(device), scored.to(device)
        # Padding stands after the last token, where causal attention never looks, so no mask is needed.
        states = {
            id(model): model.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][
                scored[:, 1:]
            ]
            for model in self.models.values()
        }
        targets = ids[scored]
        widest = max(model.vocabulary for model in self.models.values())
        step = max(64, LOGIT_VALUES.get(device.type, 1 << 24) // (4 * widest))
        parts = []
        for at in range(0, len(targets), step):
            logits = {
                id(model): head_of(model.model)(states[id(model)][at : at + step]).float()
                for model in self.models.values()
            }
            ordered = [logits[id(self.models[role])] for role in self.roles]
            parts.append(statistic(ordered, targets[at : at + step]).double().cpu().numpy())
        return np.split(np.concatenate(parts), np.cumsum(scored.sum(1).cpu().numpy())[:-1])


class FastDetectGptDetector:
    """Fast-DetectGPT, analytic (a `polyalign.detection.protocol.Detector`); the score is the curvature itself."""

    name = "fast_detectgpt"

    def __init__(
        self, folders: Mapping[str, Any], settings: Detection, dtypes: Mapping[str, str] | None = None
    ) -> None:
        own = settings.fast_detectgpt
        self.human, self.machine = (own.human_mean, own.human_std), (own.ai_mean, own.ai_std)
        self.threshold = machine_threshold(self.human, self.machine)
        self.reader = Reader({role: folders[role] for role in ROLES[self.name]}, settings, dtypes)

    def describe(self) -> dict[str, Any]:
        normals = {"human": list(self.human), "ai": list(self.machine)}
        return {**self.reader.describe(), "threshold": self.threshold, "normals": normals}

    def detect(self, texts: Sequence[str]) -> list[Verdict | str]:
        found = self.reader.sums(texts, lambda logits, targets: conditional_moments(*logits, targets))
        return [one if isinstance(one, str) else self._verdict(*one) for one in found]

    def _verdict(self, sums: np.ndarray, tokens: int, windows: int) -> Verdict:
        raw = fast_curvature(*map(float, sums))
        p_ai = machine_probability(raw, self.human, self.machine)
        return Verdict(raw, raw, self.threshold, p_ai, tokens, windows)


class BinocularsDetector:
    """Binoculars (a `polyalign.detection.protocol.Detector`); the score is the ratio with its sign turned."""

    name = "binoculars"

    def __init__(
        self, folders: Mapping[str, Any], settings: Detection, dtypes: Mapping[str, str] | None = None
    ) -> None:
        self.own = settings.binoculars
        self.reader = Reader({role: folders[role] for role in ROLES[self.name]}, settings, dtypes)

    def describe(self) -> dict[str, Any]:
        own = {"threshold": -self.own.threshold, "perplexity_of": self.own.perplexity_of}
        return {**self.reader.describe(), **own}

    def detect(self, texts: Sequence[str]) -> list[Verdict | str]:
        found = self.reader.sums(texts, self._statistic)
        return [one if isinstance(one, str) else self._verdict(*one) for one in found]

    def _statistic(self, logits: Sequence[Tensor], targets: Tensor) -> Tensor:
        whose = logits[ROLES[self.name].index(self.own.perplexity_of)]
        return torch.stack([token_logprobs(whose, targets), cross_entropies(*logits)], dim=-1)

    def _verdict(self, sums: np.ndarray, tokens: int, windows: int) -> Verdict:
        raw = binoculars_ratio(*map(float, sums))
        return Verdict(raw, -raw, -self.own.threshold, None, tokens, windows)
