"""Base models of the configuration: where each comes from, and the further seeds that its cells are made with.

Further seeds are models of their own under names such as `llama3b-s43`: the same base and recipes with another seed,
so that a cell of another seed is a cell like any other. Whatever does not depend on the seed of training and sampling
(the base model, human features, references, the rows of pairs) stays that of the original.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from polyalign.detection.settings import StandIn
from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.settings import Settings

Positive = Annotated[int, Field(gt=0)]
Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
_SEEDS = TypeAdapter(Seeds)


class TinyModel(Settings):
    """Sizes of a base model that the workflow builds itself, from random weights and the training text."""

    hidden_size: Positive = Field(128, description="a multiple of 32 times heads")
    intermediate_size: Positive = Field(384, description="width of the feed-forward layers")
    layers: Positive = Field(4, description="transformer blocks")
    heads: Positive = Field(4, description="attention heads; head size is hidden_size / heads")
    kv_heads: Positive = Field(2, description="key-value heads")
    vocab_size: Positive = Field(4096, description="byte-level BPE vocabulary, special tokens included")
    pretrain_steps: Positive = Field(300, description="steps of plain language modelling")
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate of pretraining")
    batch_size: Positive = Field(16, description="packed sequences a step")
    sequence_length: Positive = Field(256, description="tokens a packed sequence")


class RecipeOverrides(Settings):
    """Values that replace those of a recipe, key by key."""

    sft: dict[str, Any] = Field({}, description="overrides of sft")
    bucketsft: dict[str, Any] = Field({}, description="overrides of bucketsft")
    dpo: dict[str, Any] = Field({}, description="overrides of dpo")
    hdpo: dict[str, Any] = Field({}, description="overrides of hdpo")
    critic: dict[str, Any] = Field({}, description="overrides of the critic")


class ModelOverrides(RecipeOverrides):
    """Changes to recipes that hold for one model, over those of `recipe_overrides`."""

    training: dict[str, Any] = Field(
        {}, description="overrides of sft, bucketsft, dpo and hdpo alike, e.g. attention, precision or lora"
    )


class Model(Settings):
    """A base model: from the hub, or built here."""

    hub: str | None = Field(None, description="hub repository")
    revision: str = Field("main", description="branch, tag or commit of the repository")
    build: TinyModel | None = Field(None, description="build the model here instead of downloading it")
    stand_in: StandIn | None = Field(
        None, description="a tiny model for a detector or judge, trained here for a moment"
    )
    chat_template: str | None = Field(
        None, description="name of a file in config/chat_templates; null for a model that only embeds texts"
    )
    max_length: Positive = Field(3072, description="training cut-off in tokens")
    dtype: Literal["float32", "bfloat16"] = Field("bfloat16", description="precision of weights")
    scorer: str | None = Field(None, description="model whose base scores the LM features; default: itself")
    recipe_overrides: ModelOverrides = Field(ModelOverrides(), description="changes to this model's recipes")

    @model_validator(mode="after")
    def _one_origin(self) -> "Model":
        if [self.hub, self.build, self.stand_in].count(None) != 2:
            raise ValueError("give exactly one of `hub` and `build`, or `stand_in` alone")
        return self


class SeededModel(Model):
    """The model of another seed; written by `with_seeds` alone, so it stands in no configuration file."""

    seed: int
    seed_of: str


def seeded_name(model: str, seed: int) -> str:
    """Name of a model's cells of a further seed."""
    return f"{model}-s{seed}"


def with_seeds(values: Mapping[str, Any], file: StrPath = "config") -> dict[str, Any]:
    """Merged configuration values with `seed` and `seeds` in agreement, and a model for each further seed.

    A released checkpoint of a cell also holds for its further seeds, which then differ in sampling; those of the
    configuration itself, under names such as `en_sft_llama3b-s43`, come first. What is of the wrong type is left for
    `Config` to refuse.

    Raises:
        BadInput: a seed twice, `seed` apart from the first of `seeds`, or a model that has the name of a further seed.
    """
    values = dict(values)
    # What stands on Snakemake's command line may arrive as text, so the type decides here as it does in `Config`.
    try:
        seeds = _SEEDS.validate_python(values["seeds"] if "seeds" in values else [values["seed"]])
        seed = _SEEDS.validate_python([values.get("seed", seeds[0])])[0]
    except (KeyError, ValidationError):
        return values
    values |= {"seeds": seeds, "seed": seed}
    if len(set(seeds)) < len(seeds):
        raise BadInput(f"a seed stands twice in {seeds}", file=file, field="seeds", fix="list each once")
    if seed != seeds[0]:
        raise BadInput(
            f"the first seed is {seeds[0]}, but `seed` is {seed}",
            file=file,
            field="seeds",
            fix="start the list with `seed`, or leave `seed` out",
        )
    given, cells = values.get("models"), values.get("cells")
    if isinstance(given, Mapping):
        models = dict(given)
        for name, model in given.items():
            for further in seeds[1:]:
                alias = seeded_name(name, further)
                if alias in given:
                    raise BadInput(
                        f"the name stands for {name} with seed {further} of `seeds`",
                        file=file,
                        field=f"models.{alias}",
                        fix="rename the model, or leave the seed out",
                    )
                seeded = _seeded(name, model, further)
                if seeded is not None:
                    models[alias] = seeded
        values["models"] = models
        if isinstance(cells, Mapping):
            values["cells"] = {**_seeded_cells(cells, given, seeds[1:]), **cells}
    return values


def _seeded(name: str, model: Any, seed: int) -> SeededModel | None:
    """The model under another seed; None for one that answers no prompts, or that `Config` is going to refuse."""
    if not isinstance(model, Mapping) or model.get("chat_template") is None:
        return None
    # Fields of a seed are no keys: a file that gives them is refused.
    if {"seed", "seed_of"} & set(model):
        return None
    try:
        return SeededModel(**{**model, "scorer": model.get("scorer") or name, "seed": seed, "seed_of": name})
    except (ValidationError, TypeError):
        return None


def _seeded_cells(
    cells: Mapping[str, Any], models: Mapping[str, Any], seeds: Sequence[int]
) -> dict[str, Any]:
    """Cells of further seeds that a released checkpoint of the cell of the first one holds for."""
    return {
        seeded_name(name, seed): cell
        for name, cell in cells.items()
        if isinstance(cell, Mapping) and cell.get("source") == "checkpoint" and name.split("_")[-1] in models
        for seed in seeds
    }
