"""One training run from rows to checkpoint folder: what SFT, DPO and HDPO share.

The caller's process tokenizes the rows once and opens the state folder; training then runs here or, on
several devices, in processes started by `accelerate launch` that read the same `Job`. The checkpoint folder
appears whole.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# TRL would report runs to its authors, and everything a run needs is on disk.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerState
from transformers.utils import logging as transformers_logging

from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import StrPath, atomic_directory, read_json, write_json
from polyalign.prompts import MODE_OF_METHOD, end_token_id, template_digest
from polyalign.training import state as states
from polyalign.training.curves import plot_loss_curve, write_training_log
from polyalign.training.data import RowCounts
from polyalign.training.recipe import Recipe, accumulation_steps, parse_recipe

log = logging.getLogger(__name__)

ACCELERATE_CONFIGS = Path(__file__).resolve().parents[2] / "config" / "accelerate"
RESULT = "result.json"
FINAL = "final"
JOB = "job.json"


@dataclass(frozen=True)
class Job:
    """What a training process needs to know, in plain JSON values."""

    cell: str
    init_dir: str
    state_dir: str
    recipe: dict[str, Any]
    max_length: int
    seed: int
    gpus: int = 0
    processes: int = 1
    critic_dir: str | None = None
    buckets: list[str] = field(default_factory=list)
    resume: str | None = None

    @property
    def settings(self) -> Recipe:
        """The typed recipe."""
        return parse_recipe(self.recipe)

    def arrow(self, split: str) -> Path:
        """The tokenized rows of a split."""
        return Path(self.state_dir) / "data" / f"{split}.arrow"


def precision_of(recipe: Recipe, gpus: int) -> str:
    """Precision of the forward and backward pass: bfloat16 autocast or float32."""
    if recipe.precision == "auto":
        return "bfloat16" if gpus else "float32"
    return recipe.precision


MakeTrainer = Callable[[Job, Any, Any, dict[str, Any], Dataset, Dataset | None], Any]
Tokenize = Callable[[Any, Path], dict[str, RowCounts]]


def load_tokenizer(folder: StrPath) -> Any:
    """A model folder's tokenizer, with chat template, a padding token, and the end of a turn as its EOS.

    Raises:
        BadInput: it has no chat template or no EOS.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for name in ("chat_template", "eos_token"):
        if getattr(tokenizer, name) is None:
            raise BadInput(f"the tokenizer has no {name}", file=folder, fix="build or fetch the model again")
    if tokenizer.pad_token is None:
        # Harmless: labels and masks go by length, so a padded EOS is never mistaken for a learned one.
        tokenizer.pad_token = tokenizer.eos_token
    # Base models end documents, templates end turns, often by another token. The turn's end is what is learned,
    # and the checkpoint's tokenizer and generation config say so.
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end_token_id(tokenizer, "plain"))
    return tokenizer


def trainer_arguments(job: Job) -> dict[str, Any]:
    """Arguments that every trainer of this package shares."""
    recipe = job.settings
    checkpointing = recipe.gradient_checkpointing
    return {
        "output_dir": str(Path(job.state_dir) / states.CHECKPOINTS),
        "per_device_train_batch_size": recipe.micro_batch_size,
        "per_device_eval_batch_size": recipe.micro_batch_size,
        "gradient_accumulation_steps": accumulation_steps(recipe, job.processes),
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": recipe.warmup_ratio,
        "num_train_epochs": recipe.epochs,
        "max_steps": recipe.max_steps or -1,
        "optim": "adamw_torch",
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "max_length": None,
        "bf16": precision_of(recipe, job.gpus) == "bfloat16",
        "fp16": False,
        "use_cpu": job.gpus == 0,
        "gradient_checkpointing": job.gpus > 0 if checkpointing == "auto" else checkpointing,
        "logging_steps": recipe.log_every,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": recipe.save_every,
        # The newest may be half-written when the process dies; the one before is then the one to go on from.
        "save_total_limit": 2,
        "eval_strategy": "steps" if recipe.eval_every else "no",
        "eval_steps": recipe.eval_every,
        "seed": job.seed,
        "data_seed": job.seed,
        "remove_unused_columns": False,
        "include_num_input_tokens_seen": "non_padding",
        "report_to": recipe.tracker,
        "run_name": job.cell,
        "disable_tqdm": True,
    }


