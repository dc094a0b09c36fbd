"""How training processes are started, and that two of them do what one does."""

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from accelerate.commands import launch as accelerate_launch
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env
from training_world import (
    arguments,
    close,
    equal,
    history,
    make_world,
    recipe,
    tables,
    untrained_critic,
    weights,
)

from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import read_table, write_table
from polyalign.training import launch, run
from polyalign.training.preference import PreferenceTrainer
from polyalign.training.recipe import parse_recipe
from polyalign.training.run_hdpo import own_device, train_hdpo
from polyalign.training.run_sft import train_sft
from polyalign.training.sft import WeightedSftTrainer
from polyalign.training.sharding import keep_outputs
from polyalign.training.state import Interrupted

TYPES = {
    "cpu": DistributedType.MULTI_CPU,
    "gpu": DistributedType.NO,
    "ddp": DistributedType.MULTI_GPU,
    "fsdp": DistributedType.FSDP,
    "zero3": DistributedType.DEEPSPEED,
}
COMMON = {"compute_environment", "distributed_type", "use_cpu", "mixed_precision", "main_training_function"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def launched_environment(name, processes, monkeypatch):
    """The environment that accelerate's own launcher makes of a file, for its processes."""
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda module: module)
        command = launch.launch_command(name, processes, "float32", "some.module", Path("job.json"))
    assert command[1:3] == ["-m", "accelerate.commands.launch"]
    started = {}
    for launcher in ("multi_gpu", "deepspeed", "simple"):
        monkeypatch.setattr(accelerate_launch, f"{launcher}_launcher", partial(started.__setitem__, launcher))
    accelerate_launch.launch_command(accelerate_launch.launch_command_parser().parse_args(command[3:]))
    ((launcher, given),) = started.items()
    assert given.num_processes == processes
    if launcher == "deepspeed":
        return prepare_deepspeed_cmd_env(given)[1]
    assert launcher == "multi_gpu"
    return prepare_multi_gpu_env(given)


@pytest.mark.parametrize("name", TYPES)
def test_accelerate_reads_every_file_and_knows_every_key(name):
    path = launch.CONFIGS / f"{name}.yaml"
    config = load_config_from_file(str(path))  # refuses unknown keys
    assert isinstance(config, ClusterConfig)
    assert config.distributed_type == TYPES[name]
    assert config.use_cpu == (name == "cpu")
    options = {action.dest for action in accelerate_launch.launch_command_parser()._actions}
    values = yaml.safe_load(path.read_text())
    nested = {key for value in values.values() if isinstance(value, dict) for key in value}
    plain = {key for key, value in values.items() if not isinstance(value, dict)} - COMMON
    assert (nested | plain) <= options


def test_every_file_stands_for_a_choice():
    assert {path.stem for path in launch.CONFIGS.glob("*.yaml")} == set(TYPES)


def test_fsdp_settings_arrive(monkeypatch):
    environment = launched_environment("fsdp", 4, monkeypatch)
    assert environment["ACCELERATE_USE_FSDP"] == "true"
    for key, value in environment.items():
        if key.startswith(("FSDP_", "ACCELERATE_")):
            monkeypatch.setenv(key, value)
    plugin = FullyShardedDataParallelPlugin()
    assert (plugin.fsdp_version, plugin.reshard_after_forward) == (2, True)
    assert str(plugin.state_dict_type).endswith("FULL_STATE_DICT"), "one file of weights, whole"
    assert type(plugin.cpu_offload).__name__ == "OffloadPolicy", "nothing is offloaded"
    assert environment["ACCELERATE_MIXED_PRECISION"] == "no", "what the recipe says, not the file"
    # In bfloat16, log-probabilities would be rounded to it as well: -77.02 becomes -77, the next is -76.5.
    original = FullyShardedDataParallelPlugin.set_mixed_precision
    monkeypatch.setattr(FullyShardedDataParallelPlugin, "set_mixed_precision", original)
    keep_outputs()
    plugin.set_mixed_precision("bf16")
    policy = plugin.mixed_precision_policy
    assert (policy.param_dtype, policy.reduce_dtype, policy.output_dtype) == (torch.bfloat16,) * 2 + (None,)


