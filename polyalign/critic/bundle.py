"""A trained critic on disk and in use.

A bundle is a folder: config.json (layout, encoder, recipe, how it did), buckets.json (bucket names in id
order), model.safetensors (the head), history.csv (losses by epoch) and steps.csv (loss and gradient norm of every
step). A frozen encoder is not copied: the bundle knows its digest and where it lay. A fine-tuned one stands in
encoder/.
"""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from polyalign.critic.model import BucketVocabulary, CriticHead, Encoder, encoder_digest
from polyalign.critic.recipe import CriticRecipe, read_recipe
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_directory, read_json, write_json

FORMAT_VERSION = 1
ENCODER = "encoder"


class Critic:
    """Encoder, head and bucket vocabulary, ready to score. Lower scores are closer to human answers."""

    def __init__(
        self, encoder: Encoder, head: CriticHead, vocabulary: BucketVocabulary, recipe: CriticRecipe
    ) -> None:
        self.encoder = encoder
        self.head = head.to(encoder.device).eval().requires_grad_(False)
        self.vocabulary = vocabulary
        self.recipe = recipe

    @property
    def device(self) -> torch.device:
        """Where scores are computed."""
        return self.encoder.device

    @torch.no_grad()
    def score_vectors(self, vectors: torch.Tensor, buckets: torch.Tensor) -> torch.Tensor:
        """Scores [n], float32, of answer vectors [n, dim] in buckets [n] (vocabulary ids)."""
        return self.head(vectors.to(self.device), buckets.to(self.device))

    def score(self, texts: Sequence[str], bucket_ids: Sequence[str]) -> torch.Tensor:
        """Scores [n], float32, on the critic's device, of answers in their buckets.

        Args:
            bucket_ids: bucket names; those that the critic was not trained on share one id.
        """
        if len(texts) != len(bucket_ids):
            raise ValueError(f"{len(texts)} texts for {len(bucket_ids)} buckets")
        if not texts:
            return torch.empty(0, device=self.device)
        return self.score_vectors(self.encoder.encode(texts), self.vocabulary.ids(bucket_ids))


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def save_critic(
    bundle_dir: StrPath,
    critic: Critic,
    history: Sequence[Mapping[str, Any]],
    outcome: Mapping[str, Any],
    steps: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write the bundle folder, whole or not at all.

    Args:
        history, steps: one row an epoch and one a step, each with the same keys.
        outcome: what training found (best epoch, losses, score diagnostics), kept in config.json.
    """
    recipe, encoder = critic.recipe, critic.encoder
    learned = recipe.encoder.training == "finetuned"
    place = Path(os.path.relpath(encoder.folder.resolve(), Path(bundle_dir).resolve())).as_posix()
    config = {
        "format_version": FORMAT_VERSION,
        "encoder": {
            "path": ENCODER if learned else place,
            "digest": encoder.digest,
            "dtype": encoder.dtype,
            "dim": encoder.dim,
            "pooling": "mean of the last hidden states over the mask",
        },
        "num_buckets": len(critic.vocabulary),
        "recipe": recipe.model_dump(),
        "outcome": dict(outcome),
    }
    with atomic_directory(bundle_dir) as folder:
        if learned:
            encoder.save(folder / ENCODER)
            config["encoder"] |= {"digest": encoder_digest(folder / ENCODER), "started_from": encoder.digest}
        write_json(folder / "config.json", config)
        write_json(folder / "buckets.json", critic.vocabulary.names)
        state = {name: tensor.cpu().contiguous() for name, tensor in critic.head.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        _write_rows(folder / "history.csv", history)
        _write_rows(folder / "steps.csv", steps)


def load_critic(bundle_dir: StrPath, device: str = "cpu", *, encoder_dir: StrPath | None = None) -> Critic:
    """Load a bundle for scoring.

    Args:
        device: "cpu", "cuda", "cuda:1", ... or "auto".
        encoder_dir: a frozen encoder's model folder; by default where it lay, relative to the bundle, in
            training. A fine-tuned encoder is always the bundle's own.

    Raises:
        BadInput: the bundle is of another layout, or the encoder is not the one the critic was trained with.
    """
    file = Path(bundle_dir) / "config.json"
    config = read_json(file)
    if not isinstance(config, dict) or config.get("format_version") != FORMAT_VERSION:
        raise BadInput(
            "not a critic bundle of this version",
            file=file,
            field="format_version",
            expected=str(FORMAT_VERSION),
            fix="train the critic again",
        )
    recipe = read_recipe(config["recipe"])
    own = encoder_dir is None or recipe.encoder.training == "finetuned"
    folder = Path(bundle_dir) / config["encoder"]["path"] if own else Path(encoder_dir)
    encoder = Encoder(folder, recipe.encoder, device)
    if encoder.digest != config["encoder"]["digest"]:
        raise BadInput(
            "another encoder than the one this critic was trained with",
            file=folder,
            field="encoder.digest",
            expected=config["encoder"]["digest"],
            fix="pass the folder of the encoder named in config.json, or train the critic again",
        )
    vocabulary = BucketVocabulary(read_json(Path(bundle_dir) / "buckets.json"))
    head = CriticHead(encoder.dim, len(vocabulary), recipe.bucket_dim, recipe.hidden_dim, recipe.dropout)
    head.load_state_dict(load_file(Path(bundle_dir) / "model.safetensors"))
    return Critic(encoder, head, vocabulary, recipe)
