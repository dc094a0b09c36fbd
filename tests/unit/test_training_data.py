"""Rows as training sees them: one BOS, a learned EOS, shortening, draws, and errors that name the row."""

import json

import pyarrow as pa
import pytest
from datasets import Dataset
from model_families import FAMILIES, TURN_END, record_of, tokenizer_of
from training_world import make_world, recipe
from transformers import AutoTokenizer

from polyalign.errors import BadInput, BadInputs
from polyalign.files import read_table, write_table
from polyalign.prompts import prompt_ids, training_ids
from polyalign.records import read_records
from polyalign.training import data
from polyalign.training.batches import PreferenceCollator, WeightedSftCollator
from polyalign.training.models import load_tokenizer
from polyalign.training.recipe import (
    LoraRecipe,
    OnlineRecipe,
    PreferenceRecipe,
    SftRecipe,
    accumulation_steps,
    parse_recipe,
    resolve_recipe,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def tokenizer(world):
    return AutoTokenizer.from_pretrained(world / "base")


def sft(world, tokenizer, name="bucketsft", max_length=192, draw=None, **changes):
    counts = data.RowCounts()
    settings = parse_recipe(recipe(name, **changes))
    path = world / "train.parquet"
    rows = list(data.sft_rows(path, tokenizer, settings, counts, max_length=max_length, draw=draw, seed=1))
    return rows, counts


def pairs(world, tokenizer, table, tmp_path, **changes):
    write_table(tmp_path / "pairs.parquet", table)
    settings = parse_recipe(recipe("hdpo", **changes))
    names = sorted(set(table["bucket_id"].to_pylist()))
    counts = data.RowCounts()
    rows = data.preference_rows(
        tmp_path / "pairs.parquet",
        world / "train.parquet",
        tokenizer,
        settings,
        counts,
        names,
        max_length=192,
        draw=None,
        seed=1,
    )
    return list(rows), counts


def test_rows_have_one_bos_and_learn_eos(world, tokenizer, tmp_path):
    rows, counts = sft(world, tokenizer)
    records = list(read_records(world / "train.parquet"))
    for row, record in zip(rows, records, strict=True):
        assert row["input_ids"].count(tokenizer.bos_token_id) == 1
        assert row["input_ids"][0] == tokenizer.bos_token_id
        learned = [token for token in row["labels"] if token != data.IGNORED]
        assert learned[-1] == tokenizer.eos_token_id == row["input_ids"][-1]
        assert tokenizer.decode(learned[:-1]) == record["human_answer"]
        # Training and inference see the same prompt.
        assert row["input_ids"][: -len(learned)] == prompt_ids(tokenizer, record, "profile")
    assert counts.rows == 40
    assert counts.prompts_shortened == 0
    # EOS stays a label where the padding token is the same as EOS.
    collated = WeightedSftCollator(pad_token_id=tokenizer.eos_token_id)([dict(row) for row in rows[:4]])
    assert (collated["labels"] == tokenizer.eos_token_id).sum(dim=1).tolist() == [1, 1, 1, 1]
    assert collated["weight"].tolist() == pytest.approx([row["weight"] for row in rows[:4]])


def test_bucket_weights_give_every_bucket_equal_mass(world, tokenizer):
    rows, _ = sft(world, tokenizer)
    mass = {}
    for row, record in zip(rows, read_records(world / "train.parquet"), strict=True):
        mass[record["bucket_id"]] = mass.get(record["bucket_id"], 0) + row["weight"]
    assert len(mass) == 3
    assert list(mass.values()) == pytest.approx([40 / 3] * 3)
    assert {row["weight"] for row in sft(world, tokenizer, "sft")[0]} == {1.0}


def test_overlong_rows_lose_prompt_first(world, tokenizer):
    full, _ = sft(world, tokenizer, "sft")
    longest = max(full, key=lambda row: len(row["input_ids"]))
    limit = len(longest["input_ids"]) - 5
    cut, counts = sft(world, tokenizer, "sft", max_length=limit)
    row = cut[full.index(longest)]
    assert len(row["input_ids"]) == limit
    assert row["input_ids"][0] == tokenizer.bos_token_id
    assert [t for t in row["labels"] if t >= 0] == [t for t in longest["labels"] if t >= 0]
    assert counts.prompts_shortened >= 1
    assert counts.answers_shortened == 0
    kept, counts = sft(world, tokenizer, "sft", max_length=limit, overlong="drop")
    assert len(kept) + counts.dropped_overlong == 40
    assert counts.dropped_overlong >= 1
    # An answer longer than everything is cut at its end; a quarter of the room stays with the prompt.
    prompt, (answer,) = data.fit(list(range(50)), [list(range(100))], 40, has_bos=True)
    assert (len(prompt), prompt[0], prompt[1:]) == (10, 0, list(range(41, 50)))
    assert answer == list(range(30))


def test_draw_is_seeded_and_keeps_whole_split_weights(world, tokenizer):
    first, _ = sft(world, tokenizer, draw=10)
    again, _ = sft(world, tokenizer, draw=10)
    assert first == again
    assert len(first) == 10
    assert {row["weight"] for row in first} <= {row["weight"] for row in sft(world, tokenizer)[0]}


def test_pairs_share_a_prompt_and_carry_scores(world, tokenizer, tmp_path):
    table = read_table(world / "pairs.parquet")
    rows, counts = pairs(world, tokenizer, table, tmp_path)
    assert counts.rows == 40
    data.write_arrow(tmp_path / "rows.arrow", data.PREFERENCE_SCHEMA, rows)
    loaded = Dataset.from_file(str(tmp_path / "rows.arrow"))
    batch = PreferenceCollator(pad_token_id=tokenizer.pad_token_id)([loaded[0], loaded[1]])
    assert batch["input_ids"].shape[0] == 4
    assert batch["chosen_score"].tolist() == pytest.approx([0.1, 0.11])
    assert batch["weight"].tolist() == pytest.approx([0.5, 1.5])
    last = batch["completion_mask"].cumsum(1).argmax(1)
    assert batch["input_ids"].gather(1, last[:, None]).unique().tolist() == [tokenizer.eos_token_id]


def replaced(table, name, values):
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def test_bad_pairs_are_named(world, tokenizer, tmp_path):
    table = read_table(world / "pairs.parquet")
    scores = table["rejected_dist_score"].to_pylist()
    scores[3] = None
    broken = replaced(table, "rejected_dist_score", scores)
    with pytest.raises(BadInput, match=r"row 4, id toy-3, field 'rejected_dist_score': found None"):
        pairs(world, tokenizer, broken, tmp_path)
    rows, counts = pairs(world, tokenizer, broken, tmp_path, missing_score="zero")
    assert (rows[3]["rejected_score"], counts.missing_scores) == (0.0, 1)
    swapped = replaced(table, "source_index", [1, 0, *range(2, 40)])
    with pytest.raises(BadInput, match=r"row 1, id toy-0: source_index 1 is id toy-1"):
        pairs(world, tokenizer, swapped, tmp_path)
    with pytest.raises(BadInput, match="column hdpo_weight is missing"):
        pairs(world, tokenizer, table.drop_columns("hdpo_weight"), tmp_path)


def test_wrong_ids_are_refused(tokenizer):
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    with pytest.raises(BadInput, match="exactly one BOS"):
        data.check_ids(tokenizer, [bos, bos, 9], [9, eos], row_id="a")
    with pytest.raises(BadInput, match="does not end with EOS"):
        data.check_ids(tokenizer, [bos, 9], [9], row_id="a")


def test_recipes_are_typed_and_paper_recipes_differ_where_the_method_says(root):
    for method in ("sft", "bucketsft", "dpo", "hdpo"):
        for name in (method, f"{method}-paper"):
            assert resolve_recipe(name)["method"] == method
            json.dumps(resolve_recipe(name), allow_nan=False)
    ours, paper = resolve_recipe("hdpo"), resolve_recipe("hdpo-paper")
    differing = {key for key in ours if ours[key] != paper[key]}
    assert differing == {
        "micro_batch_size",
        "weight_normalization",
        "regularizer_logps",
        "missing_score",
        "online",
    }
    assert (paper["beta"], paper["reg_lambda"], paper["ftx_gamma"], paper["learning_rate"]) == (
        0.1,
        0.1,
        0.05,
        5e-7,
    )
    with pytest.raises(BadInputs, match="did you mean 'learning_rate'"):
        resolve_recipe("sft", {"lerning_rate": 1})
    with pytest.raises(BadInputs, match=r"field 'online.evry'.*did you mean 'every'"):
        resolve_recipe("hdpo", {"online": {"evry": 5}})
    assert resolve_recipe("hdpo", {"online": {"every": 5}})["online"]["mode"] == "score_function"
    with pytest.raises(BadInput, match="did you mean 'hdpo'"):
        resolve_recipe("hdop")


def test_accumulation_follows_from_the_global_batch():
    settings = parse_recipe(resolve_recipe("sft", {"global_batch_size": 64, "micro_batch_size": 4}))
    assert [accumulation_steps(settings, devices) for devices in (1, 2, 8)] == [16, 8, 2]
    with pytest.raises(BadInput, match="expected a multiple of 12"):
        accumulation_steps(settings, 3)


def test_docs_list_every_recipe_key(root):
    text = (root / "docs" / "training.md").read_text(encoding="utf-8")
    for model in (SftRecipe, PreferenceRecipe, OnlineRecipe, LoraRecipe):
        for name, field in model.model_fields.items():
            lines = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
            described = [
                line for line in lines if line.endswith(f"| {field.description or 'which method'} |")
            ]
            assert described, f"docs/training.md does not describe {name} as the recipe does"


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_end_of_a_turn_is_the_eos_of_every_family(family, tmp_path):
    """Base models end documents by one token and templates end turns by another; training must learn the latter."""
    tokenizer_of(family).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.eos_token == TURN_END[family]
    assert tokenizer.pad_token == FAMILIES[family]["pad_token"]
    prompt, completion = training_ids(tokenizer, record_of(), "Here.", "profile")
    data.check_ids(tokenizer, prompt, completion, row_id=family)
