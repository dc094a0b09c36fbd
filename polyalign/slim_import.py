"""Imports without what they load beside and nothing here needs.

`import nltk` loads `scipy.stats` and `sklearn` for association measures and classifiers, if they are there: a second
of each process. PyArrow loads pandas with the first array it makes, in case it is handed objects of pandas: a third
of a second. Both do without where these cannot be imported.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from types import ModuleType

import pyarrow as pa

_HEAVY = ("scipy.stats", "sklearn")


class _Refuser(MetaPathFinder):
    """Finds no module of these names, and lets nobody after it look."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname in self._names:
            raise ModuleNotFoundError(f"{fullname} is left out here", name=fullname)


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Let imports of these modules fail meanwhile; modules that are loaded already stay."""
    refuser = _Refuser(names)
    sys.meta_path.insert(0, refuser)
    try:
        yield
    finally:
        sys.meta_path.remove(refuser)


def slim_import(module: str) -> ModuleType:
    """Import a module; NLTK, when it is the first time, without what it does not need here.

    Raises:
        ImportError: it is not installed.
    """
    if module.split(".")[0] != "nltk" or "nltk" in sys.modules:
        return importlib.import_module(module)
    with _without(*_HEAVY):
        return importlib.import_module(module)


def spare_pandas() -> None:
    """Let PyArrow do without pandas in this process, unless pandas is loaded already.

    PyArrow looks for it once, and again only where `to_pandas` asks for it. It then takes objects of pandas for plain
    sequences, so this is for processes that hand it none: the jobs of the workflow.
    """
    with _without("pandas"):
        pa.array([])
