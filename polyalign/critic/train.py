"""Train the critic's head on the pairs of the train split and keep the epoch that does best on val.

docs/method.md, Critic and HDPO; docs/critic.md. The encoder stays as it is: its vectors are computed once.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from polyalign.critic.bundle import Critic, save_critic
from polyalign.critic.data import Batch, PairBatches, PairData, embed_texts, read_pairs
from polyalign.critic.losses import CriticLoss, check_scores, critic_loss, score_diagnostics
from polyalign.critic.model import BucketVocabulary, CriticHead, Encoder
from polyalign.critic.recipe import CriticRecipe, read_recipe
from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import StrPath
from polyalign.progress import track

EVAL_BATCH = 4096


def batch_loss(
    head: CriticHead, batch: Batch, recipe: CriticRecipe
) -> tuple[CriticLoss, torch.Tensor, torch.Tensor]:
    """Loss of a batch of m pairs, and the scores [m] of its chosen and of its rejected answers."""
    chosen = head(batch.chosen, batch.buckets)
    rejected = head(batch.rejected, batch.buckets)
    if recipe.regress_on == "human_and_model":
        pred = torch.cat([chosen, rejected])
        target = torch.cat([batch.chosen_target, batch.rejected_target])
    else:
        pred, target = chosen, batch.chosen_target
    loss = critic_loss(
        pred,
        target,
        chosen,
        rejected,
        margin=recipe.margin,
        reg_lambda=recipe.reg_lambda,
        rank_lambda=recipe.rank_lambda,
    )
    return loss, chosen, rejected


def _slices(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _train_epoch(
    head: CriticHead, data: PairBatches, optimizer: torch.optim.Optimizer, recipe: CriticRecipe, epoch: int
) -> np.ndarray:
    """One pass over the shuffled pairs; returns the mean [loss, reg, rank] over pairs."""
    head.train()
    order = np.random.default_rng([recipe.seed, epoch]).permutation(len(data))
    steps = -(-len(data) // recipe.batch_size)
    sums = np.zeros(3)
    for places in track(
        _slices(order, recipe.batch_size), total=steps, label=f"critic epoch {epoch}", unit="steps"
    ):
        loss = batch_loss(head, data.batch(places), recipe)[0]
        optimizer.zero_grad(set_to_none=True)
        loss.loss.backward()
        optimizer.step()
        sums += len(places) * np.array([part.item() for part in loss])
    return sums / len(data)


@torch.no_grad()
def evaluate(
    head: CriticHead, data: PairBatches, recipe: CriticRecipe
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [loss, reg, rank] over pairs, and the scores [n] of chosen and of rejected answers."""
    head.eval()
    sums = np.zeros(3)
    chosen, rejected = [], []
    for places in _slices(np.arange(len(data)), EVAL_BATCH):
        loss, one, other = batch_loss(head, data.batch(places), recipe)
        sums += len(places) * np.array([part.item() for part in loss])
        chosen.append(one.cpu().numpy())
        rejected.append(other.cpu().numpy())
    return sums / len(data), np.concatenate(chosen), np.concatenate(rejected)


def _usable(pairs: PairData) -> np.ndarray:
    rows = pairs.usable
    if not len(rows):
        raise BadInput(
            "no pair has targets: none of its buckets has a reference",
            file=pairs.name,
            field="chosen_target",
            expected="pairs in buckets with at least references.min_bucket_size human answers",
            fix="use more rows, or lower references.min_bucket_size",
        )
    return rows


