"""Importing NLTK without SciPy and scikit-learn.

`import nltk` loads `scipy.stats` and `sklearn` for association measures and classifiers, if they are there. They cost
a second of each process, and no feature uses them. NLTK does without where they cannot be imported.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_HEAVY = ("scipy.stats", "sklearn")


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """Let imports of these modules fail meanwhile; modules that are loaded already stay."""
    hidden = [name for name in names if name not in sys.modules]
    # None in sys.modules is Python's own sign for "cannot be imported".
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def slim_import(module: str) -> ModuleType:
    """Import a module; NLTK, when it is the first time, without what it does not need here.

    Raises:
        ImportError: it is not installed.
    """
    if module.split(".")[0] != "nltk" or "nltk" in sys.modules:
        return importlib.import_module(module)
    with _without(_HEAVY):
        return importlib.import_module(module)
