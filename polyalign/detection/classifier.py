"""RADAR: a sequence classifier trained against a paraphraser (Hu et al. 2023, arXiv 2307.03838).

Class 0 is machine text. A text longer than the classifier's limit is read in windows that follow each other, and their
log-odds and probabilities are averaged by tokens; the authors' own code cuts the text there instead.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from polyalign.detection.protocol import (
    EMPTY,
    TOO_LONG,
    Verdict,
    Window,
    by_text,
    length_batches,
    model_folder,
    model_limit,
    windows_of,
)
from polyalign.detection.settings import Detection
from polyalign.errors import BadInput
from polyalign.features.scorer import CPU_BATCH_TOKENS
from polyalign.model_folders import load_tokenizer, load_weights
from polyalign.progress import track

MACHINE, HUMAN = 0, 1
"""Classes of RADAR."""


def special_ids(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Token ids that a tokenizer puts before and after a text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    start = next(at for at in range(len(whole)) if whole[at : at + len(plain)] == plain)
    return whole[:start], whole[start + len(plain) :]


class RadarDetector:
    """RADAR (a `polyalign.detection.protocol.Detector`).

    Raises:
        BadInput: no model there, or one that has not two classes.
    """

    name = "radar"

    def __init__(
        self, folders: Mapping[str, Any], settings: Detection, dtypes: Mapping[str, str] | None = None
    ) -> None:
        folder = model_folder(folders["classifier"], "classifier")
        dtype = getattr(torch, (dtypes or {}).get("classifier", "float32"))
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.settings, self.threshold = settings, settings.radar.threshold
        self.tokenizer = load_tokenizer(folder)
        model = load_weights("AutoModelForSequenceClassification", folder, dtype=dtype)
        if model.config.num_labels != 2:
            raise BadInput(
                f"the classifier has {model.config.num_labels} classes",
                file=folder,
                expected="machine, human",
            )
        self.model = model.to(device).eval()
        self.limit = min(settings.max_length, model_limit(self.tokenizer, model.config))
        self.before, self.after = special_ids(self.tokenizer)
        budget = settings.batch_tokens
        self.batch_tokens = min(budget, CPU_BATCH_TOKENS) if device == "cpu" else budget

    def describe(self) -> dict[str, Any]:
        return {
            "models": {"classifier": f"{type(self.model).__name__}, {self.model.dtype}"},
            "max_length": self.limit,
            "long_texts": self.settings.long_texts,
            "threshold": self.threshold,
        }

    def detect(self, texts: Sequence[str]) -> list[Verdict | str]:
        encoded = (
            self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []
        )
        room = self.limit - len(self.before) - len(self.after)
        reasons: list[str | None] = []
        windows: list[Window] = []
        for place, ids in enumerate(encoded):
            too_long = len(ids) > room and self.settings.long_texts == "error"
            reason = TOO_LONG if too_long else None if texts[place].strip() and ids else EMPTY
            reasons.append(reason)
            windows += [] if reason else windows_of(place, ids, room, 0)
        parts: dict[int, list[tuple[int, float]]] = {}
        batches = length_batches(windows, self.batch_tokens)
        for batch in track(batches, label="classifying", unit="batches"):
            for window, odds in zip(batch, self._log_odds(batch), strict=True):
                parts.setdefault(window.text, []).append((window.length, float(odds)))
        return by_text(texts, reasons, {place: self._verdict(found) for place, found in parts.items()})

    @torch.inference_mode()
    def _log_odds(self, batch: Sequence[Window]) -> np.ndarray:
        """Log-odds [n] of machine text for each window."""
        built = [[*self.before, *window.ids, *self.after] for window in batch]
        ids = torch.full((len(built), max(map(len, built))), self.tokenizer.pad_token_id or 0)
        mask = torch.zeros_like(ids)
        for row, tokens in enumerate(built):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        logits = self.model(
            input_ids=ids.to(self.model.device), attention_mask=mask.to(self.model.device)
        ).logits.double()
        return (logits[:, MACHINE] - logits[:, HUMAN]).cpu().numpy()

    def _verdict(self, parts: Sequence[tuple[int, float]]) -> Verdict:
        tokens, odds = (np.array(column, dtype=np.float64) for column in zip(*parts, strict=True))
        probability = float(np.average(np.exp(-np.logaddexp(0.0, -odds)), weights=tokens))
        raw = float(np.average(odds, weights=tokens))
        return Verdict(raw, probability, self.threshold, probability, int(tokens.sum()), len(parts))
