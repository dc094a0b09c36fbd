"""Adapters: what is learned, what the checkpoint holds, and what the reference is."""

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from training_world import arguments, equal, make_world, recipe, tables, terminate_at, weights
from transformers import AutoModelForCausalLM

from polyalign.errors import BadInputs
from polyalign.files import read_json
from polyalign.training.losses import label_logps
from polyalign.training.recipe import resolve_recipe
from polyalign.training.run_hdpo import train_hdpo
from polyalign.training.run_sft import train_sft
from polyalign.training.state import Interrupted

OFFLINE = {"online": {"mode": "off"}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


def run_sft(world, out):
    chosen = recipe("sft-lora", lora={"rank": 4, "alpha": 8}, eval_every=None)
    return train_sft(train=world / "train.parquet", val=None, recipe=chosen, **arguments(world, out))


def test_sft_adapters_are_merged_and_kept_beside_the_model(world, tmp_path, monkeypatch):
    details = run_sft(world, tmp_path)
    assert 0 < details["trained_parameters"] < details["parameters"] / 5
    merged, base = weights(tmp_path), load_file(world / "base" / "model.safetensors")
    folder = tmp_path / "checkpoint" / "adapter"
    adapter, settings = (
        load_file(folder / "adapter_model.safetensors"),
        read_json(folder / "adapter_config.json"),
    )
    assert (settings["r"], settings["base_model_name_or_path"]) == (4, "base")
    assert settings["target_modules"] == sorted(settings["target_modules"])
    adapted = 0
    for name, before in base.items():
        stem = "base_model.model." + name.removesuffix(".weight")
        change = torch.zeros_like(before)
        if f"{stem}.lora_A.weight" in adapter:
            change = 8 / 4 * adapter[f"{stem}.lora_B.weight"] @ adapter[f"{stem}.lora_A.weight"]
            adapted += 1
            assert change.abs().max() > 0
        torch.testing.assert_close(merged[name], before + change)
    assert adapted == 2 * 7, "every linear layer of both blocks"
    # A whole model: nothing tells transformers, or an engine, to apply the adapter a second time.
    assert not (tmp_path / "checkpoint" / "adapter_config.json").exists()
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    torch.testing.assert_close(
        opened.state_dict()["model.layers.0.mlp.up_proj.weight"], merged["model.layers.0.mlp.up_proj.weight"]
    )
    # Stopped in the middle, it ends with the same bits.
    broken = tmp_path / "broken"
    broken.mkdir()
    with monkeypatch.context() as patch:
        terminate_at(patch, 3)
        with pytest.raises(Interrupted):
            run_sft(world, broken)
    run_sft(world, broken)
    assert equal(merged, weights(broken))


def reference_columns(work):
    """Cached reference log-probabilities (chosen, rejected), [n] each, of an unfinished run."""
    (file,) = work.glob("*/*/data/cache-*.arrow")
    with pa.memory_map(str(file)) as source:
        table = pa.ipc.open_stream(source).read_all()
    return [torch.tensor(table[name].to_pylist()) for name in ("ref_chosen_logps", "ref_rejected_logps")]


def test_hdpo_adapters_are_measured_against_the_model_without_them(world, tmp_path, monkeypatch):
    given = {**tables(world), "critic_dir": None, "recipe": recipe("hdpo-lora", **OFFLINE)}
    with monkeypatch.context() as patch:
        terminate_at(patch, 2)
        with pytest.raises(Interrupted):
            train_hdpo(**given, **arguments(world, tmp_path))
    (rows,) = (tmp_path / "work").glob("*/*/data/train.arrow")
    with pa.memory_map(str(rows)) as source:
        pairs = pa.ipc.open_stream(source).read_all().to_pylist()
    model = AutoModelForCausalLM.from_pretrained(world / "base")
    for side, found in zip(("chosen_ids", "rejected_ids"), reference_columns(tmp_path / "work"), strict=True):
        expected = []
        for pair in pairs:
            ids = torch.tensor([pair["prompt_ids"] + pair[side]])
            labels = ids.clone()
            labels[:, : len(pair["prompt_ids"])] = -100
            with torch.no_grad():
                expected.append(label_logps(model(ids).logits, labels).sums)
        torch.testing.assert_close(found, torch.cat(expected), atol=1e-3, rtol=1e-5)
    details = train_hdpo(**given, **arguments(world, tmp_path))
    assert details["steps"] == 4
    unbroken = tmp_path / "unbroken"
    unbroken.mkdir()
    train_hdpo(**given, **arguments(world, unbroken))
    assert equal(weights(tmp_path), weights(unbroken))
    assert not equal(weights(tmp_path), load_file(world / "base" / "model.safetensors"))


def test_shipped_adapter_recipes_differ_from_the_full_ones_in_what_they_say():
    for method in ("sft", "bucketsft", "dpo", "hdpo"):
        full, lora = resolve_recipe(method), resolve_recipe(f"{method}-lora")
        assert {key for key in full if full[key] != lora[key]} == {"lora", "learning_rate"}
    with pytest.raises(BadInputs, match="lm_head cannot be adapted"):
        resolve_recipe("sft", {"lora": {"target_modules": ["lm_head"]}})
    with pytest.raises(BadInputs, match="did you mean 'rank'"):
        resolve_recipe("sft", {"lora": {"rnk": 4}})
