"""Progress of long loops: a live bar on a terminal, a line every few seconds in a log file."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

LOG_INTERVAL_S = 5.0


def track(
    iterable: Iterable[T],
    total: int | None = None,
    label: str = "",
    unit: str = "rows",
    count: Callable[[T], int] = lambda item: 1,
) -> Iterator[T]:
    """Iterate over `iterable`, telling label, rate, share done and time left on standard error.

    Args:
        total: units there are; None: as many as items, where the iterable knows.
        unit: what is counted.
        count: units that an item stands for.
    """
    on_terminal = sys.stderr.isatty()
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with tqdm(
        total=total,
        desc=label,
        unit=f" {unit}",
        mininterval=0.2 if on_terminal else LOG_INTERVAL_S,
        # A log keeps every update as a line of its own instead of a carriage return.
        bar_format=None
        if on_terminal
        else "{desc}: {n_fmt}/{total_fmt}{unit} [{elapsed}<{remaining}, {rate_fmt}]\n",
        dynamic_ncols=on_terminal,
    ) as bar:
        for item in iterable:
            yield item
            bar.update(count(item))
