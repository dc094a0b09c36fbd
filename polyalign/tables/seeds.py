"""Several runs of a method that differ in their seed, put together as one row of a table.

A bootstrap interval says how far a value would move with other rows, the spread of seeds how far with another run of
the training. A difference between methods that is smaller than the spread of their seeds is the seed's, whatever its
test says. Reports of a cell are runs of it where they state different seeds, and so are those of a model's further
seeds, which have names of their own in the workflow.
"""

from collections.abc import Sequence

from polyalign.errors import BadInput
from polyalign.metrics.report import Report
from polyalign.tables.entries import Entry
from polyalign.tables.guards import refuse_different


def by_cell(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Runs of each method of a model: the model's own seed first, then by number; methods in order of first entry.

    Raises:
        BadInput: two runs of a method that state no seed, or the same one.
    """
    cells: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        cells.setdefault((entry.model, entry.method), []).append(entry)
    for runs in cells.values():
        for place, entry in enumerate(runs):
            seed = entry.report.seed
            if len(runs) > 1 and (seed is None or seed in [other.report.seed for other in runs[:place]]):
                first = runs[0] if place else runs[1]
                raise BadInput(
                    f"cell {entry.report.cell.name} stands in {first.file} too, and "
                    + ("this report states no seed" if seed is None else f"seed {seed} comes twice"),
                    file=entry.file,
                    field="seed",
                    expected="reports of different seeds",
                    fix="give each run of a cell once, evaluated with its seed (--seed)",
                )
    return [
        sorted(runs, key=lambda run: (run.report.cell.seed_of is not None, run.report.seed or 0))
        for runs in cells.values()
    ]


def gather_seeds(entries: Sequence[Entry]) -> list[Entry]:
    """An entry a method of a model, with all of its seeds.

    Raises:
        BadInput: a seed twice, or seeds whose answers were not made alike.
    """
    gathered = []
    for runs in by_cell(entries):
        first = runs[0]
        refuse_different(
            runs,
            f"how the answers of {first.label} of {first.model} were made",
            [_made_by(run.report) for run in runs],
            "make the cell alike with every seed, or leave this report out",
        )
        gathered.append(Entry(first.file, first.report, first.replicates, runs[1:]))
    return gathered


def _made_by(report: Report) -> str:
    """Where answers come from and how they were decoded, whatever the seed."""
    decoding = {key: value for key, value in (report.decoding or {}).items() if key != "seed"}
    source = report.source.kind if report.source else "unknown"
    return f"source {source}, prompt mode {report.prompt_mode}, decoding {decoding or 'unknown'}"