def fit_head(
    train: PairBatches,
    val: PairBatches,
    dim: int,
    num_buckets: int,
    recipe: CriticRecipe,
    device: torch.device,
) -> tuple[CriticHead, list[dict[str, Any]]]:
    """Train a head and return it as it was after the epoch of least eval loss, with one history row an epoch.

    Deterministic under the recipe's seed on one device; the global random state is left as it was.

    Raises:
        PolyAlignError: the loss is not finite.
    """
    history: list[dict[str, Any]] = []
    best: tuple[float, dict[str, torch.Tensor]] | None = None
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(recipe.seed)
        head = CriticHead(dim, num_buckets, recipe.bucket_dim, recipe.hidden_dim, recipe.dropout).to(device)
        optimizer = torch.optim.AdamW(
            head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        for epoch in range(1, recipe.epochs + 1):
            train_means = _train_epoch(head, train, optimizer, recipe, epoch)
            eval_means, chosen, rejected = evaluate(head, val, recipe)
            if not np.isfinite([*train_means, *eval_means]).all():
                raise PolyAlignError(
                    f"the critic's loss is not finite in epoch {epoch} "
                    f"(train {train_means[0]}, eval {eval_means[0]}); "
                    "fix: lower the critic recipe's learning_rate or use target_form: corrected"
                )
            row: dict[str, Any] = {"epoch": epoch}
            for split, means in (("train", train_means), ("eval", eval_means)):
                for name, value in zip(CriticLoss._fields, means.tolist(), strict=True):
                    row[f"{split}_{name}"] = round(value, 8)
            row["eval_pairs_ranked"] = round(float((rejected > chosen).mean()), 8)
            history.append(row)
            if best is None or eval_means[0] < best[0]:
                best = float(eval_means[0]), copy.deepcopy(head.state_dict())
    head.load_state_dict(best[1])
    return head, history


def train_critic(
    train_pairs: StrPath,
    val_pairs: StrPath,
    encoder_dir: StrPath,
    bundle_dir: StrPath,
    cache_dir: StrPath,
    recipe: Mapping[str, Any],
    device: str = "auto",
) -> dict[str, Any]:
    """Train a critic on pair tables and write its bundle; returns what it found.

    Args:
        train_pairs, val_pairs: pair tables; pairs without targets are left out and counted.
        encoder_dir: model folder of the frozen encoder.
        cache_dir: folder for answer vectors, kept between runs.
        recipe: keys of `CriticRecipe`.

    Raises:
        BadInput: no pair has targets, or a recipe key is wrong.
        PolyAlignError: the loss is not finite, or the scores collapsed.
    """
    settings = read_recipe(recipe)
    train, val = read_pairs(train_pairs), read_pairs(val_pairs)
    train_rows, val_rows = _usable(train), _usable(val)
    encoder = Encoder(encoder_dir, settings.encoder, device)
    vocabulary = BucketVocabulary(train.buckets[row] for row in train_rows)
    data = {
        split: PairBatches(
            pairs, embed_texts(pairs.texts, encoder, cache_dir, split), vocabulary, rows, encoder.device
        )
        for split, pairs, rows in (("train", train, train_rows), ("val", val, val_rows))
    }
    head, history = fit_head(
        data["train"], data["val"], encoder.dim, len(vocabulary), settings, encoder.device
    )
    _, chosen, rejected = evaluate(head, data["val"], settings)
    diagnostics = score_diagnostics(*val.pair_texts(val_rows), chosen, rejected)
    check_scores(diagnostics, where=str(val_pairs))
    best = min(history, key=lambda row: row["eval_loss"])
    outcome = {
        "best_epoch": best["epoch"],
        "eval_loss": best["eval_loss"],
        "eval_pairs_ranked": best["eval_pairs_ranked"],
        "eval_scores": diagnostics,
        "pairs": {
            split: {"used": len(rows), "without_target": len(pairs.ids) - len(rows)}
            for split, pairs, rows in (("train", train, train_rows), ("val", val, val_rows))
        },
        "mean_targets": {
            "chosen": float(train.chosen_target[train_rows].mean()),
            "rejected": float(train.rejected_target[train_rows].mean()),
        },
        "train_buckets": len(vocabulary.names),
    }
    save_critic(bundle_dir, Critic(encoder, head, vocabulary, settings), history, outcome)
    return {**outcome, "encoder_digest": encoder.digest, "encoder_dtype": encoder.dtype, "history": history}
