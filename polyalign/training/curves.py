"""The training log as CSV and the loss curve as PNG, both from the Trainer's log history."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any

from polyalign.files import StrPath, atomic_path

LEADING = ("step", "epoch", "loss", "learning_rate", "grad_norm", "eval_loss")
# Wall-clock figures differ from run to run, so that identical training would give different files.
_TIMED = ("runtime", "per_second", "flos")


def log_rows(history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a logged step: training and evaluation values merged, wall-clock figures and the summary left out."""
    rows: dict[int, dict[str, Any]] = {}
    for entry in history:
        if "loss" not in entry and "eval_loss" not in entry:
            continue
        kept = {name: value for name, value in entry.items() if not any(part in name for part in _TIMED)}
        rows.setdefault(int(entry["step"]), {}).update(kept)
    return [rows[step] for step in sorted(rows)]


def write_training_log(path: StrPath, history: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write training_log.csv, a column a logged value; returns its rows."""
    rows = log_rows(history)
    names = {name for row in rows for name in row}
    columns = [name for name in LEADING if name in names] + sorted(names - set(LEADING))
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return rows


def plot_loss_curve(path: StrPath, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw total loss, its terms and the evaluation loss over optimizer steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    terms = sorted({name for row in rows for name in row if name.startswith("loss/")})
    styles = {"loss": {"linewidth": 1.8}, "eval_loss": {"linestyle": "--", "marker": "o", "markersize": 3}}
    for name in ("loss", "eval_loss", *terms):
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, **styles.get(name, {"linewidth": 0.9}))
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    if axes.has_data():
        axes.legend(fontsize="small")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})
