"""Train SFT and Bucket-SFT: from split tables and a base model to a checkpoint folder."""

from pathlib import Path
from typing import Any, Unpack

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from polyalign.files import StrPath
from polyalign.training.batches import WeightedSftCollator
from polyalign.training.data import SFT_SCHEMA, RowCounts, sft_rows, write_arrow
from polyalign.training.models import adapter_config
from polyalign.training.recipe import parse_recipe
from polyalign.training.run import CellArguments, Job, train_cell, worker_main
from polyalign.training.sft import PlainSftTrainer, WeightedSftTrainer


def make_trainer(
    job: Job, model: Any, tokenizer: Any, arguments: dict[str, Any], train: Dataset, val: Dataset | None
) -> SFTTrainer:
    """TRL's SFTTrainer on rows sorted by length, or ours where rows are weighted."""
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
        return PlainSftTrainer(**common)
    collator = WeightedSftCollator(pad_token_id=tokenizer.pad_token_id)
    return WeightedSftTrainer(**common, data_collator=collator, normalization=recipe.weight_normalization)


def train_sft(*, train: StrPath, val: StrPath | None, **given: Unpack[CellArguments]) -> dict[str, Any]:
    """Train `sft` or `bucketsft`, as the recipe's method says; `polyalign.training.run.train_cell` says what is
    returned and raised.

    Args:
        train, val: record tables (Parquet); `val` may be None.
    """
    settings = parse_recipe(given["recipe"])
    data = {"train": train} if val is None else {"train": train, "val": val}

    def tokenize(tokenizer: Any, folder: Path) -> dict[str, RowCounts]:
        counts = {}
        for split, path in data.items():
            counts[split] = RowCounts()
            draw = settings.eval_rows if split == "val" else None
            rows = sft_rows(
                path,
                tokenizer,
                settings,
                counts[split],
                max_length=given["max_length"],
                draw=draw,
                seed=given["seed"],
            )
            write_arrow(folder / f"{split}.arrow", SFT_SCHEMA, rows)
        return counts

    return train_cell(
        data=data,
        tokenize=tokenize,
        make_trainer=make_trainer,
        module="polyalign.training.run_sft",
        **given,
    )


if __name__ == "__main__":
    worker_main(make_trainer)
