"""Train the critic on the pairs of the train split and keep the epoch that does best on val.

docs/method.md, Critic and HDPO; docs/critic.md. A frozen encoder's vectors are computed once; a fine-tuned one
learns with the head, and each finished epoch is kept, so that a killed job goes on after it.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polyalign.critic.bundle import Critic, save_critic
from polyalign.critic.data import Batch, LearnedVectors, PairBatches, PairData, embed_texts, read_pairs
from polyalign.critic.losses import CriticLoss, check_scores, critic_loss, score_diagnostics
from polyalign.critic.model import BucketVocabulary, CriticHead, Encoder
from polyalign.critic.recipe import CriticRecipe, read_recipe
from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import StrPath, atomic_path, sha256_file, sha256_json
from polyalign.progress import track

log = logging.getLogger(__name__)

EVAL_BATCH = 4096


@dataclass
class Network:
    """What learns: the head, and the encoder's model where it is fine-tuned."""

    head: CriticHead
    encoder: torch.nn.Module | None = None

    def parameters(self) -> list[torch.nn.Parameter]:
        """Every parameter that learns."""
        return [parameter for part in self._parts().values() for parameter in part.parameters()]

    def train(self, mode: bool) -> None:
        """Switch dropout on or off."""
        for part in self._parts().values():
            part.train(mode)

    def state(self) -> dict[str, dict[str, torch.Tensor]]:
        """A copy of the weights, on the CPU: two sets of a large encoder need not fit on its device."""
        return {
            name: {key: tensor.detach().cpu().clone() for key, tensor in part.state_dict().items()}
            for name, part in self._parts().items()
        }

    def load(self, state: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Take weights that `state` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, torch.nn.Module]:
        return {"head": self.head} if self.encoder is None else {"head": self.head, "encoder": self.encoder}


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
    network: Network, data: PairBatches, optimizer: torch.optim.Optimizer, recipe: CriticRecipe, epoch: int
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """One pass over the shuffled pairs; returns the mean [loss, reg, rank] over pairs, and one row a step."""
    network.train(True)
    order = np.random.default_rng([recipe.seed, epoch]).permutation(len(data))
    steps = -(-len(data) // recipe.batch_size)
    sums, rows = np.zeros(3), []
    for places in track(
        _slices(order, recipe.batch_size), total=steps, label=f"critic epoch {epoch}", unit="steps"
    ):
        parts = batch_loss(network.head, data.batch(places), recipe)[0]
        optimizer.zero_grad(set_to_none=True)
        parts.loss.backward()
        # Infinity clips nothing: the norm is only read.
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), float("inf"))
        optimizer.step()
        values = [part.item() for part in parts]
        sums += len(places) * np.array(values)
        rows.append(
            {
                "step": (epoch - 1) * steps + len(rows) + 1,
                **dict(zip(CriticLoss._fields, values, strict=True)),
                "grad_norm": norm.item(),
            }
        )
    return sums / len(data), rows


