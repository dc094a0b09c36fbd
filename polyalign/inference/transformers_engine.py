"""The engine that needs nothing but transformers: padded batches on a GPU, or on a CPU for small models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import DynamicCache

from polyalign.errors import BadInput, PolyAlignError
from polyalign.inference.constrained import Grammars, Matcher, forbid
from polyalign.inference.decoding import Decoding
from polyalign.inference.engine import (
    Completion,
    EngineSettings,
    Request,
    answer_text,
    context_length,
    cut_at_stop,
    token_budget_batches,
)
from polyalign.inference.kv_cache import growing_cache, keeps_every_position
from polyalign.inference.sampling import choose_tokens, penalize, row_uniforms
from polyalign.model_folders import load_config, load_weights

# Finished rows are computed along until they are a quarter of the batch: taking rows out copies the whole
# cache.
_COMPACT_BELOW = 0.75
# A common start of prompts that is at least this long, such as a judge's rubric, is computed once for all of them.
_SHARED_START = 128


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput(
            "no GPU is visible to torch", field="device", expected="a CUDA GPU", fix="use device: auto"
        )
    return torch.device(name)


def _dtype(name: str, device: torch.device) -> Any:
    if name == "auto":
        return "auto" if device.type == "cuda" else torch.float32
    return getattr(torch, name)


def load_model(model_dir: Path, settings: EngineSettings) -> torch.nn.Module:
    """The causal language model saved in `model_dir`, in evaluation mode on its device.

    Raises `BadInput` where a GPU was asked for and there is none.
    """
    config = load_config(model_dir)
    device = _device(settings.device)
    # The fused kernels leave out Gemma-2's soft cap on attention scores.
    attention = "eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa"
    model = load_weights(
        "AutoModelForCausalLM",
        model_dir,
        config=config,
        dtype=_dtype(settings.dtype, device),
        attn_implementation=attention,
    )
    return model.to(device).eval()


@dataclass
class _Row:
    """A request in work."""

    request: Request
    uniforms: np.ndarray | None
    matcher: Matcher | None
    tokens: list[int] = field(default_factory=list)
    done: bool = False


class TransformersEngine:
    """Generates with a causal language model of transformers (a `polyalign.inference.engine.Engine`).

    Args:
        model_dir: folder of the model.
        tokenizer: its tokenizer, used to decode.
        decoding: the same for every request.
        settings: device, precision and batch size.
        stop_token_ids: tokens that end an answer.
    """

    reads_text = False

    def __init__(
        self,
        model_dir: Path,
        tokenizer: Any,
        decoding: Decoding,
        settings: EngineSettings,
        stop_token_ids: Sequence[int],
    ) -> None:
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.settings = settings
        self.max_length = context_length(model_dir, settings)
        self.model = load_model(model_dir, settings)
        self.device = self.model.device
        self.stop_token_ids = frozenset(stop_token_ids)
        # Any id does: padding is masked, and its logits are not read.
        self._pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._vocabulary = self.model.get_output_embeddings().weight.shape[0]
        self._grammars = Grammars(tokenizer, self._vocabulary)

    def describe(self) -> dict[str, Any]:
        """Engine, versions, device, precision and batch settings, for the manifest."""
        return {
            "name": "transformers",
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "attention": self.model.config._attn_implementation,
            "max_length": self.max_length,
            "batch_tokens": self.settings.batch_tokens,
            "window_rows": self.settings.window_rows,
        }

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield one completion for each request, batch after batch, each as soon as it is finished.

        Raises:
            BadInput: a prompt that is empty or leaves no room within `max_length`.
            PolyAlignError: the model computed logits that are not numbers.
        """
        for request in requests:
            if not 0 < len(request.prompt_ids) < self.max_length:
                raise BadInput(
                    f"prompt of {len(request.prompt_ids)} tokens",
                    row=request.source_index,
                    expected=f"1 to {self.max_length - 1} tokens",
                )
        for batch in token_budget_batches(requests, self.settings.batch_tokens):
            yield from self._generate_batch(batch)

    def _generate_batch(self, requests: list[Request]) -> Iterator[Completion]:
        sampled = not self.decoding.greedy
        rows = [
            _Row(
                request,
                row_uniforms(request.seed, request.max_new_tokens) if sampled else None,
                self._grammars.matcher(request.schema) if request.schema else None,
            )
            for request in requests
        ]
        cache = growing_cache(self.model.config)
        shared = self._read_shared_start(requests, cache)
        input_ids, mask = self._pad(requests, shared)
        positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)[:, shared:]
        seen, counts = self._penalty_state(requests)
        while True:
            logits = self._next_logits(input_ids, mask, positions, cache)
            self._check(logits, rows)
            logits = penalize(logits, seen, counts, self.decoding)
            forbid(logits, [None if row.done else row.matcher for row in rows])
            tokens = choose_tokens(logits, self._next_uniforms(rows), self.decoding)
            for row, token in zip(rows, tokens.tolist(), strict=True):
                if not row.done and (completion := self._append(row, token)) is not None:
                    yield completion
            forced = self._forced(rows)
            for row, follow in zip(rows, forced, strict=True):
                for token in follow if not row.done else ():
                    if (completion := self._append(row, token)) is not None:
                        yield completion
            said = torch.cat([tokens[:, None], torch.as_tensor(forced, device=self.device)], dim=-1)
            alive = [index for index, row in enumerate(rows) if not row.done]
            if not alive:
                return
            if seen is not None:
                seen.scatter_(1, said, True)
            if counts is not None:
                counts.scatter_add_(1, said, torch.ones_like(said, dtype=counts.dtype))
            positions = positions[:, -1:] + torch.arange(1, said.shape[1] + 1, device=self.device)
            if len(alive) <= _COMPACT_BELOW * len(rows):
                keep = torch.tensor(alive, device=self.device)
                cache.batch_select_indices(keep)
                rows = [rows[index] for index in alive]
                said, mask, positions = said[keep], mask[keep], positions[keep]
                seen = seen[keep] if seen is not None else None
                counts = counts[keep] if counts is not None else None
            input_ids = said
            mask = torch.cat([mask, torch.ones_like(said)], dim=-1)

    def _read_shared_start(self, requests: list[Request], cache: DynamicCache) -> int:
        """Put the tokens that all prompts start with into the cache of each; returns how many, 0 where few.

        What differs is then padded behind them, so this is for models whose layers keep every position.
        """
        if len(requests) == 1 or not keeps_every_position(cache):
            return 0
        prompts = [list(request.prompt_ids) for request in requests]
        # Whatever the first and the last in order have in common all others have, too.
        common = takewhile(lambda pair: pair[0] == pair[1], zip(min(prompts), max(prompts), strict=False))
        # The last token of every prompt is left, whose logits are wanted.
        shared = min(sum(1 for _ in common), *(len(prompt) - 1 for prompt in prompts))
        if shared < _SHARED_START:
            return 0
        ids = torch.tensor([prompts[0][:shared]], device=self.device)
        positions = torch.arange(shared, device=self.device)[None]
        self._next_logits(ids, torch.ones_like(ids), positions, cache)
        cache.batch_repeat_interleave(len(requests))
        return shared

    def _forced(self, rows: list[_Row]) -> np.ndarray:
        """Tokens that the schema forces in every row that is not done, [rows, k]: they need not be asked for.

        k is 0 where a row is free text, and otherwise leaves each row a token to be chosen.
        """
        matchers = [row.matcher for row in rows if not row.done]
        if not matchers or None in matchers:
            return np.empty((len(rows), 0), dtype=np.int64)
        found = [[] if row.done else row.matcher.forced() for row in rows]
        rooms = [row.request.max_new_tokens - len(row.tokens) - 1 for row in rows if not row.done]
        lengths = [len(tokens) for tokens, row in zip(found, rows, strict=True) if not row.done]
        forced = np.full((len(rows), max(0, min(rooms + lengths))), self._pad_id, dtype=np.int64)
        for tokens, row in zip(forced, found, strict=True):
            tokens[:] = row[: len(tokens)] or self._pad_id
        return forced

    def _pad(self, requests: list[Request], shared: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids, mask) of prompts, padded on the left so that all answers start together.

        Ids are [rows, longest prompt - shared], the first `shared` tokens left out; the mask counts these too.
        """
        width = max(len(request.prompt_ids) for request in requests) - shared
        ids = np.full((len(requests), width), self._pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, request in enumerate(requests):
            rest = request.prompt_ids[shared:]
            ids[row, width - len(rest) :] = rest
            mask[row, width - len(rest) :] = 1
        mask = np.pad(mask, ((0, 0), (shared, 0)), constant_values=1)
        return torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)

    def _penalty_state(self, requests: list[Request]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """(tokens seen, counts in the answer), each [rows, vocabulary] or None where nothing is penalized."""
        shape = (len(requests), self._vocabulary)
        seen = counts = None
        if self.decoding.repetition_penalty != 1:
            seen = torch.zeros(shape, dtype=torch.bool, device=self.device)
            for row, request in enumerate(requests):
                seen[row, torch.tensor(list(request.prompt_ids), device=self.device)] = True
        if self.decoding.frequency_penalty:
            counts = torch.zeros(shape, device=self.device)
        return seen, counts

    @torch.no_grad()
    def _next_logits(
        self, input_ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache
    ) -> torch.Tensor:
        """Logits of the next token, [rows, vocabulary]; the cache takes up the positions of `input_ids`."""
        output = self.model(
            input_ids=input_ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()

    def _check(self, logits: torch.Tensor, rows: list[_Row]) -> None:
        """A half-precision overflow would otherwise go on as an endless run of one token."""
        finite = torch.isfinite(logits.amax(dim=-1))
        if not finite.all():
            bad = [
                row.request.source_index for row, fine in zip(rows, finite.tolist(), strict=True) if not fine
            ]
            raise PolyAlignError(
                f"the model's logits are not numbers for source_index {', '.join(map(str, bad[:5]))}"
                f" ({len(bad)} rows; precision {self.model.dtype}); fix: generate in float32 or bfloat16"
            )

    def _next_uniforms(self, rows: list[_Row]) -> torch.Tensor | None:
        if self.decoding.greedy:
            return None
        numbers = [0.0 if row.done else row.uniforms[len(row.tokens)] for row in rows]
        return torch.tensor(numbers, dtype=torch.float64, device=self.device)

    def _append(self, row: _Row, token: int) -> Completion | None:
        """Add a token to a row; its completion, when the row has ended."""
        row.tokens.append(token)
        request = row.request
        if row.matcher is not None:
            row.matcher.accept(token)
            if row.matcher.whole:
                return self._finish(row, answer_text(self.tokenizer, row.tokens), "stop")
        elif token in self.stop_token_ids:
            return self._finish(row, answer_text(self.tokenizer, row.tokens[:-1]), "stop")
        if request.stop and (text := self._text_before_stop(row)) is not None:
            return self._finish(row, text, "stop")
        if len(row.tokens) == request.max_new_tokens:
            return self._finish(row, answer_text(self.tokenizer, row.tokens), "length")
        return None

    def _text_before_stop(self, row: _Row) -> str | None:
        """The answer up to the first stop string, or None when it holds none yet."""
        stops = row.request.stop
        # A token is at least a byte, so this tail covers the longest stop string and the token it ends in.
        tail = row.tokens[-max(len(stop.encode()) for stop in stops) - 1 :]
        if not cut_at_stop(self.tokenizer.decode(tail, skip_special_tokens=True), stops)[1]:
            return None
        text, found = cut_at_stop(self.tokenizer.decode(row.tokens, skip_special_tokens=True), stops)
        return text if found else None

    def _finish(self, row: _Row, text: str, reason: str) -> Completion:
        row.done = True
        request = row.request
        return Completion(request.source_index, text, reason, len(request.prompt_ids), len(row.tokens))
