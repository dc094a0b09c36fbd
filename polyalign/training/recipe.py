"""Recipes: every training setting, typed, from config/recipes/*.yaml and the configuration's overrides.

A recipe states the global batch once; micro batch and device count decide gradient accumulation. Defaults
are the corrected method, `*-paper` recipes the published one (docs/method.md, Critic and HDPO).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.settings import Settings, merge, nearest, read_settings, read_yaml

FOLDER = Path(__file__).resolve().parents[2] / "config" / "recipes"

Positive = Annotated[int, Field(gt=0)]
Normalization = Literal["global", "micro"]


class LoraRecipe(Settings):
    """Low-rank adapters instead of all weights (Hu et al. 2021)."""

    rank: Positive = Field(16, description="rank of each adapter")
    alpha: float = Field(32.0, gt=0, description="adapters are scaled by alpha / rank")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout before an adapter; preference training has none"
    )
    target_modules: str | list[str] = Field(
        "all-linear", description="names of the adapted layers; all-linear: every linear layer but the output"
    )
    base_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="precision of the frozen weights; auto: bfloat16 on one GPU or ddp, else float32",
    )

    @field_validator("target_modules")
    @classmethod
    def _output_stays(cls, names: str | list[str]) -> str | list[str]:
        if "lm_head" in names:
            raise ValueError("lm_head cannot be adapted: the losses read its weights as they are")
        return names


class TrainingRecipe(Settings):
    """What every trained method sets."""

    global_batch_size: Positive = Field(64, description="rows of one optimizer step, over all devices")
    micro_batch_size: Positive = Field(1, description="rows a device handles at once")
    learning_rate: float = Field(gt=0, description="peak learning rate")
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = Field(
        "cosine", description="learning rate after warm-up"
    )
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="share of the steps that warm up")
    epochs: float = Field(1.0, gt=0, description="passes over the training rows")
    max_steps: Positive | None = Field(None, description="optimizer steps, instead of epochs")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay")
    max_grad_norm: float = Field(1.0, ge=0, description="gradient clipping; 0 is off")
    overlong: Literal["truncate", "drop"] = Field(
        "truncate",
        description="rows over the model's max_length: shorten the prompt, then the answer's end, or leave out",
    )
    precision: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="auto: bfloat16 autocast on GPU, float32 on CPU; weights that learn are float32"
    )
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = Field(
        "auto",
        description="attention kernel; auto: sdpa, or eager where the model's attention needs it (Gemma 2)",
    )
    lora: LoraRecipe | None = Field(
        None, description="train adapters and merge them at the end; null: all weights"
    )
    save_dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="precision of the saved weights; auto: as the initial model's"
    )
    gradient_checkpointing: bool | Literal["auto"] = Field("auto", description="auto: on GPU only")
    log_every: Positive = Field(10, description="optimizer steps between two lines of the log")
    save_every: Positive = Field(200, description="optimizer steps between two resumable states")
    eval_every: Positive | Annotated[float, Field(gt=0, lt=1)] | None = Field(
        0.1,
        description="optimizer steps between evaluations, or their share of all steps; null: at the end only",
    )
    eval_rows: Positive | None = Field(512, description="seeded draw of validation rows; null: all")
    distributed: Literal["ddp", "fsdp", "zero3"] = Field(
        "ddp", description="how several GPUs share the work: a file of config/accelerate"
    )
    launcher: Literal["auto", "accelerate"] = Field(
        "auto", description="auto: one process trains where it is; accelerate: through the launcher too"
    )
    tracker: Literal["none", "trackio", "wandb"] = Field(
        "none", description="experiment tracker, to be installed apart; told of every logged value"
    )
    weight_normalization: Normalization = Field(
        "global",
        description="divide weighted losses by the weights of the global batch, or (published) micro batch",
    )


class SftRecipe(TrainingRecipe):
    """Supervised fine-tuning, plain or bucket-weighted."""

    method: Literal["sft", "bucketsft"]
    weights: Literal["none", "bucket"] = Field("none", description="bucket: every bucket gets equal mass")


class OnlineRecipe(Settings):
    """The term on the policy's own answers."""

    mode: Literal["off", "report", "score_function"] = Field(
        "off",
        description="report: greedy answers, added to the loss without gradient (published); "
        "score_function: sampled answers, policy gradient with a leave-one-out baseline",
    )
    weight: float = Field(0.05, ge=0, description="online_lambda")
    every: Positive = Field(10, description="optimizer steps between two uses")
    max_new_tokens: Positive = Field(128, description="longest sampled answer")
    batch_rows: Positive = Field(32, description="prompts answered at once")


