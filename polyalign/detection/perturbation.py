"""DetectGPT (Mitchell et al. 2023, arXiv 2301.11305): is a text more probable than variations of it?

A T5-like model fills masked spans anew. The decoder may write nothing but the sentinels in their order with at least
one and at most `fill_tokens` tokens between them, so that every sample can be read; the authors' code samples freely
and draws again until one can. Long texts are masked and filled piece by piece.
"""

import math
import random
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from polyalign.detection.curvature import perturbation_z, token_logprobs
from polyalign.detection.likelihood import Reader
from polyalign.detection.protocol import (
    EMPTY,
    TOO_SHORT,
    UNVARIED,
    Verdict,
    length_batches,
    model_folder,
    model_limit,
)
from polyalign.detection.settings import Detection
from polyalign.errors import BadInput
from polyalign.features.scorer import CPU_BATCH_TOKENS
from polyalign.model_folders import load_tokenizer, load_weights
from polyalign.progress import track

# A word with the space before it; in scripts without spaces a character. Joined, the units are the text again.
_UNIT = re.compile(
    r"\s*(?:[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+)"
)
SENTINEL = "<extra_id_{}>"


def units_of(text: str) -> list[str]:
    """Words of a text with the white space before them; Chinese and kana count by character."""
    return _UNIT.findall(text)


def choose_spans(
    count: int, rng: random.Random, *, share: float, span: int, buffer: int, most: int
) -> list[tuple[int, int]]:
    """Spans (start, end) of `span` units among `count`, in order, with `buffer` units between any two.

    As many as make up `share` of the units, at least one and at most `most`; fewer where the gaps leave no room.
    """
    wanted = min(most, max(1, round(share * count / span)))
    starts = list(range(count - span + 1))
    rng.shuffle(starts)
    free, chosen = [True] * count, []
    for start in starts:
        if len(chosen) == wanted:
            break
        if all(free[max(0, start - buffer) : start + span + buffer]):
            free[start : start + span] = [False] * span
            chosen.append((start, start + span))
    return sorted(chosen)


def masked_text(units: Sequence[str], spans: Sequence[tuple[int, int]]) -> str:
    """The units with a sentinel in place of each span; the white space before a span stays."""
    return join_fills(units, spans, [SENTINEL.format(number) for number in range(len(spans))])


def join_fills(units: Sequence[str], spans: Sequence[tuple[int, int]], fills: Sequence[str]) -> str:
    """The units with `fills` in place of the spans."""
    parts, end = [], 0
    for (start, stop), fill in zip(spans, fills, strict=True):
        first = units[start]
        parts += [*units[end:start], first[: len(first) - len(first.lstrip())], fill]
        end = stop
    return "".join([*parts, *units[end:]])


