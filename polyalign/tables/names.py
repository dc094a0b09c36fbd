"""How pages and figures write and order what they are about: languages, buckets, methods and systems.

A system is a cell of the grid, `{language}_{method}_{model}`, or answers from elsewhere under a name of their own.
"""

from collections.abc import Iterable, Sequence

from polyalign.methods import HUMAN, METHODS, TABLE_METHODS
from polyalign.records import LENGTH_BINS

LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}
METHOD_LABELS = {name: METHODS[name].label for name in TABLE_METHODS}
"""Methods that stand in tables, in their order."""
GIVEN = "given answers"
"""Stands for the model where systems are no cells."""


def language_name(language: str) -> str:
    """Name of a language for titles."""
    return LANGUAGE_NAMES.get(language, language)


def spoken(name: str) -> str:
    """A key as words: `Task success` of `task_success`."""
    return name.replace("_", " ").capitalize()


def bucket_order(bucket: str) -> tuple[str, str, int, str]:
    """Sort key of a bucket: track, family, then length from short to long."""
    _, track, family, length = (*bucket.split("|"), "", "", "", "")[:4]
    place = LENGTH_BINS.index(length) if length in LENGTH_BINS else len(LENGTH_BINS)
    return track, family, place, bucket


def bucket_label(bucket: str) -> str:
    """A bucket without its language: `multi dialogue short`."""
    return " ".join(bucket.split("|")[1:]) or bucket


def names_of(system: str) -> tuple[str, str, str]:
    """(model, method, label) of a system; one that is no cell, such as the human answers, goes by its own name."""
    parts = system.split("_")
    if len(parts) == 3 and parts[1] in METHOD_LABELS:
        return parts[2], parts[1], METHOD_LABELS[parts[1]]
    return GIVEN, system, "Human" if system == HUMAN else system


def method_rank(method: str) -> int:
    """Place of a method in a table: methods build on those before them; names of other kinds come last."""
    ranks = list(METHOD_LABELS)
    return ranks.index(method) if method in ranks else len(ranks)


def in_table_order(systems: Iterable[str], models: Sequence[str] = ()) -> list[str]:
    """Systems, each once, by model and method; models that are not among `models`, and other systems, as they come."""
    known = list(dict.fromkeys(systems))
    order = list(dict.fromkeys([*models, *(names_of(system)[0] for system in known)]))

    def place(system: str) -> tuple[int, int]:
        model, method, _ = names_of(system)
        return order.index(model), method_rank(method)

    return sorted(known, key=place)
