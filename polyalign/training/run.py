"""One training run from rows to checkpoint folder: what SFT, DPO and HDPO share.

The caller's process tokenizes the rows once and opens the state folder; training then runs here or, on
several devices, in processes started by `accelerate launch` that read the same `Job`. The checkpoint folder
appears whole.
"""

import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from datasets import Dataset
from huggingface_hub import constants as hub
from transformers import PrinterCallback
from transformers.utils import logging as transformers_logging

from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import StrPath, read_json, write_json
from polyalign.prompts import MODE_OF_METHOD, template_digest
from polyalign.training import state as states
from polyalign.training.data import RowCounts
from polyalign.training.head import score_labels_alone
from polyalign.training.launch import in_place, launch_command, launch_config, run_launched
from polyalign.training.models import (
    checkpointing,
    load_model,
    load_tokenizer,
    parameter_counts,
    precision_of,
    weights_dtype,
    write_checkpoint,
)
from polyalign.training.recipe import Recipe, accumulation_steps, parse_recipe
from polyalign.training.sharding import keep_outputs

log = logging.getLogger(__name__)

FACTS = "facts.json"
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
    nodes: int = 1
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


class CellArguments(TypedDict):
    """What training a cell is given, whatever its method.

    cell: its name, {lang}_{method}_{model}.
    recipe: a resolved recipe, see `polyalign.training.recipe.resolve_recipe`.
    init_dir: model folder to start from; for preference training it is the reference model too.
    out_dir: the checkpoint folder to write.
    work_root: where resumable state is kept, in {cell}/{fingerprint}.
    max_length: tokens of prompt and answer together.
    code: digest of the code that trains; another digest starts clean.
    gpus: GPUs to use, on all nodes together; 0, the default, trains on CPU.
    processes: training processes, one a device; None, the default, for one a GPU.
    nodes: nodes of a Slurm job that the processes are spread over; 1 is the default.
    """

    cell: str
    recipe: Mapping[str, Any]
    init_dir: StrPath
    out_dir: StrPath
    work_root: StrPath
    seed: int
    max_length: int
    code: str
    gpus: NotRequired[int]
    processes: NotRequired[int | None]
    nodes: NotRequired[int]


def cell_arguments(job: Any) -> CellArguments:
    """Those of a workflow job, as `polyalign.job.run_job` gives it."""
    out_dir = Path(job.output.manifest).parent
    return {
        "cell": out_dir.name,
        "recipe": job.params.recipe,
        "init_dir": Path(job.input.init).parent,
        "out_dir": out_dir,
        "work_root": "work",
        "seed": job.params.seed,
        "max_length": job.params.max_length,
        "code": job.params.code,
        "gpus": job.resources.gpu,
        "nodes": job.resources.get("nodes", 1),
    }


MakeTrainer = Callable[[Job, Any, Any, dict[str, Any], Dataset, Dataset | None], Any]
Tokenize = Callable[[Any, Path], dict[str, RowCounts]]


def trainer_arguments(job: Job) -> dict[str, Any]:
    """Arguments that every trainer of this package shares."""
    recipe = job.settings
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
        "gradient_checkpointing": checkpointing(recipe, job.gpus),
        "logging_steps": recipe.log_every,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": recipe.save_every,
        # The newest may be half-written when the process dies; the one before is then the one to go on from.
        "save_total_limit": 2,
        "eval_strategy": "steps" if recipe.eval_every and job.arrow("val").is_file() else "no",
        "eval_steps": recipe.eval_every,
        "seed": job.seed,
        "data_seed": job.seed,
        "remove_unused_columns": False,
        "include_num_input_tokens_seen": "non_padding",
        "report_to": recipe.tracker,
        "run_name": job.cell,
        "project": "polyalign",
        # Runs are tracked on this machine; publishing them is the user's business.
        "trackio_static_space_id": False,
        "disable_tqdm": True,
    }


def execute(job: Job, make_trainer: MakeTrainer) -> None:
    """Train from the job's state, or go on from its last checkpoint; the last one it leaves is the trained model."""
    if job.gpus and not torch.cuda.is_available():
        raise PolyAlignError("no GPU is visible; fix: set gpus: 0 to train on CPU")
    # Everything a run needs is on disk, and TRL would report runs to its authors. Set here because the
    # environment is read only once, by whoever imports the library first.
    hub.HF_HUB_OFFLINE = hub.HF_HUB_DISABLE_TELEMETRY = True
    transformers_logging.disable_progress_bar()
    score_labels_alone()
    keep_outputs()
    tokenizer = load_tokenizer(job.init_dir)
    model = load_model(job.init_dir, job.settings, max_length=job.max_length, gpus=job.gpus)
    train = Dataset.from_file(str(job.arrow("train")))
    val = Dataset.from_file(str(job.arrow("val"))) if job.arrow("val").is_file() else None
    trainer = make_trainer(job, model, tokenizer, trainer_arguments(job), train, val)
    found = trainer.accelerator.num_processes
    if found != job.processes:
        # The global batch would silently be of another size.
        raise PolyAlignError(f"{found} training processes were started instead of {job.processes}")
    if trainer.accelerator.is_main_process:
        facts = {
            **parameter_counts(trainer.model),
            "attention": model.config._attn_implementation,
            "device": torch.cuda.get_device_name(0) if job.gpus else "cpu",
        }
        write_json(Path(job.state_dir) / FACTS, facts)
    saver = states.StateCallback()
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(saver)
    trainer.add_callback(states.ProgressCallback(evaluates=val is not None))
    trainer.train(resume_from_checkpoint=job.resume)
    if saver.interrupted and trainer.state.global_step < trainer.state.max_steps:
        raise states.Interrupted(
            f"stopped by a signal after step {trainer.state.global_step} of {trainer.state.max_steps}; "
            "fix: run the same command again, it goes on from there"
        )


