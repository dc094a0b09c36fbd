# Jobs that do the work of several, one after the other: of all cells of a language, or of all splits. Their lists hold
# one path, or value, a part, and run_job gives them to the script part by part.
from types import SimpleNamespace

# Test predictions of every method and model of the grid, in table order.
GRID_PARTS = [
    {"method": method, "model": model, "scorer": CFG.scorer_of(model), "split": "test"}
    for model in CFG.grid.models
    for method in CFG.grid.methods
]
PAIR_PARTS = [{"split": split} for split in ("train", "val")]
HUMAN_PARTS = [{"split": split} for split in VIEW_SPLITS]


def each(pattern, parts=GRID_PARTS):
    """A path of every part; {lang} and other wildcards of the rule stay."""
    kept = {name: f"{{{name}}}" for name in ("lang", "method", "model", "scorer")}
    return [pattern.format(**kept | part) for part in parts]


def for_each(function):
    """A function of the wildcards: what an input function, or one of a parameter, gives for every part of the grid."""
    return lambda wildcards: [
        function(SimpleNamespace(lang=wildcards.lang, **part)) for part in GRID_PARTS
    ]