def test_zero3_settings_arrive(monkeypatch):
    environment = launched_environment("zero3", 4, monkeypatch)
    assert environment["ACCELERATE_USE_DEEPSPEED"] == "true"
    assert environment["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"
    assert environment["ACCELERATE_DEEPSPEED_ZERO3_INIT"] == "true"
    assert environment["ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL"] == "true"


@pytest.mark.parametrize("trainer", [WeightedSftTrainer, PreferenceTrainer])
def test_deepspeed_does_not_round_what_the_loss_is_made_of(trainer):
    """The Trainer's own code, told that DeepSpeed trains in bfloat16."""
    told = object.__new__(trainer)
    told.args = SimpleNamespace(device=torch.device("cpu"))
    told.is_deepspeed_enabled = True
    plugin = SimpleNamespace(hf_ds_config=SimpleNamespace(dtype=lambda: torch.bfloat16))
    told.accelerator = SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin))
    batch = {"input_ids": torch.tensor([[1, 2]]), "ref_chosen_logps": torch.tensor([-77.022])}
    found = told._prepare_inputs(batch)
    assert {name: (column.dtype, column.tolist()) for name, column in found.items()} == {
        name: (column.dtype, column.tolist()) for name, column in batch.items()
    }


def test_the_file_follows_from_recipe_and_devices():
    def choice(gpus, processes, **changes):
        settings = parse_recipe(recipe("hdpo", **changes))
        return launch.launch_config(settings, gpus, processes), launch.in_place(settings, gpus, processes)

    assert choice(0, 1) == ("cpu", True)
    assert choice(0, 2) == ("cpu", False)
    assert choice(1, 1) == ("gpu", True)
    assert choice(1, 1, launcher="accelerate") == ("gpu", False)
    assert choice(8, 8) == ("ddp", False)
    assert choice(8, 8, distributed="fsdp") == ("fsdp", False)
    assert choice(1, 1, distributed="zero3") == ("zero3", False)
    assert choice(0, 1, distributed="zero3") == ("cpu", True)


