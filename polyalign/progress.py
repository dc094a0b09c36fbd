"""Progress of long loops: a live bar on a terminal, a line every few seconds in a log file."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

LOG_INTERVAL_S = 5.0


def track(
    iterable: Iterable[T], total: int | None = None, label: str = "", unit: str = "rows"
) -> Iterator[T]:
    """Iterate over `iterable`, telling label, rate, share done and time left on standard error."""
    on_terminal = sys.stderr.isatty()
    yield from tqdm(
        iterable,
        total=total,
        desc=label,
        unit=f" {unit}",
        mininterval=0.2 if on_terminal else LOG_INTERVAL_S,
        # A log keeps every update as a line of its own instead of a carriage return.
        bar_format=None
        if on_terminal
        else "{desc}: {n_fmt}/{total_fmt}{unit} [{elapsed}<{remaining}, {rate_fmt}]\n",
        dynamic_ncols=on_terminal,
    )
