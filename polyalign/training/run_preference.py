"""Train DPO: from pairs, their records and an SFT checkpoint to a checkpoint folder. HDPO builds on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
from polyalign.training.run import Job, MakeTrainer, train_cell, worker_main


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
    critic_dir: StrPath | None = None,
    make_trainer: MakeTrainer = make_trainer,
    module: str = "polyalign.training.run_preference",
) -> dict[str, Any]:
    """Train on pairs, as the recipe says.

    Args:
        pairs: pair tables by split (`train` and, optionally, `val`).
        records: by split, the record tables that the pairs' source_index points to.
        init_dir: model folder to start from; it is the reference model too.
        critic_dir: critic bundle, for recipes with an online term.
        make_trainer, module: how this and other processes build the trainer.

    For the other arguments, the details returned and the errors raised see
    `polyalign.training.run_sft.train_sft`.
    """
    settings = parse_recipe(recipe)
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
                max_length=max_length,
                draw=settings.eval_rows if split == "val" else None,
                seed=seed,
            )
            write_arrow(folder / f"{split}.arrow", PREFERENCE_SCHEMA, rows)
        return counts

    inputs = {f"pairs_{split}": path for split, path in pairs.items()}
    inputs |= {f"records_{split}": records[split] for split in pairs}
    return train_cell(
        cell=cell,
        recipe=recipe,
        data=inputs,
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
        critic_dir=critic_dir,
        buckets=buckets,
        make_trainer=make_trainer,
        module=module,
    )


if __name__ == "__main__":
    worker_main(make_trainer)
