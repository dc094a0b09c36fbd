"""The order of rows: the global batches that Accelerate draws, each gone through by length."""

import random

import numpy as np
import pytest
from accelerate.data_loader import SeedableRandomSampler, prepare_data_loader
from datasets import Dataset
from torch.utils.data import DataLoader
from training_world import arguments, history, make_world, recipe, tables

from polyalign.training import run_preference, run_sft
from polyalign.training.sampler import LengthSampler, row_lengths

ROWS, GLOBAL_BATCH = 103, 8


@pytest.fixture(scope="module")
def rows() -> Dataset:
    rng = random.Random(0)
    return Dataset.from_dict({"input_ids": [[1] * rng.randint(1, 90) for _ in range(ROWS)]})


def batches(order: list[int]) -> list[list[int]]:
    return [order[start : start + GLOBAL_BATCH] for start in range(0, len(order), GLOBAL_BATCH)]


def test_lengths_are_those_that_padding_goes_by(rows):
    assert row_lengths(rows).tolist() == [len(ids) for ids in rows["input_ids"]]
    some = rows.select([5, 2])
    assert row_lengths(some).tolist() == [len(rows[5]["input_ids"]), len(rows[2]["input_ids"])]
    pairs = Dataset.from_dict(
        {"prompt_ids": [[1, 2], [1]], "chosen_ids": [[3], [3] * 4], "rejected_ids": [[4] * 3, []]}
    )
    assert row_lengths(pairs).tolist() == [5, 5]


def test_global_batches_are_accelerates_and_each_goes_by_length(rows):
    sampler, drawn = LengthSampler(rows, GLOBAL_BATCH, 7), SeedableRandomSampler(rows, data_seed=7)
    lengths = row_lengths(rows)
    epochs = []
    for _ in range(2):
        found, expected = batches(list(sampler)), batches(list(drawn))
        assert [sorted(batch) for batch in found] == [sorted(batch) for batch in expected]
        assert all((np.diff(lengths[batch]) <= 0).all() for batch in found)
        epochs.append(found)
    assert epochs[0] != epochs[1]
    sampler.set_epoch(0)
    assert batches(list(sampler)) == epochs[0]
    assert len(sampler) == ROWS


def test_devices_share_each_global_batch(rows):
    lengths, micro, devices = row_lengths(rows), 2, 2
    whole = batches(list(LengthSampler(rows, GLOBAL_BATCH, 7)))
    per_device = []
    for device in range(devices):
        # The sampler's numbers come as they are, so that the batches say which rows they are made of.
        loader = DataLoader(
            range(ROWS), batch_size=micro, sampler=LengthSampler(rows, GLOBAL_BATCH, 7), collate_fn=list
        )
        loader = prepare_data_loader(
            loader,
            num_processes=devices,
            process_index=device,
            put_on_device=False,
            use_seedable_sampler=True,
        )
        per_device.append(list(loader))
    steps = GLOBAL_BATCH // (micro * devices)
    for number, batch in enumerate(whole[:-1]):
        mine = [own[number * steps : (number + 1) * steps] for own in per_device]
        assert sorted(row for own in mine for part in own for row in part) == sorted(batch)
        # Moment by moment, device by device: no row is shorter than one of a later moment.
        order = [row for parts in zip(*mine, strict=True) for part in parts for row in part]
        assert (np.diff(lengths[order]) <= 0).all()


def padding(rows: Dataset, order: list[int], micro: int) -> int:
    lengths = row_lengths(rows)[order]
    parts = [lengths[start : start + micro] for start in range(0, len(lengths), micro)]
    return sum(int(part.max()) * len(part) for part in parts) - int(lengths.sum())


def test_it_saves_most_of_the_padding(rows):
    drawn = list(SeedableRandomSampler(rows, data_seed=7))
    assert padding(rows, list(LengthSampler(rows, 32, 7)), 4) < 0.3 * padding(rows, drawn, 4)


@pytest.mark.parametrize(("normalization", "sorted_rows"), [("global", True), ("micro", False)])
@pytest.mark.parametrize("method", ["sft", "bucketsft", "dpo"])
def test_rows_come_as_drawn_where_the_loss_depends_on_the_micro_batch(
    tmp_path, monkeypatch, method, normalization, sorted_rows
):
    module = run_preference if method == "dpo" else run_sft
    make, seen = module.make_trainer, []

    def watched(*given, **named):
        trainer = make(*given, **named)
        seen.append(trainer)
        return trainer

    make_world(tmp_path)
    settings = recipe(
        method, weight_normalization=normalization, max_steps=1, global_batch_size=4, micro_batch_size=2
    )
    common = arguments(tmp_path, tmp_path / "out")
    monkeypatch.setattr(module, "make_trainer", watched)
    if method == "dpo":
        module.train_preference(**tables(tmp_path), make_trainer=watched, recipe=settings, **common)
    else:
        module.train_sft(train=tmp_path / "train.parquet", val=None, recipe=settings, **common)
    assert history(tmp_path / "out")
    expected = sorted_rows or method == "sft"  # whose loss is TRL's own
    assert isinstance(seen[0]._get_train_sampler(), LengthSampler) is expected