def load_model(job: Job) -> Any:
    """The initial model with float32 master weights."""
    model = AutoModelForCausalLM.from_pretrained(job.init_dir, dtype=torch.float32)
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and limit < job.max_length:
        raise BadInput(
            f"max_length {job.max_length} is more than the model's {limit} positions",
            file=job.init_dir,
            field="max_length",
            expected=f"at most {limit}",
        )
    return model


def execute(job: Job, make_trainer: MakeTrainer) -> None:
    """Train from the job's state, or go on from its last checkpoint; leaves final model and result in the state."""
    if job.gpus and not torch.cuda.is_available():
        raise PolyAlignError("no GPU is visible; fix: set gpus: 0 to train on CPU")
    transformers_logging.disable_progress_bar()
    tokenizer, model = load_tokenizer(job.init_dir), load_model(job)
    train = Dataset.from_file(str(job.arrow("train")))
    val = Dataset.from_file(str(job.arrow("val"))) if job.arrow("val").is_file() else None
    trainer = make_trainer(job, model, tokenizer, trainer_arguments(job), train, val)
    found = trainer.accelerator.num_processes
    if found != job.processes:
        # The global batch would silently be of another size.
        raise PolyAlignError(f"{found} training processes were started instead of {job.processes}")
    saver = states.StateCallback()
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(saver)
    trainer.add_callback(states.ProgressCallback())
    if finished(job):
        # Resuming at the last step would run one step more.
        trainer._load_from_checkpoint(job.resume)
        trainer.state = TrainerState.load_from_json(str(Path(job.resume) / "trainer_state.json"))
    else:
        trainer.train(resume_from_checkpoint=job.resume)
    if saver.interrupted and trainer.state.global_step < trainer.state.max_steps:
        raise states.Interrupted(
            f"stopped by a signal after step {trainer.state.global_step} of {trainer.state.max_steps}; "
            "fix: run the same command again, it goes on from there"
        )
    if val is not None:
        trainer.evaluate()
    final = Path(job.state_dir) / FINAL
    trainer.save_model(str(final))
    if trainer.accelerator.is_main_process:
        result = {
            "log_history": trainer.state.log_history,
            "steps": trainer.state.global_step,
            "epochs": trainer.state.epoch,
            "tokens": trainer.state.num_input_tokens_seen,
            "parameters": sum(p.numel() for p in model.parameters()),
            "device": torch.cuda.get_device_name(0) if job.gpus else "cpu",
        }
        write_json(Path(job.state_dir) / RESULT, result)


def finished(job: Job) -> bool:
    """Whether the checkpoint to go on from is of the run's last step."""
    if job.resume is None:
        return False
    state = read_json(Path(job.resume) / "trainer_state.json")
    return state["global_step"] >= state["max_steps"]


