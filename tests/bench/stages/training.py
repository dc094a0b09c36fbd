"""Training steps of the preference trainer beside TRL's own, on the same batches.

python -m tests.bench.stages.training      # one run of both by turns: the ratio of their step times
"""

import resource
import statistics
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.harness import Case, Space

TITLE = "Training steps, HDPO beside TRL's DPO"
BOUND = (
    "Forward and backward passes of the model; scores, weights and reference log-probabilities are columns of the "
    "batch and add a few vectors of its size."
)
ROWS, BATCH, HIDDEN = 256, 8, 192
TURNS = 30
MAX_LENGTH = 192


def _world(space: Space) -> Path:
    from tests.unit.training_world import make_world

    folder = space.data / f"training-{ROWS}-{HIDDEN}"
    if not (folder / "pairs.parquet").is_file():
        make_world(folder, ROWS, HIDDEN)
    return folder


def _prepare(space: Space) -> None:
    _world(space)


def _settings(**changes: Any) -> dict[str, Any]:
    """HDPO without its online term, which samples answers and is no part of a plain step."""
    from tests.unit.training_world import recipe

    small = {"global_batch_size": BATCH, "micro_batch_size": BATCH, "max_steps": None, "save_every": 10_000}
    return recipe("hdpo", **{**small, "log_every": 10_000, "online": {"mode": "off"}, **changes})


def trainers(world: Path, out: Path) -> dict[str, Any]:
    """TRL's DPOTrainer and the HDPO trainer on the same tokenized pairs, references computed."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    from polyalign.training import data, run, run_preference
    from polyalign.training.models import load_model, load_tokenizer
    from polyalign.training.recipe import parse_recipe

    class OnTokens(DPOTrainer):
        """TRL's trainer on pairs that are tokenized already."""

        def _prepare_dataset(self, dataset: Any, *given: Any) -> Any:
            return dataset

    chosen = _settings()
    job = run.Job("bench", str(world / "base"), str(out), chosen, MAX_LENGTH, 1)
    tokenizer, typed = load_tokenizer(world / "base"), parse_recipe(chosen)
    buckets = run_preference.bucket_names({"train": world / "pairs.parquet"})
    rows = list(
        data.preference_rows(
            world / "pairs.parquet",
            world / "train.parquet",
            tokenizer,
            typed,
            data.RowCounts(),
            buckets,
            max_length=job.max_length,
            draw=None,
            seed=1,
        )
    )
    given = run.trainer_arguments(job)
    plain = OnTokens(
        model=AutoModelForCausalLM.from_pretrained(world / "base"),
        args=DPOConfig(**given, beta=typed.beta, precompute_ref_log_probs=True),
        data_collator=DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    model = load_model(world / "base", typed, max_length=job.max_length, gpus=0)
    ours = run_preference.make_trainer(job, model, tokenizer, given, Dataset.from_list(rows), None)
    return {"trl-dpo": plain, "hdpo": ours}


def stepper(trainer: Any) -> Callable[[], None]:
    """One optimizer step on the next batch, as the Trainer's loop takes it."""
    trainer.create_optimizer()
    model = trainer.model.train()
    optimizer = trainer.optimizer
    trainer.current_gradient_accumulation_steps = 1

    def batches() -> Any:
        while True:
            yield from trainer.get_train_dataloader()

    source = batches()

    def step() -> None:
        samples, items = trainer.get_batch_samples(source, 1, trainer.args.device)
        trainer.training_step(model, samples[0], items)
        optimizer.step()
        model.zero_grad()

    return step


def _start(name: str, space: Space) -> Callable[[], int]:
    step = stepper(trainers(_world(space), space.scratch)[name])
    step()

    def run() -> int:
        for _ in range(TURNS):
            step()
        return TURNS * BATCH

    return run


def ratio(space: Space) -> tuple[float, dict[str, float]]:
    """Median over turns of HDPO's step time over TRL's, processor seconds, and the median of each.

    Both take the same batch in every turn, one after the other and in changing order, so that what else the machine
    does falls on both.
    """
    steps = {name: stepper(trainer) for name, trainer in trainers(_world(space), space.scratch).items()}
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(TURNS + 2):
        for name in sorted(steps, reverse=bool(turn % 2)):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
            steps[name]()
            if turn >= 2:  # the first steps allocate
                spent[name].append(resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)
    pairs = zip(spent["hdpo"], spent["trl-dpo"], strict=True)
    medians = {name: statistics.median(times) for name, times in spent.items()}
    return statistics.median(ours / theirs for ours, theirs in pairs), medians


CASES = tuple(
    Case(name, partial(_start, name), _prepare, note=note)
    for name, note in (
        ("trl-dpo", "TRL's DPOTrainer as it is, references precomputed"),
        ("hdpo", "the HDPO trainer on the same batches, scores and references precomputed, no online term"),
    )
)


def main() -> None:
    """Print the ratio."""
    with TemporaryDirectory() as folder:
        space = Space(Path(folder) / "data", Path(folder) / "scratch")
        for path in (space.data, space.scratch):
            path.mkdir()
        with redirect_stderr(StringIO()):
            found, medians = ratio(space)
    times = ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in medians.items())
    print(f"HDPO step over TRL DPO step: {found:.3f} ({times} of processor time, {TURNS} turns)")


if __name__ == "__main__":
    main()
