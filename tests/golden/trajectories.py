"""Loss and gradient norm of the first 50 steps of every trainer on a tiny model, kept as CSV beside this file.

    python -m tests.golden.trajectories            # every trainer, written anew
    python -m tests.golden.trajectories hdpo       # one of them

Write them anew only when a change of the numbers is meant (another loss, optimizer or library version), and say in
the commit what changed them. The runs are the workflow's own: rows, recipe, trainer and log.
"""

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from polyalign.critic.recipe import resolve_critic_recipe
from polyalign.critic.train import train_critic
from polyalign.files import read_table, write_table
from polyalign.training.run_hdpo import train_hdpo
from polyalign.training.run_preference import train_preference
from polyalign.training.run_sft import train_sft
from tests.unit.training_world import (
    arguments,
    history,
    make_world,
    recipe,
    tables,
    untrained_critic,
)

FOLDER = Path(__file__).resolve().parent

STEPS = 50
COLUMNS = ("step", "loss", "grad_norm")
# Rows seen more than once: a loss that falls for 50 steps pins the optimizer too, not only the first forward pass.
SHARED = {
    "max_steps": STEPS,
    "epochs": 20,
    "global_batch_size": 4,
    "micro_batch_size": 2,
    "save_every": 1000,
    "eval_every": None,
}


def run_sft(method: str, world: Path, out: Path) -> list[dict[str, Any]]:
    train_sft(
        train=world / "train.parquet", val=None, recipe=recipe(method, **SHARED), **arguments(world, out)
    )
    return history(out)


def run_dpo(world: Path, out: Path) -> list[dict[str, Any]]:
    train_preference(**tables(world), recipe=recipe("dpo", **SHARED), **arguments(world, out))
    return history(out)


def run_hdpo(world: Path, out: Path) -> list[dict[str, Any]]:
    """With the online term as a policy gradient every ten steps, so that it is pinned too."""
    online = {"every": 10, "max_new_tokens": 6, "weight": 0.5}
    given = recipe("hdpo", **SHARED, online=online)
    train_hdpo(**tables(world), critic_dir=untrained_critic(world), recipe=given, **arguments(world, out))
    return history(out)


def run_critic(world: Path, out: Path) -> list[dict[str, Any]]:
    pairs = read_table(world / "pairs.parquet")
    rows = pairs.num_rows
    for name, first, step in (("chosen_target", 0.1, 0.002), ("rejected_target", 0.8, -0.003)):
        pairs = pairs.append_column(name, pa.array([first + step * number for number in range(rows)]))
    write_table(world / "critic_pairs.parquet", pairs)
    chosen = resolve_critic_recipe("critic", {"batch_size": 4, "epochs": STEPS * 4 // rows})
    file = world / "critic_pairs.parquet"
    train_critic(file, file, world / "base", out / "bundle", out / "cache", chosen, "cpu")
    with open(out / "bundle" / "steps.csv", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


TRAINERS: dict[str, Callable[[Path, Path], list[dict[str, Any]]]] = {
    "sft": lambda world, out: run_sft("sft", world, out),
    "bucketsft": lambda world, out: run_sft("bucketsft", world, out),
    "dpo": run_dpo,
    "hdpo": run_hdpo,
    "critic": run_critic,
}


def trajectory(name: str, folder: Path) -> list[dict[str, float]]:
    """Step, loss and gradient norm of the first 50 steps of a trainer, run under `folder`."""
    out = folder / name
    out.mkdir()
    rows = TRAINERS[name](make_world(out / "world"), out)
    return [{column: float(row[column]) for column in COLUMNS} for row in rows]


def golden(name: str) -> list[dict[str, float]]:
    """The committed trajectory of a trainer."""
    with open(FOLDER / f"{name}.csv", encoding="utf-8") as handle:
        return [{column: float(row[column]) for column in COLUMNS} for row in csv.DictReader(handle)]


def main(names: list[str]) -> None:
    """Write the trajectories of the named trainers."""
    for name in names or TRAINERS:
        with TemporaryDirectory() as folder:
            rows = trajectory(name, Path(folder))
        with open(FOLDER / f"{name}.csv", "w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(
                [int(row["step"]), f"{row['loss']:.7g}", f"{row['grad_norm']:.7g}"] for row in rows
            )
        print(f"{name}: loss {rows[0]['loss']:.4f} to {rows[-1]['loss']:.4f}")


if __name__ == "__main__":
    main(sys.argv[1:])
