"""Start training processes: which file of config/accelerate is meant, and `accelerate launch` with it.

A Snakemake script is one process that Snakemake started. It prepares the rows, writes what a training
process needs to know to job.json and either trains itself or starts

    accelerate launch --config_file config/accelerate/NAME.yaml --num_processes N -m MODULE job.json

whose processes read that file. SIGTERM is passed on, so that a preempted job saves its state. On several nodes of a
Slurm job, `srun` starts that command on each of them, through `polyalign.training.node`.
"""

import importlib.util
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from polyalign.errors import PolyAlignError
from polyalign.training.recipe import Recipe
from polyalign.training.state import Interrupted

log = logging.getLogger(__name__)

CONFIGS = Path(__file__).resolve().parents[2] / "config" / "accelerate"
ROOT = CONFIGS.parents[1]


def launch_config(recipe: Recipe, gpus: int, processes: int) -> str:
    """Name of the file of config/accelerate: cpu, gpu (one GPU), or the recipe's ddp, fsdp or zero3."""
    if not gpus:
        return "cpu"
    if processes == 1 and recipe.distributed == "ddp":
        return "gpu"
    return recipe.distributed


def in_place(recipe: Recipe, gpus: int, processes: int) -> bool:
    """Whether the calling process trains itself: one process that shares nothing needs no launcher."""
    alone = processes == 1 and launch_config(recipe, gpus, processes) in ("cpu", "gpu")
    return alone and recipe.launcher == "auto"


def launch_command(
    name: str, processes: int, precision: str, module: str, job: Path, nodes: int = 1
) -> list[str]:
    """The command that trains `job` in `processes` processes under config/accelerate/`name`.yaml.

    Args:
        processes: on all nodes together.
        precision: `bfloat16` (autocast) or `float32`.
        module: run in every process, with the path of `job` as its argument.
        nodes: nodes of the Slurm job that this process runs in, on the first of them.

    Raises:
        PolyAlignError: DeepSpeed or srun is needed and not there, or the nodes cannot share the processes equally.
    """
    if name == "zero3" and importlib.util.find_spec("deepspeed") is None:
        raise PolyAlignError(
            "distributed: zero3 needs DeepSpeed; fix: pip install deepspeed in the training environment, "
            "or distributed: fsdp"
        )
    command = (
        [sys.executable, "-m", "accelerate.commands.launch"] if nodes == 1 else _on_nodes(nodes, processes)
    )
    command += ["--config_file", str(CONFIGS / f"{name}.yaml"), "--num_processes", str(processes)]
    command += ["--mixed_precision", "bf16" if precision == "bfloat16" else "no"]
    if name == "cpu" and processes > 1:
        # By its configuration alone, accelerate starts CPU processes through MPI; this flag stands for
        # torch's launcher, and `use_cpu` in the file keeps the processes on the CPU.
        command.append("--multi_gpu")
    port = 0 if nodes == 1 else _free_port()  # 0: accelerate finds one, on this node alone
    return [*command, "--main_process_port", str(port), "-m", module, str(job)]


def _on_nodes(nodes: int, processes: int) -> list[str]:
    """The start of a command that runs accelerate's launcher once on every node of the Slurm job."""
    if processes % nodes:
        raise PolyAlignError(
            f"{processes} processes do not share {nodes} nodes; fix: gpus: a multiple of {nodes}"
        )
    if shutil.which("srun") is None:
        raise PolyAlignError(f"nodes: {nodes} needs srun, which is not found; fix: nodes: 1 outside Slurm")
    command = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    command += [sys.executable, "-m", "polyalign.training.node"]
    return [*command, "--num_machines", str(nodes), "--main_process_ip", socket.gethostname()]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def run_launched(command: list[str]) -> None:
    """Run a launch command to its end, passing SIGTERM on to its processes.

    Raises:
        Interrupted: it was stopped by SIGTERM, with its state saved.
        PolyAlignError: a process failed; its words are in the log.
    """
    log.info("starting: %s", " ".join(command))
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    # A group of its own, so that every process of it can be told to stop and waited for.
    child = subprocess.Popen(command, env=environment, start_new_session=True)
    stopped = []

    def stop(number: int, frame: object) -> None:
        stopped.append(number)
        os.killpg(child.pid, signal.SIGTERM)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        code = child.wait()
        while stopped and _group_lives(child.pid):
            time.sleep(0.2)  # a launcher of one process ends at once, the process when it has saved
    finally:
        signal.signal(signal.SIGTERM, previous)
    if code and stopped:
        raise Interrupted("stopped by a signal; fix: run the same command again, it goes on from there")
    if code:
        raise PolyAlignError(f"training processes ended with exit code {code}; fix: see this rule's log")


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