class PreferenceRecipe(TrainingRecipe):
    """DPO, and HDPO with its weights, regularizer, likelihood and online terms."""

    method: Literal["dpo", "hdpo"]
    weights: Literal["none", "hdpo"] = Field("none", description="hdpo: weight pairs by hdpo_weight")
    beta: float = Field(0.1, gt=0, description="DPO beta")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="conservative DPO")
    reg_lambda: float = Field(0.0, ge=0, description="factor of the distribution regularizer")
    regularizer_logps: Literal["token_mean", "sum"] = Field(
        "token_mean",
        description="log-probabilities that decide p; sum (published) lets the longer answer decide",
    )
    regularizer_beta: float | None = Field(None, gt=0, description="beta of p; null: beta")
    missing_score: Literal["error", "zero"] = Field(
        "error",
        description="a pair without critic scores: error, or 0 (published), which reads as most human",
    )
    ftx_gamma: float = Field(0.0, ge=0, description="factor of the chosen answers' likelihood term")
    online: OnlineRecipe = Field(OnlineRecipe(), description="online regularizer")

    @property
    def needs_scores(self) -> bool:
        """Whether pairs need critic scores."""
        return self.reg_lambda > 0

    @property
    def needs_critic(self) -> bool:
        """Whether training itself calls the critic."""
        return self.online.mode != "off" and self.online.weight > 0


Recipe = SftRecipe | PreferenceRecipe
MODELS: dict[str, type[SftRecipe] | type[PreferenceRecipe]] = {
    "sft": SftRecipe,
    "bucketsft": SftRecipe,
    "dpo": PreferenceRecipe,
    "hdpo": PreferenceRecipe,
}


def recipe_path(name_or_path: StrPath) -> Path:
    """File of a recipe, given its name in config/recipes or a path that ends in .yaml."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = FOLDER / f"{name_or_path}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in FOLDER.glob("*.yaml"))
        raise BadInput(f"no recipe named {path.stem!r}", file=path, fix=nearest(path.stem, known))
    return path


def parse_recipe(values: Mapping[str, Any], source: StrPath = "recipe") -> Recipe:
    """A typed recipe.

    Raises:
        BadInputs: one line a key that is unknown (with the nearest known name), missing or of a wrong type.
    """
    method = values.get("method")
    if method not in MODELS:
        raise BadInput(
            f"found {method!r}", file=source, field="method", expected=f"one of {', '.join(MODELS)}"
        )
    return read_settings(MODELS[method], values, file=source, docs="docs/training.md")


def resolve_recipe(name_or_path: StrPath, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The recipe of a file with overrides, checked and with every default filled in, as plain JSON values.

    Args:
        name_or_path: name of a file in config/recipes (`hdpo`, `hdpo-paper`) or a path to a YAML file.
        overrides: keys to change; nested mappings such as `online` change key by key.
    """
    path = recipe_path(name_or_path)
    values = merge(read_yaml(path), overrides or {})
    return parse_recipe(values, source=path).model_dump(mode="json")


def accumulation_steps(recipe: TrainingRecipe, devices: int) -> int:
    """Micro batches a device adds up for one optimizer step.

    Raises:
        BadInput: the global batch is no multiple of micro batch times devices.
    """
    at_once = recipe.micro_batch_size * devices
    if recipe.global_batch_size % at_once:
        raise BadInput(
            f"global batch of {recipe.global_batch_size} rows does not divide by micro batch "
            f"{recipe.micro_batch_size} x {devices} devices",
            field="global_batch_size",
            expected=f"a multiple of {at_once}",
            fix="change global_batch_size, micro_batch_size or the number of devices",
        )
    return recipe.global_batch_size // at_once
