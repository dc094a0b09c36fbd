"""What an inference engine is: it takes requests of token ids and yields a completion for each."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from polyalign.errors import BadInput
from polyalign.model_folders import load_config
from polyalign.settings import Settings, WebAddress

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
        text: the prompt as text, for an engine that asks for it (`Engine.reads_text`).
        messages: the prompt as chat messages, likewise; a plain-text prompt is one user message.
        schema: JSON schema, as text, that the answer must hold to, written without white space; empty for free text.
    """

    source_index: int
    prompt_ids: Sequence[int]
    max_new_tokens: int
    seed: int
    stop: tuple[str, ...] = ()
    text: str = ""
    messages: Sequence[dict[str, str]] = ()
    schema: str = ""


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


@dataclass(frozen=True)
class Failure:
    """A request that has no answer, and why; the runner names the row and goes on with the others."""

    source_index: int
    reason: str


class VllmSettings(Settings):
    """vLLM, in process or served. GPUs of a job: tensor_parallel times data_parallel."""

    tensor_parallel: int = Field(1, gt=0, description="GPUs that share one copy of the model")
    data_parallel: int = Field(1, gt=0, description="copies of the model that share the rows of a job")
    gpu_memory: float = Field(0.9, gt=0, le=1, description="share of GPU memory for weights and cache")
    prefix_caching: bool = Field(True, description="compute the common start of prompts once")
    enforce_eager: bool = Field(False, description="no CUDA graphs: starts sooner, generates slower")
    max_num_seqs: int = Field(256, gt=0, description="most rows that are generated side by side")


class OpenAISettings(Settings):
    """An OpenAI-compatible server: one that runs somewhere, or one that the job starts for itself."""

    serve: Literal["vllm", "transformers"] | None = Field(
        None, description="start this server for the job and stop it afterwards; null: use base_url"
    )
    base_url: WebAddress | None = Field(
        None, description="such as http://localhost:8000/v1; null: environment variable OPENAI_BASE_URL"
    )
    model: str | None = Field(None, description="the model's name at the server; null: the only one it lists")
    api_key_env: str = Field(
        "OPENAI_API_KEY", description="environment variable that holds the API key; it may be unset"
    )
    prompt: Literal["auto", "token_ids", "text", "chat"] = Field(
        "auto", description="how prompts are sent; auto: the first of these three that the server takes"
    )
    concurrency: int = Field(64, gt=0, description="most requests at a time")
    timeout: float = Field(600, gt=0, description="seconds until a request is given up and sent again")
    retries: int = Field(6, ge=0, description="times that a request is sent again, after growing pauses")
    start_timeout: float = Field(900, gt=0, description="seconds a served model may take to load")


class EngineSettings(Settings):
    """Where and in what portions answers are generated; none of it may change what a row is answered with."""

    engine: Literal["transformers", "vllm", "openai"] = Field(
        "transformers", description="which engine generates"
    )
    batch_tokens: int = Field(
        16384, gt=0, description="transformers: most prompt and answer tokens of a batch, padding included"
    )
    window_rows: int = Field(4096, gt=0, description="rows that are rendered and handed over together")
    max_length: int | None = Field(
        None, gt=0, description="most tokens of prompt and answer; null: what the model's positions allow"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="precision of the weights; auto: models.<name>.dtype"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="transformers: auto is the first GPU, else the CPU"
    )
    vllm: VllmSettings = Field(VllmSettings(), description="vLLM, in process or served")
    openai: OpenAISettings = Field(OpenAISettings(), description="OpenAI-compatible server")

    @property
    def needs_vllm(self) -> bool:
        """Whether a job of this engine runs vLLM, in process or as a server."""
        return self.engine == "vllm" or (self.engine == "openai" and self.openai.serve == "vllm")

    @property
    def gpus(self) -> int:
        """GPUs of a job, where there are any: as many as the engine puts the model on."""
        if self.engine == "openai" and self.openai.serve is None:
            return 0
        return self.vllm.tensor_parallel * self.vllm.data_parallel if self.needs_vllm else 1

    def identity(self) -> dict[str, Any]:
        """What a resumed run must share with the one it goes on from; portions and patience may differ."""
        values = self.model_dump(include={"engine", "max_length", "dtype", "device"})
        if self.engine == "openai":
            values["openai"] = self.openai.model_dump(include={"serve", "model", "prompt"})
        return values


class Engine(Protocol):
    """An inference engine, made for one model and one decoding."""

    max_length: int
    """Most tokens of prompt and answer together."""
    reads_text: bool
    """Whether requests must carry `text` and `messages` beside the ids."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion | Failure]:
        """Yield one completion or failure for each request as soon as it is known, in any order."""
        ...

    def describe(self) -> dict[str, Any]:
        """Engine, versions, device and precision: what a repeated run must share to repeat the answers."""
        ...


def context_length(model_dir: Path, settings: EngineSettings) -> int:
    """Most tokens of prompt and answer that the model in `model_dir` has positions for, or the setting's.

    Raises `BadInput` where the folder holds no model, or neither names a limit.
    """
    if not (model_dir / "config.json").is_file():
        raise BadInput("no model here", file=model_dir, expected="config.json, weights and tokenizer")
    config = load_config(model_dir)
    limits = [settings.max_length, getattr(config, "max_position_embeddings", None)]
    if not any(limits):
        raise BadInput(
            "the model states no max_position_embeddings",
            file=model_dir / "config.json",
            fix="set inference.max_length",
        )
    return min(limit for limit in limits if limit)


def answer_text(tokenizer: Any, tokens: Sequence[int], stop: Sequence[str] = ()) -> str:
    """The answer that tokens say: without special tokens and outer white space, cut at the first stop string."""
    return cut_at_stop(tokenizer.decode(tokens, skip_special_tokens=True), stop)[0]


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """(stripped text before the first stop string, whether there was one)."""
    ends = [text.find(string) for string in stop if string in text]
    return (text[: min(ends)] if ends else text).strip(), bool(ends)


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
