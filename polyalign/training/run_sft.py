"""Train SFT and Bucket-SFT: from split tables and a base model to a checkpoint folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from polyalign.files import StrPath
from polyalign.training.batches import WeightedSftCollator
from polyalign.training.data import SFT_SCHEMA, RowCounts, sft_rows, write_arrow
from polyalign.training.models import adapter_config
from polyalign.training.recipe import parse_recipe
from polyalign.training.run import Job, train_cell, worker_main
from polyalign.training.sft import WeightedSftTrainer


def make_trainer(
    job: Job, model: Any, tokenizer: Any, arguments: dict[str, Any], train: Dataset, val: Dataset | None
) -> SFTTrainer:
    """TRL's SFTTrainer, or ours where rows are weighted."""
    recipe = job.settings
    config = SFTConfig(**arguments, dataset_kwargs={"skip_prepare_dataset": True})
    common = {
        "model": model,
        "args": config,
        "train_dataset": train,
        "eval_dataset": val,
        "processing_class": tokenizer,
        "peft_config": adapter_config(recipe),
    }
    if recipe.weights == "none":
        return SFTTrainer(**common)
    collator = WeightedSftCollator(pad_token_id=tokenizer.pad_token_id)
    return WeightedSftTrainer(**common, data_collator=collator, normalization=recipe.weight_normalization)


def train_sft(
    *,
    train: StrPath,
    val: StrPath | None,
    init_dir: StrPath,
    recipe: Mapping[str, Any],
    out_dir: StrPath,
    work_root: StrPath,
    cell: str,
    seed: int,
    max_length: int,
    code: str,
    gpus: int = 0,
    processes: int | None = None,
    nodes: int = 1,
) -> dict[str, Any]:
    """Train `sft` or `bucketsft`, as the recipe's method says.

    Args:
        train, val: record tables (Parquet); `val` may be None.
        init_dir: model folder to start from.
        recipe: a resolved recipe, see `polyalign.training.recipe.resolve_recipe`.
        out_dir: the checkpoint folder to write.
        work_root: where resumable state is kept, in {cell}/{fingerprint}.
        max_length: tokens of prompt and answer together.
        code: digest of the code that trains; another digest starts clean.
        gpus: GPUs to use, on all nodes together; 0 trains on CPU.
        processes, nodes: as in `polyalign.training.run.train_cell`.

    Returns:
        Details for the manifest.

    Raises:
        BadInput: a recipe, record or model that cannot be trained.
        PolyAlignError: the loss became NaN, or training was stopped by a signal (its state is saved).
    """
    settings = parse_recipe(recipe)
    data = {"train": train} if val is None else {"train": train, "val": val}

    def tokenize(tokenizer: Any, folder: Path) -> dict[str, RowCounts]:
        counts = {}
        for split, path in data.items():
            counts[split] = RowCounts()
            draw = settings.eval_rows if split == "val" else None
            rows = sft_rows(
                path, tokenizer, settings, counts[split], max_length=max_length, draw=draw, seed=seed
            )
            write_arrow(folder / f"{split}.arrow", SFT_SCHEMA, rows)
        return counts

    return train_cell(
        cell=cell,
        recipe=recipe,
        data=data,
        tokenize=tokenize,
        init_dir=init_dir,
        out_dir=out_dir,
        work_root=work_root,
        seed=seed,
        max_length=max_length,
        code=code,
        gpus=gpus,
        processes=processes,
        nodes=nodes,
        make_trainer=make_trainer,
        module="polyalign.training.run_sft",
    )


if __name__ == "__main__":
    worker_main(make_trainer)