@torch.no_grad()
def evaluate(
    network: Network, data: PairBatches, recipe: CriticRecipe
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean [loss, reg, rank] over pairs, and the scores [n] of chosen and of rejected answers."""
    network.train(False)
    sums = np.zeros(3)
    chosen, rejected = [], []
    for places in _slices(np.arange(len(data)), EVAL_BATCH if network.encoder is None else recipe.batch_size):
        loss, one, other = batch_loss(network.head, data.batch(places), recipe)
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


def new_network(dim: int, num_buckets: int, recipe: CriticRecipe, encoder: Encoder) -> Network:
    """A head with random weights of the recipe's seed, beside the encoder where that learns."""
    with torch.random.fork_rng([]):
        torch.manual_seed(recipe.seed)
        head = CriticHead(dim, num_buckets, recipe.bucket_dim, recipe.hidden_dim, recipe.dropout)
    learned = recipe.encoder.training == "finetuned"
    return Network(head.to(encoder.device), encoder.model if learned else None)


def new_optimizer(network: Network, recipe: CriticRecipe) -> torch.optim.Optimizer:
    """AdamW, with a learning rate of its own for a fine-tuned encoder."""
    groups: list[dict[str, Any]] = [{"params": list(network.head.parameters())}]
    if network.encoder is not None:
        groups.append({"params": list(network.encoder.parameters()), "lr": recipe.encoder.learning_rate})
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _check_finite(epoch: int, train_means: np.ndarray, eval_means: np.ndarray) -> None:
    if not np.isfinite([*train_means, *eval_means]).all():
        raise PolyAlignError(
            f"the critic's loss is not finite in epoch {epoch} "
            f"(train {train_means[0]}, eval {eval_means[0]}); "
            "fix: lower the critic recipe's learning_rate or use target_form: corrected"
        )


def fit(
    network: Network,
    train: PairBatches,
    val: PairBatches,
    recipe: CriticRecipe,
    device: torch.device,
    state_file: Path | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
    """Train a network; leaves it as it was after the epoch of least eval loss. Returns rows by epoch and by step.

    Deterministic under the recipe's seed on one device; the global random state is left as it was.

    Args:
        state_file: where each finished epoch is kept, and taken up from; None keeps none.

    Raises:
        PolyAlignError: the loss is not finite.
    """
    optimizer = new_optimizer(network, recipe)
    history: list[dict[str, Any]] = []
    steps: list[dict[str, float]] = []
    best: dict[str, Any] | None = None
    if state_file is not None and state_file.is_file():
        saved = torch.load(state_file, map_location="cpu", weights_only=True)
        network.load(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        history, steps, best = saved["history"], saved["steps"], saved["best"]
        log.info("going on after epoch %d", len(history))
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            # Seeded by epoch, so that a resumed run draws the dropout of an unbroken one.
            torch.manual_seed(recipe.seed * 1_000_003 + epoch)
            train_means, rows = _train_epoch(network, train, optimizer, recipe, epoch)
        eval_means, chosen, rejected = evaluate(network, val, recipe)
        _check_finite(epoch, train_means, eval_means)
        row: dict[str, Any] = {"epoch": epoch}
        for split, means in (("train", train_means), ("eval", eval_means)):
            for name, value in zip(CriticLoss._fields, means.tolist(), strict=True):
                row[f"{split}_{name}"] = round(value, 8)
        row["eval_pairs_ranked"] = round(float((rejected > chosen).mean()), 8)
        history.append(row)
        steps += rows
        if best is None or eval_means[0] < best["eval_loss"]:
            best = {"eval_loss": float(eval_means[0]), "network": network.state()}
        if state_file is not None:
            state = {"network": network.state(), "optimizer": optimizer.state_dict()}
            with atomic_path(state_file) as temporary:
                torch.save({**state, "history": history, "steps": steps, "best": best}, temporary)
    network.load(best["network"])
    network.train(False)
    return history, steps


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
        encoder_dir: model folder of the encoder, or of what a fine-tuned one starts from.
        cache_dir: folder for answer vectors, kept between runs, and for the state of a fine-tuning.
        recipe: keys of `CriticRecipe`.

    Raises:
        BadInput: no pair has targets, or a recipe key is wrong.
        PolyAlignError: the loss is not finite, or the scores collapsed.
    """
    settings = read_recipe(recipe)
    train, val = read_pairs(train_pairs), read_pairs(val_pairs)
    train_rows, val_rows = _usable(train), _usable(val)
    learned = settings.encoder.training == "finetuned"
    encoder = Encoder(encoder_dir, settings.encoder, device, trainable=learned)
    vocabulary = BucketVocabulary(train.buckets[row] for row in train_rows)
    data = {}
    for split, pairs, rows in (("train", train, train_rows), ("val", val, val_rows)):
        vectors = (
            LearnedVectors(pairs.texts, encoder)
            if learned
            else embed_texts(pairs.texts, encoder, cache_dir, split)
        )
        data[split] = PairBatches(pairs, vectors, vocabulary, rows, encoder.device)
    network = new_network(encoder.dim, len(vocabulary), settings, encoder)
    state_file = None
    if learned:
        made_of = [sha256_file(train_pairs), sha256_file(val_pairs), encoder.digest, settings.model_dump()]
        state_file = Path(cache_dir) / f"finetuning-{sha256_json(made_of)[:32]}.pt"
    history, steps = fit(network, data["train"], data["val"], settings, encoder.device, state_file)
    _, chosen, rejected = evaluate(network, data["val"], settings)
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
    save_critic(bundle_dir, Critic(encoder, network.head, vocabulary, settings), history, outcome, steps)
    if state_file is not None:
        state_file.unlink()
    return {
        **outcome,
        "encoder": settings.encoder.training,
        "encoder_digest": encoder.digest,
        "encoder_dtype": encoder.dtype,
        "history": history,
    }
