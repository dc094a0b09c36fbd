"""Train HDPO: preference training with critic scores and, where the recipe asks for it, the critic itself.

Kept apart from DPO so that a change to the critic's code does not make DPO checkpoints stale.
"""

import os
from collections.abc import Mapping
from typing import Any, Unpack

from datasets import Dataset

from polyalign.critic.bundle import load_critic
from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.training import run_preference
from polyalign.training.online import OnlineTerm
from polyalign.training.preference import PreferenceTrainer
from polyalign.training.recipe import PreferenceRecipe, parse_recipe
from polyalign.training.run import CellArguments, Job, worker_main


def make_trainer(
    job: Job, model: Any, tokenizer: Any, arguments: dict[str, Any], train: Dataset, val: Dataset | None
) -> PreferenceTrainer:
    """The preference trainer with its online term."""
    recipe, online = job.settings, None
    if recipe.needs_critic:
        critic = load_critic(job.critic_dir, own_device(job.gpus))
        online = OnlineTerm(recipe.online, critic, job.buckets, tokenizer, job.seed)
    return run_preference.make_trainer(job, model, tokenizer, arguments, train, val, online)


def own_device(gpus: int) -> str:
    """The device of this process, before any library has chosen it: launched ones are numbered, one a GPU."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if gpus else "cpu"


def train_hdpo(
    *,
    pairs: Mapping[str, StrPath],
    records: Mapping[str, StrPath],
    critic_dir: StrPath | None,
    **given: Unpack[CellArguments],
) -> dict[str, Any]:
    """Train HDPO on scored pairs; see `polyalign.training.run_preference.train_preference`.

    Args:
        critic_dir: critic bundle; None is allowed only for recipes without an online term.
    """
    settings = parse_recipe(given["recipe"])
    if not isinstance(settings, PreferenceRecipe):
        raise BadInput(f"method {settings.method!r} is not trained on pairs", field="method", expected="hdpo")
    if settings.needs_critic and critic_dir is None:
        raise BadInput("the online term needs a critic", field="online.mode", fix="train the critic first")
    return run_preference.train_preference(
        pairs=pairs,
        records=records,
        critic_dir=critic_dir if settings.needs_critic else None,
        make_trainer=make_trainer,
        module="polyalign.training.run_hdpo",
        **given,
    )


if __name__ == "__main__":
    worker_main(make_trainer)
