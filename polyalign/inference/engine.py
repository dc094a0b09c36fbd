"""What an inference engine is: it takes requests of token ids and yields a completion for each."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import Field

from polyalign.settings import Settings

FinishReason = Literal["stop", "length", "error"]


@dataclass(frozen=True)
class Request:
    """One prompt to be answered.

    Attributes:
        source_index: row of the split, the name by which the completion is known.
        prompt_ids: token ids of the prompt, BOS included.
        max_new_tokens: most tokens to generate; a row that reaches it has finish reason `length`.
        seed: seed of this row's own random numbers, see `request_seed`.
        stop: strings that end the answer; the text is cut where the first of them begins.
    """

    source_index: int
    prompt_ids: Sequence[int]
    max_new_tokens: int
    seed: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Completion:
    """The answer to one request.

    Attributes:
        text: the decoded answer without special tokens and outer white space.
        finish_reason: `stop` at an ending token or stop string, `length` at the request's limit.
        prompt_tokens, completion_tokens: tokens of the prompt and tokens generated, the ending one included.
    """

    source_index: int
    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


class EngineSettings(Settings):
    """Where and in what portions answers are generated; none of it may change what a row is answered with."""

    engine: Literal["transformers"] = Field("transformers", description="which engine generates")
    batch_tokens: int = Field(
        16384, gt=0, description="most prompt and answer tokens of a batch, padding included"
    )
    window_rows: int = Field(
        4096, gt=0, description="rows that are sorted by length and handed over together"
    )
    max_length: int | None = Field(
        None, gt=0, description="most tokens of prompt and answer; null: what the model's positions allow"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="precision of the weights; auto: as saved on a GPU, float32 on a CPU"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: the first GPU, else the CPU")


class Engine(Protocol):
    """An inference engine, made for one model and one decoding."""

    max_length: int
    """Most tokens of prompt and answer together."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield one completion for each request as soon as it is known, in any order."""
        ...

    def describe(self) -> dict[str, Any]:
        """Engine, versions, device and precision: what a repeated run must share to repeat the answers."""
        ...


def request_seed(seed: int, source_index: int) -> int:
    """The seed of one row (0 <= seed < 2**63): it depends on nothing but the run's seed and the row."""
    digest = hashlib.sha256(f"{seed}:{source_index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def token_budget_batches(requests: Sequence[Request], batch_tokens: int) -> Iterator[list[Request]]:
    """Batches of requests of like prompt length, longest first, each within `batch_tokens` padded tokens.

    The longest come first so that a batch that does not fit into memory fails at the start. A request that
    is over the budget by itself is a batch of one.
    """
    batch: list[Request] = []
    width = room = 0
    for request in sorted(requests, key=lambda item: (-len(item.prompt_ids), -item.max_new_tokens)):
        new_width = max(width, len(request.prompt_ids))
        new_room = max(room, request.max_new_tokens)
        if batch and (len(batch) + 1) * (new_width + new_room) > batch_tokens:
            yield batch
            batch, new_width, new_room = [], len(request.prompt_ids), request.max_new_tokens
        batch.append(request)
        width, room = new_width, new_room
    if batch:
        yield batch
