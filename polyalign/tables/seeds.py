"""Several runs of a cell: which report stands for it, and how far the runs lie apart.

A bootstrap interval says how far a value would move with other rows, the spread of seeds how far with another run of
the training. A difference between methods that is smaller than the spread of their seeds is the seed's, whatever its
test says.
"""

from collections.abc import Sequence

import numpy as np

from polyalign.errors import BadInput
from polyalign.tables.entries import Entry, check_comparable
from polyalign.tables.main import shown_columns
from polyalign.tables.model import Page, Row, Table, Value, language_name
from polyalign.tables.notes import page_notes


def by_cell(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Runs of each cell by seed, cells in order of their first entry.

    Raises:
        BadInput: two reports of a cell that state no seed, or the same one.
    """
    cells: dict[str, list[Entry]] = {}
    for entry in entries:
        cells.setdefault(entry.report.cell.name, []).append(entry)
    for name, runs in cells.items():
        for place, entry in enumerate(runs):
            seed = entry.report.seed
            if len(runs) > 1 and (seed is None or seed in [other.report.seed for other in runs[:place]]):
                first = runs[0] if place else runs[1]
                raise BadInput(
                    f"cell {name} stands in {first.file} too, and "
                    + ("this report states no seed" if seed is None else f"seed {seed} comes twice"),
                    file=entry.file,
                    field="seed",
                    expected="reports of different seeds",
                    fix="give each run of a cell once, evaluated with its seed (--seed)",
                )
    return [sorted(runs, key=lambda entry: entry.report.seed or 0) for runs in cells.values()]


def seeds_page(entries: Sequence[Entry], language: str) -> Page | None:
    """Mean, range and standard deviation of every metric over the seeds of each cell; None for one run a cell.

    Raises:
        BadInput: runs that cannot be compared, see `check_comparable` and `by_cell`.
    """
    cells = [runs for runs in by_cell(entries) if len(runs) > 1]
    if not cells:
        return None
    several = [entry for runs in cells for entry in runs]
    check_comparable(several, same_cell=True)
    columns, _ = shown_columns(several, language)
    rows = []
    for runs in cells:
        seeds = ", ".join(str(entry.report.seed) for entry in runs)
        values = {
            column.key: _spread([entry.estimates.get(column.key) for entry in runs]) for column in columns
        }
        rows.append(Row(runs[0].model, runs[0].method, f"{runs[0].label} (seeds {seeds})", values))
    table = Table(
        "seeds",
        "Mean over seeds",
        columns,
        rows,
        notes=["Brackets: least and largest value of the seeds; ±: their standard deviation."],
    )
    return Page(
        "seeds",
        f"{language_name(language)}: runs with different seeds",
        language,
        [table],
        lead="How far values move when nothing but the seed of the run changes.",
        notes=page_notes(several),
    )


def _spread(estimates: Sequence[float | None]) -> Value:
    known = [value for value in estimates if value is not None]
    if not known:
        return Value()
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
    return Value(float(np.mean(known)), min(known), max(known), text=f"± {deviation:.2g}")
