"""From an initial model folder to a trainable model, and from what training left to a checkpoint folder.

What depends on the device (precision, kernels, where a gradient is kept) is chosen here, once, and recorded.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from polyalign import model_folders
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_directory, read_json, write_json
from polyalign.model_folders import load_weights
from polyalign.prompts import end_token_id
from polyalign.training.curves import plot_loss_curve, write_training_log
from polyalign.training.recipe import Recipe

ADAPTER = "adapter"
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def precision_of(recipe: Recipe, gpus: int) -> str:
    """Precision of the forward and backward pass: bfloat16 autocast or float32."""
    if recipe.precision == "auto":
        return "bfloat16" if gpus else "float32"
    return recipe.precision


def weights_dtype(recipe: Recipe, gpus: int) -> str:
    """Precision of the weights in memory: float32 where they learn, as 5e-7 is lost in bfloat16.

    Frozen weights under adapters may be smaller, but sharding (fsdp, zero3) wants one precision for all.
    """
    if recipe.lora is None:
        return "float32"
    if recipe.lora.base_dtype != "auto":
        return recipe.lora.base_dtype
    return precision_of(recipe, gpus) if gpus and recipe.distributed == "ddp" else "float32"


def checkpointing(recipe: Recipe, gpus: int) -> bool:
    """Whether activations are computed again in the backward pass, to save memory."""
    return gpus > 0 if recipe.gradient_checkpointing == "auto" else recipe.gradient_checkpointing


def load_tokenizer(folder: StrPath) -> Any:
    """A model folder's tokenizer, with chat template, a padding token, and the end of a turn as its EOS.

    Raises:
        BadInput: it has no chat template or no EOS.
    """
    tokenizer = model_folders.load_tokenizer(folder)
    for name in ("chat_template", "eos_token"):
        if getattr(tokenizer, name) is None:
            raise BadInput(f"the tokenizer has no {name}", file=folder, fix="build or fetch the model again")
    if tokenizer.pad_token is None:
        # Harmless: labels and masks go by length, so a padded EOS is never mistaken for a learned one.
        tokenizer.pad_token = tokenizer.eos_token
    # Base models end documents, templates end turns, often by another token. The turn's end is what is learned,
    # and the checkpoint's tokenizer and generation config say so.
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end_token_id(tokenizer, "plain"))
    return tokenizer


def load_model(init_dir: StrPath, recipe: Recipe, *, max_length: int, gpus: int) -> Any:
    """The initial model, ready to train, with the recipe's attention.

    Raises:
        BadInput: it has fewer positions than `max_length`, or cannot run with the attention asked for.
    """
    attention = None if recipe.attention == "auto" else recipe.attention
    if attention == "flash_attention_2" and not gpus:
        raise BadInput("flash_attention_2 runs on GPUs", field="attention", fix="attention: auto on CPU")
    try:
        model = load_weights(
            "AutoModelForCausalLM",
            init_dir,
            dtype=getattr(torch, weights_dtype(recipe, gpus)),
            attn_implementation=attention,
        )
    except (ImportError, ValueError) as error:
        if attention is None:
            raise
        text = str(error).splitlines()[0]
        raise BadInput(
            f"attention {attention} is not to be had: {text}", field="attention", fix="attention: auto"
        ) from error
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and limit < max_length:
        raise BadInput(
            f"max_length {max_length} is more than the model's {limit} positions",
            file=init_dir,
            field="max_length",
            expected=f"at most {limit}",
        )
    return model


def adapter_config(recipe: Recipe) -> Any:
    """peft's LoraConfig of a recipe; None where all weights are trained."""
    lora = recipe.lora
    if lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
    )


def parameter_counts(model: Any) -> dict[str, int]:
    """Number of parameters, and of those that learn."""

    def count(parameter: torch.nn.Parameter) -> int:
        # Of what ZeRO-3 has sharded, a device holds nothing but `ds_numel`.
        return getattr(parameter, "ds_numel", parameter.numel())

    return {
        "parameters": sum(map(count, model.parameters())),
        "trained_parameters": sum(count(p) for p in model.parameters() if p.requires_grad),
    }


def trained_model(init_dir: StrPath, trained: Path, dtype: torch.dtype) -> Any:
    """The model of a Trainer's checkpoint; adapters are merged into the initial model, in float32."""
    if not (trained / _ADAPTER_FILES[0]).is_file():
        return load_weights("AutoModelForCausalLM", trained, dtype=dtype, device_map=None)
    from peft import PeftModel

    base = load_weights("AutoModelForCausalLM", init_dir, dtype=torch.float32)
    return PeftModel.from_pretrained(base, trained).merge_and_unload().to(dtype)


def write_checkpoint(
    out_dir: StrPath,
    *,
    init_dir: StrPath,
    trained: Path,
    recipe: Recipe,
    history: list[Mapping[str, Any]],
    title: str,
) -> list[dict[str, Any]]:
    """Write the checkpoint folder, whole or not at all; returns the rows of its training log.

    Holds model (safetensors), tokenizer, chat_template.jinja, training_log.csv and loss_curve.png, and
    adapter/ where adapters were trained. The model is whole in either case, so every engine opens it.
    """
    name = _stored_dtype(init_dir) if recipe.save_dtype == "auto" else recipe.save_dtype
    tokenizer = load_tokenizer(init_dir)
    model = trained_model(init_dir, trained, getattr(torch, name))
    model.config.use_cache = True
    # Engines must stop at the EOS that training taught.
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    with atomic_directory(out_dir) as folder:
        # One file whatever the size, so that its name can be declared.
        model.save_pretrained(folder, max_shard_size="1TB")
        tokenizer.save_pretrained(folder)
        (folder / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
        if recipe.lora is not None:
            _copy_adapter(trained, folder / ADAPTER, Path(init_dir).name)
        rows = write_training_log(folder / "training_log.csv", history)
        plot_loss_curve(folder / "loss_curve.png", rows, title=title)
    return rows


def _copy_adapter(trained: Path, folder: Path, base: str) -> None:
    """Keep the adapter beside the merged model. A folder of its own: transformers would apply it a second time."""
    folder.mkdir()
    config, weights = _ADAPTER_FILES
    settings = {**read_json(trained / config), "base_model_name_or_path": base}
    if isinstance(settings["target_modules"], list):
        settings["target_modules"].sort()  # peft writes a set, in another order each time
    write_json(folder / config, settings)
    shutil.copyfile(trained / weights, folder / weights)


def _stored_dtype(folder: StrPath) -> str:
    config = read_json(Path(folder) / "config.json")
    found = config.get("dtype") or config.get("torch_dtype")
    return found if found in ("float32", "bfloat16") else "float32"
