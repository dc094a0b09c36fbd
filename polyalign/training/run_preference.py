"""Train DPO: from pairs, their records and an SFT checkpoint to a checkpoint folder. HDPO builds on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import pyarrow.compute as pc
from datasets import Dataset
from trl import DPOConfig

from polyalign.files import StrPath, read_table
from polyalign.training.batches import PreferenceCollator
from polyalign.training.data import PREFERENCE_SCHEMA, RowCounts, preference_rows, write_arrow
from polyalign.training.models import adapter_config
from polyalign.training.online import OnlineTerm
from polyalign.training.preference import PreferenceTrainer
from polyalign.training.recipe import parse_recipe
from polyalign.training.run import CellArguments, Job, MakeTrainer, train_cell, worker_main


def make_trainer(
    job: Job,
    model: Any,
    tokenizer: Any,
    arguments: dict[str, Any],
    train: Dataset,
    val: Dataset | None,
    online: OnlineTerm | None = None,
) -> PreferenceTrainer:
    """The preference trainer, with reference log-probabilities of the initial model computed on the way."""
    recipe = job.settings
    return PreferenceTrainer(
        model=model,
        args=DPOConfig(
            **arguments,
            beta=recipe.beta,
            precompute_ref_log_probs=True,
            # Without gradients, more rows fit at once.
            precompute_ref_batch_size=4 * recipe.micro_batch_size,
        ),
        data_collator=PreferenceCollator(pad_token_id=tokenizer.pad_token_id),
        train_dataset=train,
        eval_dataset=val,
        processing_class=tokenizer,
        # With adapters, the reference is the same model with them switched off.
        peft_config=adapter_config(recipe),
        recipe=recipe,
        online=online,
    )


def bucket_names(tables: Mapping[str, StrPath]) -> list[str]:
    """Sorted bucket ids of pair tables."""
    names: set[str] = set()
    for path in tables.values():
        names |= set(pc.unique(read_table(path, ["bucket_id"])["bucket_id"]).to_pylist())
    return sorted(names)


def train_preference(
    *,
    pairs: Mapping[str, StrPath],
    records: Mapping[str, StrPath],
    critic_dir: StrPath | None = None,
    make_trainer: MakeTrainer = make_trainer,
    module: str = "polyalign.training.run_preference",
    **given: Unpack[CellArguments],
) -> dict[str, Any]:
    """Train on pairs, as the recipe says; `polyalign.training.run.train_cell` says what is returned and raised.

    Args:
        pairs: pair tables by split (`train` and, optionally, `val`).
        records: by split, the record tables that the pairs' source_index points to.
        critic_dir: critic bundle, for recipes with an online term.
        make_trainer, module: how this and other processes build the trainer.
    """
    settings = parse_recipe(given["recipe"])
    buckets = bucket_names(pairs)

    def tokenize(tokenizer: Any, folder: Path) -> dict[str, RowCounts]:
        counts = {}
        for split, path in pairs.items():
            counts[split] = RowCounts()
            rows = preference_rows(
                path,
                records[split],
                tokenizer,
                settings,
                counts[split],
                buckets,
                max_length=given["max_length"],
                draw=settings.eval_rows if split == "val" else None,
                seed=given["seed"],
            )
            write_arrow(folder / f"{split}.arrow", PREFERENCE_SCHEMA, rows)
        return counts

    inputs = {f"pairs_{split}": path for split, path in pairs.items()}
    inputs |= {f"records_{split}": records[split] for split in pairs}
    return train_cell(
        data=inputs,
        tokenize=tokenize,
        critic_dir=critic_dir,
        buckets=buckets,
        make_trainer=make_trainer,
        module=module,
        **given,
    )


if __name__ == "__main__":
    worker_main(make_trainer)