def worker_main(make_trainer: MakeTrainer) -> None:
    """Run the job file named on the command line; the entry of processes that accelerate starts."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        execute(Job(**read_json(sys.argv[1])), make_trainer)
    except PolyAlignError as error:
        sys.exit(str(error))


def launch(job: Job, module: str) -> None:
    """Run `module` on the job in several processes.

    Raises:
        PolyAlignError: a process failed; its words are in the log.
    """
    path = Path(job.state_dir) / JOB
    write_json(path, asdict(job))
    if job.gpus:
        config = ACCELERATE_CONFIGS / f"{job.settings.distributed}.yaml"
        launcher = ["accelerate.commands.launch", "--config_file", str(config), "--main_process_port", "0"]
        launcher += ["--num_processes", str(job.processes)]
    else:
        # accelerate starts processes on CPUs through MPI only.
        launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(job.processes)]
    command = [sys.executable, "-m", *launcher, "-m", module, str(path)]
    log.info("starting %d processes: %s", job.processes, " ".join(command))
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    child = subprocess.Popen(command, env=environment)
    previous = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        code = child.wait()
    finally:
        signal.signal(signal.SIGTERM, previous)
    if code:
        raise PolyAlignError(f"training processes ended with exit code {code}; fix: see this rule's log")


def tokenized(job: Job, tokenize: Tokenize) -> dict[str, dict[str, int]]:
    """Tokenize the splits into the state folder, once; returns counts by split."""
    counts_file = Path(job.state_dir) / "data" / "counts.json"
    if not counts_file.is_file():
        counts = tokenize(load_tokenizer(job.init_dir), counts_file.parent)
        if not counts["train"].rows:
            raise BadInput("no training rows are left", fix="raise max_length or give more data")
        write_json(counts_file, {split: split_counts.as_dict() for split, split_counts in counts.items()})
    return read_json(counts_file)


def write_checkpoint(job: Job, out_dir: StrPath, result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Write the checkpoint folder, whole or not at all; returns the rows of its training log.

    Holds model (safetensors), tokenizer, chat_template.jinja, training_log.csv and loss_curve.png.
    """
    dtype = job.settings.save_dtype
    if dtype == "auto":
        dtype = _stored_dtype(job.init_dir)
    tokenizer = load_tokenizer(job.init_dir)
    model = AutoModelForCausalLM.from_pretrained(
        Path(job.state_dir) / FINAL, dtype=getattr(torch, dtype), device_map=None
    )
    model.config.use_cache = True
    # Engines must stop at the EOS that training taught.
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    with atomic_directory(out_dir) as folder:
        # One file whatever the size, so that its name can be declared.
        model.save_pretrained(folder, max_shard_size="1TB")
        tokenizer.save_pretrained(folder)
        (folder / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
        rows = write_training_log(folder / "training_log.csv", result["log_history"])
        plot_loss_curve(folder / "loss_curve.png", rows, title=job.cell)
    return rows


def _stored_dtype(folder: StrPath) -> str:
    config = read_json(Path(folder) / "config.json")
    found = config.get("dtype") or config.get("torch_dtype")
    return found if found in ("float32", "bfloat16") else "float32"


def train_cell(
    *,
    cell: str,
    recipe: Mapping[str, Any],
    data: Mapping[str, StrPath],
    tokenize: Tokenize,
    init_dir: StrPath,
    out_dir: StrPath,
    work_root: StrPath,
    seed: int,
    max_length: int,
    code: str,
    gpus: int,
    make_trainer: MakeTrainer,
    module: str,
    critic_dir: StrPath | None = None,
    buckets: list[str] | None = None,
    processes: int | None = None,
) -> dict[str, Any]:
    """Run one training job, resuming where an earlier try stopped, and write its checkpoint folder.

    Args:
        data: input files by name; their digests are part of the fingerprint.
        tokenize: writes {split}.arrow files of tokenized rows into a folder and counts them.
        make_trainer, module: builds the trainer; the module whose main does so in other processes.
        processes: training processes, one a device; None for one a GPU.

    Returns:
        Details for the manifest: recipe, rows, tokens, steps, final values, template digest, precision,
        device.
    """
    settings = parse_recipe(recipe)
    processes = processes or max(gpus, 1)
    accumulation = accumulation_steps(settings, processes)
    parts = states.fingerprint(
        data=data,
        init_dir=init_dir,
        recipe=recipe,
        max_length=max_length,
        seed=seed,
        precision=precision_of(settings, gpus),
        code=code,
        critic_dir=critic_dir,
    )
    folder = states.open_state(work_root, cell, parts)
    resume = states.latest_checkpoint(folder / states.CHECKPOINTS)
    job = Job(
        cell=cell,
        init_dir=str(init_dir),
        state_dir=str(folder),
        recipe=dict(recipe),
        max_length=max_length,
        seed=seed,
        gpus=gpus,
        processes=processes,
        critic_dir=None if critic_dir is None else str(critic_dir),
        buckets=list(buckets or []),
        resume=None if resume is None else str(resume),
    )
    counts = tokenized(job, tokenize)
    if not (folder / RESULT).is_file():
        if resume is not None:
            log.info("going on from %s", resume)
        if processes > 1:
            launch(job, module)
        else:
            execute(job, make_trainer)
    result = read_json(folder / RESULT)
    rows = write_checkpoint(job, out_dir, result)
    details = {
        "method": settings.method,
        "prompt_mode": MODE_OF_METHOD[settings.method],
        "recipe": dict(recipe),
        "seed": seed,
        "max_length": max_length,
        "rows": counts,
        "steps": result["steps"],
        "epochs": result["epochs"],
        "tokens": result["tokens"],
        "parameters": result["parameters"],
        "final": final_values(rows),
        "template_digest": template_digest(load_tokenizer(init_dir)),
        "precision": precision_of(settings, gpus),
        "device": result["device"],
        "devices": processes,
        "accumulation_steps": accumulation,
        "fingerprint": folder.name,
    }
    states.remove_state(folder)
    return details


def final_values(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The last logged value of every loss and term."""
    values: dict[str, float] = {}
    for row in rows:
        values.update(
            {k: v for k, v in row.items() if k.removeprefix("eval_").startswith(("loss", "online/"))}
        )
    return values