def test_what_is_not_installed_is_named(world, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(PolyAlignError, match="pip install deepspeed"):
        launch.launch_command("zero3", 8, "bfloat16", "m", Path("job.json"))
    given = {"train": world / "train.parquet", "val": None, **arguments(world, tmp_path)}
    with pytest.raises(BadInput, match="pip install wandb"):
        train_sft(recipe=recipe("sft", tracker="wandb"), **given)
    with pytest.raises(BadInput, match="flash_attention_2 runs on GPUs"):
        train_sft(recipe=recipe("sft", attention="flash_attention_2"), **given)
    assert not (tmp_path / "checkpoint").exists()


# Several prepared jobs in the same two processes: starting processes costs more than training a tiny model.
WORKER = """
import sys
from polyalign.files import read_json
from polyalign.training.run import Job, execute
from polyalign.training.run_hdpo import make_trainer
for path in sys.argv[1:]:
    execute(Job(**read_json(path)), make_trainer)
"""
# accelerate shards over GPUs alone, for which processes on the CPU stand in here. One that waits in vain ends.
SHARDED = (
    """
import datetime, torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType
PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))
torch.distributed.init_process_group("gloo", timeout=datetime.timedelta(seconds=90))
"""
    + WORKER
)


class Prepared(Exception):
    """A job is ready to be launched."""


def prepare(given, monkeypatch):
    """Everything of a two-process run up to its launch; returns the job file."""
    jobs = []

    def stop(command):
        jobs.append(command[-1])
        raise Prepared

    with monkeypatch.context() as patch:
        patch.setattr(run, "run_launched", stop)
        with pytest.raises(Prepared):
            train_hdpo(**given, processes=2)
    return jobs[0]


def test_hdpo_in_two_processes(world, tmp_path, monkeypatch):
    """Ours: the same as one process, weights and all. Published, at a micro batch of one: weights vanish."""
    table = read_table(world / "pairs.parquet")
    flat = table.drop_columns("hdpo_weight").append_column("hdpo_weight", [[1.0] * table.num_rows])
    write_table(world / "flat.parquet", flat)
    micro = {"weight_normalization": "micro"}
    runs = {
        "ours": ("pairs.parquet", {}),
        "flat": ("flat.parquet", {}),
        "published": ("pairs.parquet", micro),
        "published_flat": ("flat.parquet", micro),
    }
    given = {}
    for name, (pairs, changes) in runs.items():
        (tmp_path / name).mkdir()
        chosen = recipe("hdpo", online={"mode": "off"}, micro_batch_size=1, max_steps=3, **changes)
        given[name] = {
            **tables(world, pairs),
            "critic_dir": None,
            "recipe": chosen,
            **arguments(world, tmp_path / name),
        }
    one = tmp_path / "one"
    one.mkdir()
    train_hdpo(**{**given["ours"], **arguments(world, one)})
    jobs = [prepare(given[name], monkeypatch) for name in runs]
    (tmp_path / "worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    launch.run_launched([*launch.launch_command("cpu", 2, "float32", "worker", Path(jobs[0])), *jobs[1:]])
    details = {name: train_hdpo(**given[name], processes=2) for name in runs}
    assert details["ours"]["devices"] == 2
    assert details["ours"]["accumulation_steps"] == 4
    assert close(weights(one), weights(tmp_path / "ours"))
    assert not close(weights(tmp_path / "ours"), weights(tmp_path / "flat"))
    assert equal(weights(tmp_path / "published"), weights(tmp_path / "published_flat"))


def test_sharded_weights_train_as_whole_ones_do(world, tmp_path, monkeypatch):
    """HDPO under FSDP, with answers of the policy that end at another token on each device: nobody waits for ever."""
    critic = untrained_critic(world)
    online = {"mode": "score_function", "every": 1, "max_new_tokens": 90, "weight": 0.5}
    shared = {"micro_batch_size": 1, "global_batch_size": 2, "max_steps": 3, "online": online, "eval_rows": 4}
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "sharded.py").write_text(SHARDED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    details = {}
    for name, module in (("cpu", "worker"), ("fsdp", "sharded")):
        (tmp_path / name).mkdir()
        given = {
            **{kind: {**of, "val": of["train"]} for kind, of in tables(world).items()},
            "critic_dir": critic,
            "recipe": recipe("hdpo", **shared),
            **arguments(world, tmp_path / name),
        }
        job = prepare(given, monkeypatch)
        launch.run_launched(launch.launch_command(name, 2, "float32", module, Path(job)))
        details[name] = train_hdpo(**given, processes=2)
    ended = [float(row["online/tokens"]) for row in history(tmp_path / "fsdp")]
    assert any(length < 90 for length in ended), "answers of different lengths, or the test shows nothing"
    assert close(weights(tmp_path / "cpu"), weights(tmp_path / "fsdp"))
    assert details["cpu"]["final"] == pytest.approx(details["fsdp"]["final"], abs=1e-5)
    assert details["cpu"]["parameters"] == details["fsdp"]["parameters"]


# What srun does with such a command, on this machine: one process a node, which is told its number.
SRUN = """#!{python}
import os, subprocess, sys
options = [word for word in sys.argv[1:] if word.startswith("--nodes=")]
command = sys.argv[sys.argv.index({python!r}):]
nodes = int(options[0].split("=")[1])
started = [subprocess.Popen(command, env={{**os.environ, "SLURM_NODEID": str(node)}}) for node in range(nodes)]
sys.exit(max(process.wait() for process in started))
"""


def test_sft_on_two_nodes_is_that_of_one_process(world, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    srun = tmp_path / "bin/srun"
    srun.write_text(SRUN.format(python=sys.executable))
    srun.chmod(0o755)
    chosen = recipe("sft", micro_batch_size=1, max_steps=2)
    given = {"train": world / "train.parquet", "val": None, "recipe": chosen}
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    train_sft(**given, **arguments(world, tmp_path / "one"))
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PolyAlignError, match="nodes: 2 needs srun"):
        train_sft(**given, **arguments(world, tmp_path / "two"), processes=2, nodes=2)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{path}")
    details = train_sft(**given, **arguments(world, tmp_path / "two"), processes=2, nodes=2)
    assert details["launched"] == "accelerate launch with config/accelerate/cpu.yaml on 2 nodes"
    assert details["devices"] == 2
    assert close(weights(tmp_path / "one"), weights(tmp_path / "two"))
    with pytest.raises(PolyAlignError, match="4 processes do not share 3 nodes"):
        train_sft(**given, **arguments(world, tmp_path / "three"), processes=4, nodes=3)


def test_the_critic_lies_on_the_gpu_of_its_process(monkeypatch):
    """No library has chosen a device by then, so the launcher's number does; else all would lie on the first."""
    assert [own_device(0), own_device(1)] == ["cpu", "cuda:0"]
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [own_device(0), own_device(8)] == ["cpu", "cuda:3"]


SLEEPER = """
import signal, sys, time
from pathlib import Path
def stop(*_):
    time.sleep(0.5)
    Path(sys.argv[1]).with_name("saved").write_text("saved")
    sys.exit(1)
signal.signal(signal.SIGTERM, stop)
Path(sys.argv[1]).with_name("ready").write_text("ready")
time.sleep(60)
"""


def test_sigterm_reaches_launched_processes_and_waits_for_them(tmp_path):
    """Also where the launcher itself dies of it at once, as accelerate's does for a single process."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    inner = [sys.executable, str(tmp_path / "sleeper.py"), str(tmp_path / "job.json")]
    code = f"import subprocess; subprocess.run({inner!r})"

    def terminate():
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=terminate)
    thread.start()
    with pytest.raises(Interrupted, match="run the same command again"):
        launch.run_launched([sys.executable, "-c", code])
    thread.join()
    assert (tmp_path / "saved").exists()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_failed_process_is_an_error():
    with pytest.raises(PolyAlignError, match="exit code 3"):
        launch.run_launched([sys.executable, "-c", "raise SystemExit(3)"])
