"""Utility against naturalness: methods with their intervals, and the frontier that each method's buckets span.

Naturalness is 1 / (1 + BNG) for methods, and for buckets the geometric mean that the frontier is defined on
(docs/method.md, Metrics, NUF).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from polyalign.files import StrPath
from polyalign.metrics.aggregate import naturalness
from polyalign.metrics.groups import group_key
from polyalign.metrics.nuf import pareto_frontier
from polyalign.plots.style import colour, finish, legend_below_title, mark, new_figure, plain, save, settings
from polyalign.tables.entries import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KEY = (
    "Left: crosses are intervals.   Right: a mark a bucket; lines join the buckets of a method that no other bucket "
    "of it beats in both."
)


def draw_frontier(entries: Sequence[Entry], title: str, png: StrPath, pdf: StrPath) -> bool:
    """Draw a row of two panels for each model; False, and no files, where there is no BNG."""
    entries = [entry for entry in entries if entry.estimates["bng"] is not None]
    models = list(dict.fromkeys(entry.model for entry in entries))
    if not models:
        return False
    height = 1.45 + 3.5 * len(models)
    with settings():
        figure = new_figure(10.5, height)
        panels = figure.subplots(len(models), 2, squeeze=False)
        for (left, right), model in zip(panels, models, strict=True):
            group = [entry for entry in entries if entry.model == model]
            _draw_methods(left, group)
            _draw_buckets(right, group)
            suffix = f": {model}" if len(models) > 1 else ""
            left.set_title(f"Methods{suffix}", loc="left", fontsize=11, fontweight="bold")
            right.set_title(f"Buckets{suffix}", loc="left", fontsize=11, fontweight="bold")
        handles, labels = panels[0][0].get_legend_handles_labels()
        legend_below_title(figure, handles, labels)
        finish(figure, title, _KEY, above=0.3)
        save(figure, png, pdf)
    return True


def _utility_key(entry: Entry) -> tuple[str, str]:
    """(name of the value, axis label) of the utility that says most in the entry's language."""
    if entry.report.cell.language == "zh":
        return "char_f1", "F1 (characters)"
    return "qa_f1", "F1"


def _draw_methods(axes: "Axes", group: Sequence[Entry]) -> None:
    key, label = _utility_key(group[0])
    for entry in group:
        x, y = entry.estimates[key], naturalness(entry.estimates["bng"])
        (low, high), gaps = entry.interval(key), entry.interval("bng")
        line = {"color": colour(entry.method), "lw": 1.6, "alpha": 0.75, "zorder": 2}
        if low is not None:
            axes.plot([low, high], [y, y], **line)
        if gaps[0] is not None:
            axes.plot([x, x], [naturalness(gap) for gap in gaps], **line)
        axes.plot(
            [x],
            [y],
            mark(entry.method),
            ms=8,
            color=colour(entry.method),
            markeredgecolor="white",
            label=entry.label,
            ls="",
            zorder=3,
        )
    axes.set_xlabel(f"{label} →")
    axes.set_ylabel("naturalness, 1 / (1 + BNG) →")
    axes.margins(0.14)
    plain(axes)


def _draw_buckets(axes: "Axes", group: Sequence[Entry]) -> None:
    key, label = _utility_key(group[0])
    for entry in group:
        rows = entry.report.metrics.nuf.overall.by_bucket
        points = [
            {
                "bucket_id": row["bucket_id"],
                "utility": entry.own_estimates[group_key(key, row["bucket_id"])],
                "naturalness": row["naturalness_score"],
            }
            for row in rows
            if row.get("naturalness_score") is not None
        ]
        frontier = pareto_frontier(points, "utility", "naturalness")
        style = {"color": colour(entry.method), "zorder": 2}
        axes.plot(*_columns(points), mark(entry.method), ms=5, alpha=0.5, markeredgecolor="white", **style)
        axes.plot(*_columns(frontier), "-", lw=1.8, **style)
        axes.plot(*_columns(frontier), mark(entry.method), ms=7, markeredgecolor="white", **style)
    axes.set_xlabel(f"{label} of the bucket →")
    axes.set_ylabel("naturalness of the bucket →")
    axes.margins(0.08)
    plain(axes)


def _columns(points: Sequence[dict]) -> tuple[list[float], list[float]]:
    return [point["utility"] for point in points], [point["naturalness"] for point in points]
