"""What a critic is trained with: every key of config/recipes/critic.yaml, typed (docs/critic.md)."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from polyalign.files import StrPath
from polyalign.hdpo_weights import WeightSettings
from polyalign.settings import Settings, merge, read_settings, read_yaml
from polyalign.training.recipe import recipe_path

DOCS = "docs/critic.md"


class EncoderSettings(Settings):
    """How answers are turned into vectors, and whether that is learned too."""

    training: Literal["frozen", "finetuned"] = Field(
        "frozen",
        description="frozen: each answer is encoded once; finetuned: the encoder learns with the head",
    )
    learning_rate: PositiveFloat = Field(1e-5, description="AdamW learning rate of a fine-tuned encoder")
    gradient_checkpointing: bool = Field(
        False, description="compute a fine-tuned encoder's activations twice, to save memory"
    )

    max_length: PositiveInt = Field(512, description="tokens kept of an answer, from its start")
    batch_tokens: PositiveInt = Field(16384, description="padded tokens that one forward pass may hold")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="precision of the encoder; auto: bfloat16 on a GPU, float32 elsewhere"
    )


class CriticRecipe(Settings):
    """Recipe of the critic and of the weights made with it; critic-paper.yaml is the published one."""

    method: Literal["critic"] = "critic"
    target_form: Literal["corrected", "published"] = Field(
        "corrected", description="form of the support distance that answers get as target"
    )
    regress_on: Literal["human_and_model", "human"] = Field(
        "human_and_model",
        description="answers whose targets are learned; human (published): model answers are only ranked",
    )
    encoder: EncoderSettings = Field(EncoderSettings(), description="the encoder")
    bucket_dim: PositiveInt = Field(64, description="width of the bucket embedding")
    hidden_dim: PositiveInt = Field(256, description="width of the two hidden layers")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout after each hidden layer")
    margin: float = Field(0.1, ge=0, description="margin of the ranking loss")
    reg_lambda: float = Field(1.0, ge=0, description="factor of the regression loss")
    rank_lambda: float = Field(1.0, ge=0, description="factor of the ranking loss")
    learning_rate: PositiveFloat = Field(1e-3, description="AdamW learning rate, constant")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay")
    epochs: PositiveInt = Field(3, description="passes over the train pairs; the best by eval loss is kept")
    batch_size: PositiveInt = Field(64, description="pairs a step")
    seed: int = Field(42, description="seed of initial weights, dropout and order")
    weights: WeightSettings = Field(WeightSettings(), description="HDPO weight of a pair")


def read_recipe(values: Mapping[str, Any], source: StrPath = "critic recipe") -> CriticRecipe:
    """The typed recipe; raises `BadInputs`, one line a key that is unknown or has no valid value."""
    return read_settings(CriticRecipe, values, file=source, docs=DOCS)


def resolve_critic_recipe(
    name_or_path: StrPath, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The recipe of a file with overrides, checked and with every default filled in, as plain JSON values.

    Args:
        name_or_path: name of a file in config/recipes (`critic`, `critic-paper`) or a path to a YAML file.
        overrides: keys to change; nested mappings such as `weights` change key by key.
    """
    path = recipe_path(name_or_path)
    return read_recipe(merge(read_yaml(path), overrides or {}), path).model_dump(mode="json")
