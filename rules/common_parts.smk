# Jobs that do the work of several, one after the other: of all cells of a language, or of all splits. Their lists hold
# one path, or value, a part, and run_job gives them to the script part by part.
from types import SimpleNamespace

# Test predictions of every method and model of the grid, in table order.
GRID_PARTS = [
    {"method": method, "model": model, "scorer": CFG.scorer_of(model), "split": "test"}
    for model in CFG.grid.models
    for method in CFG.grid.methods
]
# Answers of the SFT model that become pairs.
PAIR_PARTS = [{"method": "sft", "split": split} for split in ("train", "val")]
HUMAN_PARTS = [{"split": split} for split in VIEW_SPLITS]


def each(pattern):
    """A path of every part of the grid; {lang} stays, for the rule."""
    return [pattern.format(lang="{lang}", **part) for part in GRID_PARTS]


def for_each(function, parts=GRID_PARTS):
    """A function of the wildcards: what an input function, or one of a parameter, gives for every part."""
    return lambda wildcards: [
        function(SimpleNamespace(**{**dict(wildcards.items()), **part})) for part in parts
    ]