class SentinelOrder(LogitsProcessor):
    """Lets a decoder write `<extra_id_0> fill <extra_id_1> fill ...` and nothing else.

    Args:
        sentinels: [s] ids of the sentinels in order.
        content: [v] whether a token may stand in a fill.
        spans: [rows] spans of each row; below s.
        fill_tokens: most tokens of a fill.
    """

    def __init__(self, sentinels: Tensor, content: Tensor, spans: Tensor, fill_tokens: int, eos: int) -> None:
        self.sentinels, self.content, self.spans = sentinels, content, spans
        self.fill_tokens, self.eos = fill_tokens, eos

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [rows, v] for tokens written so far, [rows, t], with all that may not follow at -inf."""
        is_sentinel = torch.isin(input_ids, self.sentinels)
        written = is_sentinel.sum(1)
        place = torch.arange(1, input_ids.shape[1] + 1, device=input_ids.device)
        since = input_ids.shape[1] - (is_sentinel * place).amax(1)
        # What ends the present fill: the next sentinel, and the end of the answer after the last one.
        close = torch.where(
            written <= self.spans, self.sentinels[written.clamp(max=len(self.sentinels) - 1)], self.eos
        )
        must = (written == 0) | (written > self.spans) | (since >= self.fill_tokens)
        allowed = scores.masked_fill(~self.content | must[:, None], -math.inf)
        own = scores.gather(1, close[:, None])
        # A forced token has to be finite whatever the model thinks of it.
        value = torch.where(must[:, None], torch.zeros_like(own), own)
        value = value.masked_fill((~must & (since < 1))[:, None], -math.inf)
        return allowed.scatter(1, close[:, None], value)


@dataclass(frozen=True)
class _Piece:
    """A piece of one version of a text, masked."""

    version: tuple[int, int]
    units: Sequence[str]
    spans: Sequence[tuple[int, int]]
    ids: Sequence[int]
    fill_tokens: int

    @property
    def length(self) -> int:
        """Tokens that the encoder reads and the decoder may write."""
        return len(self.ids) + len(self.spans) * (self.fill_tokens + 1)


class Filler:
    """A T5-like model that writes versions of texts.

    Raises:
        BadInput: no model there, or a tokenizer without sentinels.
    """

    def __init__(self, folder: Any, settings: Detection, dtype: str, seed: int) -> None:
        folder = model_folder(folder, "filler")
        self.own, self.seed = settings.detectgpt, seed
        self.tokenizer = load_tokenizer(folder)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load_weights("AutoModelForSeq2SeqLM", folder, dtype=getattr(torch, dtype))
        self.model = model.to(device).eval()
        vocabulary = self.tokenizer.get_vocab()
        self.sentinels = []
        while (token := SENTINEL.format(len(self.sentinels))) in vocabulary:
            self.sentinels.append(vocabulary[token])
        if len(self.sentinels) < 2:
            raise BadInput(
                "the filler's tokenizer has no sentinels", file=folder, expected="<extra_id_0> and so on"
            )
        self.limit = min(settings.max_length, model_limit(self.tokenizer, model.config))
        budget = settings.batch_tokens
        self.batch_tokens = min(budget, CPU_BATCH_TOKENS) if device == "cpu" else budget
        content = torch.zeros(model.config.vocab_size, dtype=torch.bool)
        content[: len(self.tokenizer)] = True
        content[[*self.tokenizer.all_special_ids, *self.sentinels]] = False
        self._content = content.to(device)

    def versions(self, texts: Sequence[str]) -> list[list[str]]:
        """`perturbations` versions of each text; every text has at least two units."""
        pieces: list[_Piece] = []
        for place, text in enumerate(texts):
            parts = self._parts(units_of(text))
            for version in range(self.own.perturbations):
                rng = random.Random(f"{self.seed} {version} {zlib.crc32(text.encode())}")
                pieces += [self._mask((place, version), part, rng) for part in parts]
        filled: dict[int, str] = {}
        torch.manual_seed(self.seed)
        numbers = {id(piece): number for number, piece in enumerate(pieces)}
        batches = length_batches(pieces, self.batch_tokens)
        for batch in track(batches, label="perturbing", unit="batches"):
            for piece, text in zip(batch, self._fill(batch), strict=True):
                filled[numbers[id(piece)]] = text
        found = [[""] * self.own.perturbations for _ in texts]
        for number, piece in enumerate(pieces):
            place, version = piece.version
            found[place][version] += filled[number]
        return found

    def _parts(self, units: list[str]) -> list[list[str]]:
        """The units in pieces that the encoder reads whole; masking only makes them shorter."""
        ids = self.tokenizer(units, add_special_tokens=False)["input_ids"]
        parts: list[list[str]] = [[]]
        room = most = self.limit - 1
        for unit, tokens in zip(units, ids, strict=True):
            if parts[-1] and len(tokens) > room:
                parts.append([])
                room = most
            parts[-1].append(unit)
            room -= len(tokens)
        return parts

    def _mask(self, version: tuple[int, int], units: Sequence[str], rng: random.Random) -> _Piece:
        own = self.own
        most = len(self.sentinels) - 1
        spans = choose_spans(
            len(units), rng, share=own.mask_share, span=own.span_words, buffer=own.buffer_words, most=most
        )
        ids = self.tokenizer(masked_text(units, spans), verbose=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        ids = ids if ids[-1:] == [end] else [*ids, end]
        return _Piece(version, units, spans, ids, own.fill_tokens)

    @torch.inference_mode()
    def _fill(self, batch: Sequence[_Piece]) -> list[str]:
        device = self.model.device
        ids = torch.full((len(batch), max(len(piece.ids) for piece in batch)), self.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, piece in enumerate(batch):
            ids[row, : len(piece.ids)] = torch.tensor(piece.ids)
            mask[row, : len(piece.ids)] = 1
        order = SentinelOrder(
            torch.tensor(self.sentinels, device=device),
            self._content,
            torch.tensor([len(piece.spans) for piece in batch], device=device),
            self.own.fill_tokens,
            self.tokenizer.eos_token_id,
        )
        most = max(len(piece.spans) for piece in batch)
        written = self.model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=most * (self.own.fill_tokens + 1) + 2,
            logits_processor=[order],
        )
        return [
            join_fills(piece.units, piece.spans, self._fills(row, len(piece.spans)))
            for piece, row in zip(batch, written.tolist(), strict=True)
        ]

    def _fills(self, ids: Sequence[int], count: int) -> list[str]:
        """Texts between the sentinels of a decoded row."""
        marks = [at for at, token in enumerate(ids) if token in self.sentinels][: count + 1]
        parts = [ids[start + 1 : end] for start, end in pairwise(marks)]
        return [self.tokenizer.decode(part).strip() for part in parts]


class DetectGptDetector:
    """DetectGPT (a `polyalign.detection.protocol.Detector`); raw and score are the z-score."""

    name = "detectgpt"

    def __init__(
        self,
        folders: Mapping[str, Any],
        settings: Detection,
        dtypes: Mapping[str, str] | None = None,
        seed: int = 42,
    ) -> None:
        dtypes = dtypes or {}
        self.settings, self.own = settings, settings.detectgpt
        self.reader = Reader({"scorer": folders["scorer"]}, settings, dtypes)
        self.filler = Filler(folders["filler"], settings, dtypes.get("filler", "float32"), seed)

    def describe(self) -> dict[str, Any]:
        found = self.reader.describe()
        found["models"]["filler"] = f"{type(self.filler.model).__name__}, {self.filler.model.dtype}"
        own = self.own.model_dump(exclude={"scorer", "filler"})
        return {**found, **own, "seed": self.filler.seed}

    def detect(self, texts: Sequence[str]) -> list[Verdict | str]:
        results: list[Verdict | str] = [
            EMPTY if not text.strip() else TOO_SHORT if len(units_of(text)) < 2 * self.own.span_words else ""
            for text in texts
        ]
        own = self.reader.sums(texts, self._statistic)
        places = []
        for place, (reason, sums) in enumerate(zip(results, own, strict=True)):
            if isinstance(sums, str):
                results[place] = reason or sums
            elif not reason:
                places.append(place)
        versions = self.filler.versions([texts[place] for place in places])
        flat = [text for found in versions for text in found]
        scored = iter(self.reader.sums(flat, self._statistic))
        for place, found in zip(places, versions, strict=True):
            results[place] = self._verdict(own[place], [next(scored) for _ in found])
        return results

    @staticmethod
    def _statistic(logits: Sequence[Tensor], targets: Tensor) -> Tensor:
        return token_logprobs(logits[0], targets)[:, None]

    def _verdict(self, own: Any, others: Sequence[Any]) -> Verdict | str:
        means = [float(one[0][0]) / one[1] for one in others if not isinstance(one, str)]
        if len(means) < 2 or max(means) == min(means):
            return UNVARIED
        sums, tokens, windows = own
        raw = perturbation_z(float(sums[0]) / tokens, means)
        return Verdict(raw, raw, self.own.threshold, None, tokens, windows)
