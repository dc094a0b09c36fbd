# Jobs that do the work of all cells of a language, one after the other: lists with one path, or value, a cell, which
# run_job gives to the script cell by cell.
from types import SimpleNamespace

GRID_CELLS = [
    {"method": method, "model": model, "scorer": CFG.scorer_of(model), "split": "test"}
    for model in CFG.grid.models
    for method in CFG.grid.methods
]


def each(pattern):
    """A path of every cell of the grid; {lang} stays, for the rule."""
    return [pattern.format(lang="{lang}", **cell) for cell in GRID_CELLS]


def for_each(function):
    """A function of the wildcards: what an input function, or one of a parameter, gives for every cell."""
    return lambda wildcards: [
        function(SimpleNamespace(lang=wildcards.lang, **cell)) for cell in GRID_CELLS
    ]


def cell_wildcards(wildcards):
    """The wildcards that a job of each cell would have."""
    return [{"lang": wildcards.lang, **cell} for cell in GRID_CELLS]