def worker_main(make_trainer: MakeTrainer) -> None:
    """Run the job file named on the command line; the entry of processes that accelerate starts."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        execute(Job(**read_json(sys.argv[1])), make_trainer)
    except PolyAlignError as error:
        sys.exit(str(error))


def train(job: Job, make_trainer: MakeTrainer, module: str) -> str:
    """Train `job` here or in processes of its own; returns which, in words."""
    settings = job.settings
    if in_place(settings, job.gpus, job.processes):
        execute(job, make_trainer)
        return "in place"
    path = Path(job.state_dir) / JOB
    write_json(path, asdict(job))
    name = launch_config(settings, job.gpus, job.processes)
    precision = precision_of(settings, job.gpus)
    run_launched(launch_command(name, job.processes, precision, module, path, job.nodes))
    where = f" on {job.nodes} nodes" if job.nodes > 1 else ""
    return f"accelerate launch with config/accelerate/{name}.yaml{where}"


def check_tracker(recipe: Recipe) -> None:
    """Raise `BadInput` when the recipe's tracker is not installed."""
    if recipe.tracker != "none" and importlib.util.find_spec(recipe.tracker) is None:
        raise BadInput(
            f"{recipe.tracker} is not installed",
            field="tracker",
            fix=f"pip install {recipe.tracker} in the training environment, or tracker: none",
        )


def tokenized(job: Job, tokenize: Tokenize) -> dict[str, dict[str, int]]:
    """Tokenize the splits into the state folder, once; returns counts by split."""
    counts_file = Path(job.state_dir) / "data" / "counts.json"
    if not counts_file.is_file():
        counts = tokenize(load_tokenizer(job.init_dir), counts_file.parent)
        if not counts["train"].rows:
            raise BadInput("no training rows are left", fix="raise max_length or give more data")
        write_json(counts_file, {split: split_counts.as_dict() for split, split_counts in counts.items()})
    return read_json(counts_file)


def train_cell(
    *,
    cell: str,
    recipe: Mapping[str, Any],
    init_dir: StrPath,
    out_dir: StrPath,
    work_root: StrPath,
    seed: int,
    max_length: int,
    code: str,
    gpus: int = 0,
    processes: int | None = None,
    nodes: int = 1,
    data: Mapping[str, StrPath],
    tokenize: Tokenize,
    make_trainer: MakeTrainer,
    module: str,
    critic_dir: StrPath | None = None,
    buckets: list[str] | None = None,
) -> dict[str, Any]:
    """Run one training job, resuming where an earlier try stopped, and write its checkpoint folder.

    Args:
        cell to nodes: see `CellArguments`.
        data: input files by name; their digests are part of the fingerprint.
        tokenize: writes {split}.arrow files of tokenized rows into a folder and counts them.
        make_trainer, module: builds the trainer; the module whose main does so in other processes.

    Returns:
        Details for the manifest: recipe, rows, tokens, steps, final values, template digest, precision,
        device.

    Raises:
        BadInput: a recipe, record or model that cannot be trained.
        PolyAlignError: the loss became NaN, or training was stopped by a signal (its state is saved).
    """
    settings = parse_recipe(recipe)
    check_tracker(settings)
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
        nodes=nodes,
        critic_dir=None if critic_dir is None else str(critic_dir),
        buckets=list(buckets or []),
        resume=None if resume is None else str(resume),
    )
    counts = tokenized(job, tokenize)
    if resume is not None:
        log.info("going on from %s", resume)
    # Resuming at the last step would run one step more.
    launched = "an earlier try"
    if resume is None or not states.is_last(resume):
        launched = train(job, make_trainer, module)
    trained = states.latest_checkpoint(folder / states.CHECKPOINTS)
    progress, facts = states.progress(trained), read_json(folder / FACTS)
    rows = write_checkpoint(
        out_dir,
        init_dir=init_dir,
        trained=trained,
        recipe=settings,
        history=progress["log_history"],
        title=cell,
    )
    details = {
        "method": settings.method,
        "prompt_mode": MODE_OF_METHOD[settings.method],
        "recipe": dict(recipe),
        "seed": seed,
        "max_length": max_length,
        "rows": counts,
        "steps": progress["global_step"],
        "epochs": progress["epoch"],
        "tokens": progress["num_input_tokens_seen"],
        "parameters": facts["parameters"],
        "trained_parameters": facts["trained_parameters"],
        "final": final_values(rows),
        "template_digest": template_digest(load_tokenizer(init_dir)),
        "precision": precision_of(settings, gpus),
        "weights_dtype": weights_dtype(settings, gpus),
        "attention": facts["attention"],
        "gradient_checkpointing": checkpointing(settings, gpus),
        "device": facts["device"],
        "devices": processes,
        "launched": launched,
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
