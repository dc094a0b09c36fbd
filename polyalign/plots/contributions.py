"""What the published BNG of each method is made of: the features that add most, and how much all others add."""

from collections.abc import Sequence

import numpy as np

from polyalign.files import StrPath
from polyalign.plots.style import INK, SOFT, as_grid, finish, new_figure, save, settings
from polyalign.tables.entries import Entry

FEATURES = 14
"""Features that are shown: those with the largest share in any one method come first."""
_KEY = (
    "Cells: share of the method's BNG in per cent.   Star: a feature that says nothing of the response (run constant,\n"
    "flag, prompt count), or that does not vary among humans in some bucket."
)


def draw_contributions(entries: Sequence[Entry], title: str, png: StrPath, pdf: StrPath) -> bool:
    """Draw features in rows, methods in columns; False, and no files, where no report lists contributions."""
    entries = [entry for entry in entries if entry.report.metrics.bng.contributions]
    if not entries:
        return False
    names, shares, doubtful = _largest(entries)
    rest = 1 - shares.sum(axis=0)
    grid = np.vstack([shares, rest])
    models = list(dict.fromkeys(entry.model for entry in entries))
    width, height = max(7.2, 4.2 + 0.85 * len(entries)), 2.05 + 0.31 * len(grid)
    with settings():
        figure = new_figure(width, height)
        axes = figure.subplots()
        # The last row is all others together; its shade would drown what the figure is about.
        top = max(0.1, shares.max())
        shade = np.vstack([shares, np.full(len(entries), np.nan)])
        axes.imshow(np.ma.masked_invalid(shade), cmap="Oranges", aspect="auto", vmin=0, vmax=top)
        for (row, column), value in np.ndenumerate(grid):
            dark = row < len(names) and value > 0.6 * top
            axes.text(
                column, row, f"{100 * value:.1f}", ha="center", va="center", fontsize=8.5,
                color="white" if dark else INK,
            )  # fmt: skip
        labels = [f"{name} *" if name in doubtful else name for name in names]
        axes.set_yticks(range(len(grid)), [*labels, f"{_count(entries) - len(names)} others"], fontsize=9)
        heads = [f"{entry.label}\nBNG {_short(entry.estimates['bng'])}" for entry in entries]
        axes.set_xticks(range(len(entries)), heads, fontsize=9)
        axes.xaxis.tick_top()
        as_grid(axes, *grid.shape)
        for place in range(1, len(entries)):
            if entries[place].model != entries[place - 1].model:
                axes.axvline(place - 0.5, color=INK, lw=1)
        if len(models) > 1:
            for model in models:
                there = [place for place, entry in enumerate(entries) if entry.model == model]
                axes.annotate(
                    model, (np.mean(there), len(grid) - 0.4), annotation_clip=False, ha="center", va="top",
                    fontsize=9, style="italic", color=SOFT,
                )  # fmt: skip
        finish(figure, title, _KEY)
        save(figure, png, pdf)
    return True


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.3g}"


def _count(entries: Sequence[Entry]) -> int:
    return max(len(entry.report.metrics.bng.contributions) for entry in entries)


def _largest(entries: Sequence[Entry]) -> tuple[list[str], np.ndarray, set[str]]:
    """(names of the features shown, shares (features, entries), names that robust BNG leaves out somewhere)."""
    shares = [
        {part.feature: part.share for part in entry.report.metrics.bng.contributions} for entry in entries
    ]
    peak: dict[str, float] = {}
    for found in shares:
        for name, share in found.items():
            peak[name] = max(peak.get(name, 0.0), share)
    names = sorted(peak, key=lambda name: (-peak[name], name))[:FEATURES]
    doubtful = {
        name
        for entry in entries
        for name in [
            *entry.report.metrics.bng_robust.not_response_features,
            *(
                name
                for left_out in entry.report.metrics.bng_robust.degenerate_features.values()
                for name in left_out
            ),
        ]
    }
    return names, np.array([[found.get(name, 0.0) for found in shares] for name in names]), doubtful
