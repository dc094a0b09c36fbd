"""The machine used well by stages that go through many rows: no needless garbage collection, memory kept, all cores."""

import ctypes
import gc
import multiprocessing
import os
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python's cyclic garbage collector still for the block.

    Rows are parsed into many small objects without cycles, which reference counting frees at once; looking through
    them for cycles takes up to two thirds of the time of reading JSON.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


_MALLOC_OPTIONS = {-1: 1 << 28, -3: 1 << 25}
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of mallopt(3): bytes to keep, and from which a block is memory of its own."""


def keep_freed_memory() -> bool:
    """Have the C library keep up to 256 MiB of what is freed, in this process from now on.

    A model on a CPU takes and frees the same megabytes for every batch. Given back each time, they come as new pages
    that the system has to clear: up to a tenth of the time of small models.

    Returns:
        Whether the C library does so: glibc does.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    set_option = ctypes.CDLL(None).mallopt
    accepted = [set_option(name, value) == 1 for name, value in _MALLOC_OPTIONS.items()]
    return all(accepted)


def usable_cores() -> int:
    """Cores that this process may use: fewer than the machine has in a container or a Slurm job."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items, each made by a thread while the one before is worked on; for readers that release the interpreter."""
    end = object()
    source = iter(items)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, source, end)
        while (item := waiting.result()) is not end:
            waiting = pool.submit(next, source, end)
            yield item  # type: ignore[misc]


def over_threads(function: Callable[[Task], Result], tasks: Iterable[Task], threads: int) -> Iterator[Result]:
    """Results of `function` over tasks, in order, few of them held at a time; for work that releases the interpreter.

    Args:
        tasks: taken one by one, as threads become free.

    Raises:
        What the function raises, for the first task in order that fails.
    """
    if threads <= 1:
        yield from map(function, tasks)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def over_processes(
    function: Callable[[Task], Result], tasks: Iterable[Task], processes: int
) -> Iterator[Result]:
    """Results of `function` over tasks, in order, computed in that many processes; in this one where it is one.

    Args:
        function: a function of a module, so that workers find it.
        tasks: what it is called with, largest first where they differ much; small things such as paths.

    Raises:
        What the function raises, for the first task in order that fails; tasks not yet begun are given up then.
    """
    todo = list(tasks)
    if processes <= 1 or len(todo) <= 1:
        yield from map(function, todo)
        return
    # Forked, because a workflow script cannot be imported anew by a worker.
    pool = ProcessPoolExecutor(min(processes, len(todo)), mp_context=multiprocessing.get_context("fork"))
    try:
        yield from pool.map(function, todo)
    finally:
        pool.shutdown(cancel_futures=True)
