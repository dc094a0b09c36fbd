"""A model served over HTTP for as long as a job runs: started, waited for, and stopped whatever happens.

    with serve_model(Path("model"), settings) as url:
        ...

The server runs in the job's own environment and writes to the job's log. It listens on this machine alone, and it
ends when the job does, killed or not.
"""

import ctypes
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyalign.errors import PolyAlignError
from polyalign.inference.engine import EngineSettings, context_length
from polyalign.model_folders import check_weights

log = logging.getLogger(__name__)

_HOST = "127.0.0.1"
STRUCTURED_OUTPUTS = {"backend": "guidance", "disable_any_whitespace": True}
"""How vLLM holds an answer to a JSON schema: by the library of the transformers engine, and without white space, for a
model that writes line ends for ever keeps to most schemas. vLLM takes this for an engine, not for a request."""
_STOP_SECONDS = 30
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _vllm_command(model_dir: Path, port: int, settings: EngineSettings) -> list[str]:
    vllm = settings.vllm
    options = {
        "--model": str(model_dir),
        "--host": _HOST,
        "--port": str(port),
        "--dtype": settings.dtype,
        "--max-model-len": str(context_length(model_dir, settings)),
        "--tensor-parallel-size": str(vllm.tensor_parallel),
        "--data-parallel-size": str(vllm.data_parallel),
        "--gpu-memory-utilization": str(vllm.gpu_memory),
        "--max-num-seqs": str(vllm.max_num_seqs),
        "--generation-config": "vllm",
        "--structured-outputs-config": json.dumps(STRUCTURED_OUTPUTS),
        "--uvicorn-log-level": "warning",
    }
    flags = [
        "--enable-prefix-caching" if vllm.prefix_caching else "--no-enable-prefix-caching",
        *(["--enforce-eager"] if vllm.enforce_eager else []),
    ]
    # The module, not the `vllm` command: the CPU build has no such command.
    module = "vllm.entrypoints.openai.api_server"
    return [sys.executable, "-m", module, *(part for pair in options.items() for part in pair), *flags]


def _transformers_command(model_dir: Path, port: int, settings: EngineSettings) -> list[str]:
    device = "cpu" if settings.device == "cpu" else "auto"
    program = "from transformers.cli.transformers import main; main()"
    return [
        *(sys.executable, "-c", program, "serve", str(model_dir), "--host", _HOST, "--port", str(port)),
        *("--device", device, "--dtype", settings.dtype),
    ]


_COMMANDS: dict[str, Callable[[Path, int, EngineSettings], list[str]]] = {
    "vllm": _vllm_command,
    "transformers": _transformers_command,
}


@contextmanager
def serve_model(model_dir: Path, settings: EngineSettings) -> Iterator[str]:
    """Serve the model in `model_dir` as `settings.openai.serve` says; gives the base URL, ending in /v1.

    Raises `PolyAlignError` where the server ends or does not answer within `openai.start_timeout` seconds.
    """
    kind = settings.openai.serve
    model_dir = model_dir.resolve()
    check_weights(model_dir)
    port = _free_port()
    command = _COMMANDS[kind](model_dir, port, settings)
    environment = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", **os.environ}
    process = subprocess.Popen(
        command, env=environment, start_new_session=True, preexec_fn=_die_with_parent, stdout=2
    )
    try:
        begin = time.monotonic()
        _wait(process, port, kind, settings.openai.start_timeout)
        log.info("%s server ready after %.0f s", kind, time.monotonic() - begin)
        yield f"http://{_HOST}:{port}/v1"
    finally:
        _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return probe.getsockname()[1]


def _die_with_parent() -> None:
    """In the new process: end it when its parent is gone, killed included. Linux only; elsewhere `_stop` must do."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(process: subprocess.Popen, port: int, kind: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise PolyAlignError(
                f"the {kind} server ended with exit code {process.returncode} before it answered;"
                " what it said stands in this log above"
            )
        if _healthy(port):
            return
        time.sleep(0.25)
    raise PolyAlignError(
        f"the {kind} server did not answer within {timeout:.0f} s; fix: raise inference.openai.start_timeout"
    )


def _healthy(port: int) -> bool:
    import http.client

    connection = http.client.HTTPConnection(_HOST, port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen) -> None:
    """End the server, which ends its own processes, and whatever is left of its group."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        log.warning("the server did not end within %d s of being asked to; killed", _STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
